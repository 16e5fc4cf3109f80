"""Character-level language models: an embedding, stacked recurrent layers, a projection, log-softmax."""

from char_rnn.models.base import CharModel, Hidden, detach_state
from char_rnn.models.build import build_model
from char_rnn.models.gru import CharGRU
from char_rnn.models.lstm import CharLSTM
from char_rnn.models.rnn import CharRNN

__all__ = ["CharGRU", "CharLSTM", "CharModel", "CharRNN", "Hidden", "build_model", "detach_state"]
