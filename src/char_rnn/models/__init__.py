"""Character-level language models: an embedding, stacked recurrent layers, a projection, log-softmax.

The names are imported on first use: `char_rnn.models.parameters` describes a model without loading PyTorch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from char_rnn.models.build import build_model
    from char_rnn.models.char_model import CharGRU, CharLSTM, CharModel, CharRNN, Hidden, detach_state

_HOMES = {
    "CharGRU": "char_model",
    "CharLSTM": "char_model",
    "CharModel": "char_model",
    "CharRNN": "char_model",
    "Hidden": "char_model",
    "build_model": "build",
    "detach_state": "char_model",
}

__all__ = ["CharGRU", "CharLSTM", "CharModel", "CharRNN", "Hidden", "build_model", "detach_state"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"char_rnn.models.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'char_rnn.models' has no attribute {name!r}")
