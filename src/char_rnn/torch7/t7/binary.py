"""Torch7's binary format.

An ``int`` is 4 bytes, signed; a ``long`` 8, or 4 where a 32-bit Torch wrote it; a ``double`` 8; a character one. There
is no header and no alignment, and the byte order is that of the machine that wrote the file.
"""

from __future__ import annotations

import struct

import numpy as np

from char_rnn.torch7.t7.input import ELEMENTS, Array, ByteOrder, Input, LongSize


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
