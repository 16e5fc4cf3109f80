"""The char-rnn of 2015, on Torch7: its files, its options, and what it computed.

The names of ``__all__`` are imported on first use. Reading a file needs NumPy only.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from char_rnn.torch7.checkpoints import read_model
    from char_rnn.torch7.t7.reader import load
    from char_rnn.torch7.t7.values import Function, T7Error, Table, TorchObject

_HOMES = {
    "Function": "t7.values",
    "T7Error": "t7.values",
    "Table": "t7.values",
    "TorchObject": "t7.values",
    "load": "t7.reader",
    "read_model": "checkpoints",
}

__all__ = ["Function", "T7Error", "Table", "TorchObject", "load", "read_model"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"char_rnn.torch7.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'char_rnn.torch7' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
