"""Character-level language models: an embedding, stacked recurrent layers, a projection, log-softmax.

The names are imported on first use: `char_rnn.models.parameters` describes a model without loading PyTorch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from char_rnn.models.base import CharModel, Hidden, detach_state
    from char_rnn.models.build import build_model
    from char_rnn.models.recurrent import CharGRU, CharLSTM, CharRNN

_HOMES = {
    "CharGRU": "recurrent",
    "CharLSTM": "recurrent",
    "CharModel": "base",
    "CharRNN": "recurrent",
    "Hidden": "base",
    "build_model": "build",
    "detach_state": "base",
}

__all__ = ["CharGRU", "CharLSTM", "CharModel", "CharRNN", "Hidden", "build_model", "detach_state"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"char_rnn.models.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'char_rnn.models' has no attribute {name!r}")
