"""The bytes of a Torch7 file, read front to back as integers, numbers, characters and arrays.

Binary format: an ``int`` is 4 signed bytes; a ``long`` 8, or 4 if a 32-bit Torch wrote it; a ``double`` 8; a character
1. There is no header and no alignment. The byte order is that of the machine that wrote the file.

Ascii format: every write of numbers is a line of them, separated by single spaces; a write of characters is the raw
characters and a newline. A write of nothing leaves nothing, not even a line. A line of numbers must end in its newline:
without it, a 12 that was cut short would be read as 1.

Neither reader allocates memory before it knows that the file has the bytes for it.
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

# Torch's element types and NumPy's. A long becomes 8 bytes, whatever its size in the file.
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
    """Invalid content at a byte of the input. The reader adds the path of the value that it belongs to."""

    def __init__(self, reason: str, offset: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.offset = offset


class _Input(ABC):
    """A file's bytes and the position in them.

    Methods that read take the ``name`` of the value for messages, and raise :class:`MalformedError` if the file holds
    something else.

    Attributes:
        position: Next byte.
        left: Unread bytes.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.position = 0

    @property
    def left(self) -> int:
        return len(self._data) - self.position

    def finish(self) -> None:
        """Check that the file ends here."""
        if self.left:
            self.refuse(f"the object ends here, but {self.left} more bytes follow")

    def longs(self, count: int, name: str) -> list[int]:
        """Read ``count`` values of type ``long``."""
        values: list[int] = self.array("Long", count, name).tolist()
        return values

    @abstractmethod
    def array(self, element: str, count: int, name: str) -> Array:
        """Read elements of a type of :data:`ELEMENTS` into a new array (count,) in this machine's byte order."""

    def need(self, size: int, name: str) -> None:
        """Check that ``size`` bytes are left."""
        if size < 0:
            self.refuse(f"{name} has a negative size")
        if size > self.left:
            self.refuse(f"{name} needs {size} bytes, but {self.left} are left; the file is damaged or cut short")

    def refuse(self, reason: str) -> NoReturn:
        """Raise an error at this position."""
        raise MalformedError(reason, self.position)


class BinaryInput(_Input):
    """A file in the binary format, of either byte order and size of ``long``."""

    smallest_pair = 12  # bytes of the smallest table entry: a boolean's tag and value, and nil

    def __init__(self, data: bytes, byte_order: ByteOrder, long_size: LongSize) -> None:
        super().__init__(data)
        order = "<" if byte_order == "little" else ">"
        self._integer = struct.Struct(order + "i")
        self._double = struct.Struct(order + "d")
        self._byte_order = byte_order
        self._long = np.dtype(f"{order}i{long_size}")

    def integer(self, name: str) -> int:
        """Read an ``int``: 32 bits, signed."""
        value: int = self._integer.unpack_from(self._data, self._advance(4, name))[0]
        return value

    def double(self, name: str) -> float:
        """Read a ``double``."""
        value: float = self._double.unpack_from(self._data, self._advance(8, name))[0]
        return value

    def raw(self, count: int, name: str) -> bytes:
        """Read ``count`` characters."""
        start = self._advance(count, name)
        return self._data[start : self.position]

    def array(self, element: str, count: int, name: str) -> Array:
        """See :meth:`_Input.array`."""
        native = np.dtype(ELEMENTS[element])
        stored = self._long if element == "Long" else native.newbyteorder(self._byte_order)
        start = self._advance(count * stored.itemsize, name)
        return np.frombuffer(self._data, stored, count, start).astype(native) if count else np.empty(0, native)

    def _advance(self, size: int, name: str) -> int:
        """Skip ``size`` bytes; return where they begin."""
        self.need(size, name)
        start = self.position
        self.position = start + size
        return start


_BLOCK = 1 << 11  # characters of a long line converted at a time, to bound the memory
# Shared objects: a digit takes two bytes of the file, but a float object of its own takes 24 of memory.
_DIGITS = tuple(float(digit) for digit in range(10))


class AsciiInput(_Input):
    """A file in the ascii format."""

    smallest_pair = 6  # "5\n1\n0\n": a boolean and nil

    def integer(self, name: str) -> int:
        """See :meth:`BinaryInput.integer`."""
        value: int = self._number(int, name)
        if not -(1 << 31) <= value < 1 << 31:
            self.refuse(f"{name} is {value}, which does not fit in 32 bits")
        return value

    def double(self, name: str) -> float:
        """See :meth:`BinaryInput.double`."""
        value: float = self._number(float, name)
        return _DIGITS[int(value)] if 0 < value <= 9 and value.is_integer() else value

    def raw(self, count: int, name: str) -> bytes:
        """Read ``count`` characters and the newline after them."""
        self.need(count, name)
        start, end = self.position, self.position + count
        self.position = end + (count > 0 and self._data[end : end + 1] == b"\n")
        return self._data[start:end]

    def array(self, element: str, count: int, name: str) -> Array:
        """See :meth:`_Input.array`. Elements of one byte are raw characters."""
        native = np.dtype(ELEMENTS[element])
        if count == 0:
            return np.empty(0, native)
        if native.itemsize == 1:
            return np.array(np.frombuffer(self.raw(count, name), native))
        self.need(2 * count, name)  # a digit each, and a space or the newline
        if native.kind == "f":
            with np.errstate(over="ignore"):  # a number too large for the type becomes infinite, as in C
                return self._line(float, np.empty(count), name).astype(native, copy=False)
        values = self._line(int, np.empty(count, np.int64), name)
        limits = np.iinfo(native)
        if values.min() < limits.min or values.max() > limits.max:
            self.refuse(f"{name} has a number that does not fit in {8 * native.itemsize} bits")
        return values.astype(native, copy=False)

    def finish(self) -> None:
        """Check that nothing but white space follows."""
        if self._data[self.position :].strip():
            super().finish()

    def _number(self, convert: Callable[[bytes], Any], name: str) -> Any:
        """Read a line with one number; several times as fast as :meth:`_line`."""
        self.need(2, name)
        end = self._data.find(b"\n", self.position, self.position + _BLOCK)
        if end < 0:
            self.refuse(f"{name} is a line too long or cut short")
        values = self._numbers(convert, self._data[self.position : end], name)
        if len(values) != 1:
            self.refuse(f"{name} has {len(values)} numbers in its line, not 1")
        self.position = end + 1
        return values[0]

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
                self.refuse(f"{name} has something that is not a number, or numbers not separated by a space")
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
        """Convert words to floats, or to integers of 64 bits."""
        words = text.split()
        try:
            values = [] if b"_" in text else list(map(convert, words))
        except ValueError:
            values = []
        if len(values) < len(words):
            wrong = next(word for word in words if not _is_number(convert, word))
            self.refuse(f"{name} is {wrong[:20]!r}, not a number")
        if convert is int and not -(1 << 63) <= min(values, default=0) <= max(values, default=0) < 1 << 63:
            self.refuse(f"{name} has a number that does not fit in 64 bits")
        return values


def _is_number(convert: Callable[[bytes], Any], word: bytes) -> bool:
    try:
        convert(word)
    except ValueError:
        return False
    return b"_" not in word  # 1_000 is a number only in Python


Input = BinaryInput | AsciiInput
