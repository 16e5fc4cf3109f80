"""The bytes of a Torch7 file, read front to back as integers, numbers, characters and arrays.

There are two formats of them: :mod:`char_rnn.torch7.t7.binary` and :mod:`char_rnn.torch7.t7.ascii`. Neither allocates
anything before the bytes it would take are known to be there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Literal, NoReturn

import numpy.typing as npt

ByteOrder = Literal["little", "big"]
LongSize = Literal[4, 8]
Array = npt.NDArray[Any]

# Torch's element types and NumPy's; a long becomes 8 bytes, whatever it was in the file.
ELEMENTS = {
    "Byte": "u1",
    "Char": "i1",
    "Short": "i2",
    "Int": "i4",
    "Long": "i8",
    "Half": "f2",
    "Float": "f4",
    "Double": "f8",
}


class MalformedError(Exception):
    """Something that no Torch7 file holds, at a byte of the input; the reader adds which value it belongs to."""

    def __init__(self, reason: str, offset: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.offset = offset


class Input(ABC):
    """A file's bytes and how far they were read.

    Every method that reads takes the ``name`` of what it reads, for messages, and raises :class:`MalformedError` where
    the file holds something else.

    Attributes:
        position: the next byte.
        smallest_pair: bytes that a table's entry takes at the least.
    """

    smallest_pair: int

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.position = 0

    @property
    def left(self) -> int:
        """Bytes not read yet."""
        return len(self._data) - self.position

    @abstractmethod
    def integer(self, name: str) -> int:
        """Read an ``int``: 32 bits, signed."""

    @abstractmethod
    def longs(self, count: int, name: str) -> list[int]:
        """Read so many ``long``."""

    @abstractmethod
    def double(self, name: str) -> float:
        """Read a ``double``."""

    @abstractmethod
    def raw(self, count: int, name: str) -> bytes:
        """Read so many characters."""

    @abstractmethod
    def array(self, element: str, count: int, name: str) -> Array:
        """Read elements of a type of :data:`ELEMENTS` into an array of its own, shape (count,)."""

    def finish(self) -> None:
        """Check that the file ends here."""
        if self.left:
            self.refuse(f"the object ends here, but the file has {self.left} bytes more")

    def need(self, size: int, name: str) -> None:
        """Check that so many bytes are left."""
        if size < 0:
            self.refuse(f"{name} has a negative size")
        if size > self.left:
            self.refuse(f"{name} needs {size} bytes, but {self.left} are left; the file is damaged or cut short")

    def refuse(self, reason: str) -> NoReturn:
        """Raise the error of what cannot be at this position."""
        raise MalformedError(reason, self.position)
