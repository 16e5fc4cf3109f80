"""Writes Torch7 files for tests, byte by byte: every value and variant of the format, and nonsense too."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from char_rnn.torch7 import TorchObject

FORMATS: dict[str, dict[str, Any]] = {
    "little 64": {},
    "little 32": {"long_size": 4},
    "big 64": {"byte_order": "big"},
    "big 32": {"byte_order": "big", "long_size": 4},
    "ascii": {"ascii": True},
}
KINDS = {
    "u1": "Byte",
    "i1": "Char",
    "i2": "Short",
    "i4": "Int",
    "i8": "Long",
    "f2": "Half",
    "f4": "Float",
    "f8": "Double",
}


@dataclass(eq=False)
class Storage:
    """A storage; ``kind`` (such as ``Cuda``) is that of the elements if not given."""

    elements: np.ndarray
    kind: str = ""

    @property
    def name(self) -> str:
        return self.kind or KINDS[self.elements.dtype.str[1:]]


@dataclass(eq=False)
class Tensor:
    """A tensor by its parts; ``offset`` from 1."""

    storage: Any
    sizes: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int = 1
    kind: str = ""


@dataclass(eq=False)
class LuaFunction:
    """A function in one of its three forms (``tag`` 6, 7, 8)."""

    tag: int = 8
    upvalues: Any = None
    bytecode: bytes = b"\x1bLJ\x02 no code at all"


class Pairs(list[tuple[Any, Any]]):
    """A table by its entries, for keys that a dict cannot hold."""


class Writer:
    """Collects the bytes in :attr:`data`.

    Args:
        byte_order, long_size, ascii: the format.
        versions: whether classes have a version.
        shared: whether what occurs again is a reference.
    """

    def __init__(
        self,
        byte_order: str = "little",
        long_size: int = 8,
        ascii: bool = False,  # noqa: A002 (as in the reader)
        versions: bool = True,
        shared: bool = True,
    ) -> None:
        self.data = bytearray()
        self._order = "<" if byte_order == "little" else ">"
        self._long = "q" if long_size == 8 else "i"
        self._ascii, self._versions, self._shared = ascii, versions, shared
        self._indices: dict[int, int] = {}
        self._alive: list[Any] = []

    def numbers(self, code: str, *values: Any) -> Writer:
        """Write numbers of a ``struct`` code, or a line of them."""
        if not values:
            return self
        if self._ascii:
            form = {"d": "%.17g", "f": "%.9g", "e": "%.9g"}.get(code, "%d")
            self.data += b" ".join((form % value).encode() for value in values) + b"\n"
        else:
            self.data += struct.pack(f"{self._order}{len(values)}{code}", *values)
        return self

    def ints(self, *values: int) -> Writer:
        """Write each as an ``int``."""
        for value in values:
            self.numbers("i", value)
        return self

    def longs(self, *values: int) -> Writer:
        """Write one array of ``long``."""
        return self.numbers(self._long, *values)

    def raw(self, text: bytes) -> Writer:
        """Write characters."""
        self.data += text + (b"\n" if self._ascii and text else b"")
        return self

    def string(self, text: bytes) -> Writer:
        """Write a length and characters."""
        return self.ints(len(text)).raw(text)

    def class_name(self, name: str, version: int = 1) -> Writer:
        """Write a class's header."""
        if self._versions:
            self.string(b"V %d" % version)
        return self.string(name.encode())

    def write(self, value: Any) -> Writer:
        """Write an object with all it holds; nothing recurses, so it may nest as deep as it likes."""
        pending = [value]
        while pending:
            pending += reversed(self._begin(pending.pop()))
        return self

    def _begin(self, value: Any) -> list[Any]:
        """Write an object up to the objects it consists of, and return these."""
        if value is None:
            self.ints(0)
        elif isinstance(value, bool):
            self.ints(5, value)
        elif isinstance(value, (int, float)):
            self.ints(1).numbers("d", value)
        elif isinstance(value, (bytes, str)):
            self.ints(2).string(value.encode() if isinstance(value, str) else value)
        elif isinstance(value, LuaFunction) and value.tag == 6:
            self.ints(6).string(value.bytecode)
            return [value.upvalues]
        else:
            return self._begin_indexed(value)
        return []

    def _begin_indexed(self, value: Any) -> list[Any]:
        self.ints(value.tag if isinstance(value, LuaFunction) else 3 if isinstance(value, (list, Mapping)) else 4)
        seen = self._indices.get(id(value)) if self._shared else None
        if seen is not None:
            self.ints(seen)
            return []
        self._alive.append(value)  # so that its id stays its own
        self._indices[id(value)] = len(self._alive)
        self.ints(len(self._alive))
        if isinstance(value, LuaFunction):
            self.string(value.bytecode)
            return [value.upvalues]
        if isinstance(value, TorchObject):
            self.class_name(value.class_name, value.version)
            return [value.fields]
        if isinstance(value, (list, Mapping)):
            pairs = value if isinstance(value, Pairs) else dict(enumerate(value, 1)).items()
            pairs = value.items() if isinstance(value, Mapping) else pairs
            self.ints(len(pairs))
            return [part for pair in pairs for part in pair]
        return self._begin_array(value)

    def _begin_array(self, value: Any) -> list[Any]:
        if isinstance(value, Storage):
            self.class_name(f"torch.{value.name}Storage").longs(len(value.elements))
            if value.elements.dtype.itemsize == 1:
                self.raw(value.elements.tobytes())
            else:
                code = value.elements.dtype.char
                self.numbers(self._long if code in "lq" else code, *value.elements.tolist())
            return []
        if isinstance(value, np.ndarray):
            strides = tuple(step // value.itemsize for step in np.ascontiguousarray(value).strides)
            value = Tensor(Storage(value.ravel()), value.shape, strides)
        kind = value.kind or value.storage.name
        self.class_name(f"torch.{kind}Tensor").ints(len(value.sizes))
        self.longs(*value.sizes).longs(*value.strides).longs(value.offset)
        return [value.storage]


def dump(value: Any, **form: Any) -> bytes:
    """Return the bytes of a file that holds ``value``: None, bool, numbers, bytes, str, lists and mappings (tables),
    arrays (contiguous tensors), and the classes above."""
    return bytes(Writer(**form).write(value).data)
