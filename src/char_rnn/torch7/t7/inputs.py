"""The bytes of a Torch7 file, read front to back as integers, numbers, characters and arrays.

There are two formats of them: :mod:`char_rnn.torch7.t7.inputs` and :mod:`char_rnn.torch7.t7.inputs`. Neither allocates
anything before the bytes it would take are known to be there.


Torch7's binary format.

An ``int`` is 4 bytes, signed; a ``long`` 8, or 4 where a 32-bit Torch wrote it; a ``double`` 8; a character one. There
is no header and no alignment, and the byte order is that of the machine that wrote the file.


Torch7's ascii format.

Every write of numbers is a line of them, separated by single spaces; a write of characters is these as they are, then a
newline. A write of nothing is nothing, not even a line. A line of numbers must end: without its newline, 12 that was
cut short would be read as 1.
"""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Literal, NoReturn

import numpy as np
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


class BinaryInput(Input):
    """A file in the binary format, of either byte order and size of ``long``."""

    smallest_pair = 12  # a boolean's tag and value, and nil

    def __init__(self, data: bytes, byte_order: ByteOrder, long_size: LongSize) -> None:
        super().__init__(data)
        order = "<" if byte_order == "little" else ">"
        self._integer = struct.Struct(order + "i")
        self._double = struct.Struct(order + "d")
        self._byte_order = byte_order
        self._long = np.dtype(f"{order}i{long_size}")

    def integer(self, name: str) -> int:
        """Read an ``int``."""
        value: int = self._integer.unpack_from(self._data, self._take(4, name))[0]
        return value

    def longs(self, count: int, name: str) -> list[int]:
        """Read so many ``long``."""
        values: list[int] = self.array("Long", count, name).tolist()
        return values

    def double(self, name: str) -> float:
        """Read a ``double``."""
        value: float = self._double.unpack_from(self._data, self._take(8, name))[0]
        return value

    def raw(self, count: int, name: str) -> bytes:
        """Read so many characters."""
        start = self._take(count, name)
        return self._data[start : self.position]

    def array(self, element: str, count: int, name: str) -> Array:
        """Read elements; the array is in the byte order of this machine."""
        native = np.dtype(ELEMENTS[element])
        stored = self._long if element == "Long" else native.newbyteorder(self._byte_order)
        start = self._take(count * stored.itemsize, name)
        return np.frombuffer(self._data, stored, count, start).astype(native) if count else np.empty(0, native)

    def _take(self, size: int, name: str) -> int:
        """Go on by ``size`` bytes; returns where they begin."""
        self.need(size, name)
        start = self.position
        self.position = start + size
        return start


_LONGEST_NUMBER = 32  # characters, with a space; Torch writes at most 24
_BLOCK = 1 << 11  # characters of a long line turned into numbers at a time, to bound the memory
# One object for each: a digit takes two bytes of the file, and a number of its own 24 of memory.
_DIGITS = tuple(float(digit) for digit in range(10))


class AsciiInput(Input):
    """A file in the ascii format."""

    smallest_pair = 6  # "5\n1\n0\n": a boolean and nil

    def integer(self, name: str) -> int:
        """Read an ``int``."""
        value: int
        [value] = self._short_line(int, 1, name)
        if not -(1 << 31) <= value < 1 << 31:
            self.refuse(f"{name} is {value}, which does not fit 32 bits")
        return value

    def longs(self, count: int, name: str) -> list[int]:
        """Read a line of so many ``long``."""
        return self._short_line(int, count, name) if count else []

    def double(self, name: str) -> float:
        """Read a ``double``."""
        value: float
        [value] = self._short_line(float, 1, name)
        return _DIGITS[int(value)] if 0 < value <= 9 and value.is_integer() else value

    def raw(self, count: int, name: str) -> bytes:
        """Read so many characters, and the newline behind them."""
        self.need(count, name)
        start, end = self.position, self.position + count
        self.position = end + (count > 0 and self._data[end : end + 1] == b"\n")
        return self._data[start:end]

    def array(self, element: str, count: int, name: str) -> Array:
        """Read elements: characters as they are, numbers from their line."""
        native = np.dtype(ELEMENTS[element])
        if count == 0:
            return np.empty(0, native)
        if native.itemsize == 1:
            return np.array(np.frombuffer(self.raw(count, name), native))
        self.need(2 * count, name)  # a digit each, and a space or the newline
        if native.kind == "f":
            with np.errstate(over="ignore"):  # what is too large for the type is infinite, as C has it
                return self._line(float, np.empty(count), name).astype(native, copy=False)
        values = self._line(int, np.empty(count, np.int64), name)
        limits = np.iinfo(native)
        if values.min() < limits.min or values.max() > limits.max:
            self.refuse(f"{name} has a number that does not fit {8 * native.itemsize} bits")
        return values.astype(native, copy=False)

    def finish(self) -> None:
        """Check that nothing but space follows."""
        if self._data[self.position :].strip():
            super().finish()

    def _short_line(self, convert: Callable[[bytes], Any], count: int, name: str) -> list[Any]:
        """Read a line with a few numbers."""
        self.need(2 * count, name)
        limit = self.position + count * _LONGEST_NUMBER
        end = self._data.find(b"\n", self.position, limit)
        if end < 0:
            self.refuse(f"{name} is a line too long or cut short, for {count} numbers")
        values = self._numbers(convert, self._data[self.position : end], name)
        if len(values) != count:
            self.refuse(f"{name} has {len(values)} numbers in its line, not {count}")
        self.position = end + 1
        return values

    def _line(self, convert: Callable[[bytes], Any], out: Array, name: str) -> Array:
        """Fill ``out`` with the numbers of a line, block by block."""
        end = self._data.find(b"\n", self.position)
        if end < 0:
            self.refuse(f"the file ends in {name}; it is damaged or cut short")
        filled = 0
        while self.position < end:
            stop = self._data.rfind(b" ", self.position, self.position + _BLOCK)
            if end - self.position <= _BLOCK or stop < 0:
                stop = end
            if stop - self.position > _BLOCK:
                self.refuse(f"{name} has something that is not a number, or not a space between two")
            values = self._numbers(convert, self._data[self.position : stop], name)
            if filled + len(values) > len(out):
                self.refuse(f"{name} has more than {len(out)} numbers in its line")
            out[filled : filled + len(values)] = values
            filled += len(values)
            self.position = min(stop + 1, end)
        if filled < len(out):
            self.refuse(f"{name} has {filled} numbers in its line, not {len(out)}")
        self.position = end + 1
        return out

    def _numbers(self, convert: Callable[[bytes], Any], text: bytes, name: str) -> list[Any]:
        """Turn words into numbers, integers into those of 64 bits."""
        words = text.split()
        try:
            values = list(map(convert, words))
        except ValueError:
            values = []
        if len(values) < len(words) or b"_" in text:
            wrong = next(word for word in words if not _converts(convert, word))
            self.refuse(f"{name} is {wrong[:20]!r}, not a number")
        if convert is int and not -(1 << 63) <= min(values, default=0) <= max(values, default=0) < 1 << 63:
            self.refuse(f"{name} has a number that does not fit 64 bits")
        return values


def _converts(convert: Callable[[bytes], Any], word: bytes) -> bool:
    try:
        convert(word)
    except ValueError:
        return False
    return b"_" not in word  # 1_000 is a number to Python alone
