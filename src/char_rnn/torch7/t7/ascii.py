"""Torch7's ascii format.

Every write of numbers is a line of them, separated by single spaces; a write of characters is these as they are, then a
newline. A write of nothing is nothing, not even a line. A line of numbers must end: without its newline, 12 that was
cut short would be read as 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from char_rnn.torch7.t7.input import ELEMENTS, Array, Input

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
