"""Arrays in files: memory that the system may reclaim at any time."""

import mmap
import os
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from char_rnn.utils.files import check_regular

RESIDENT_LIMIT = 32 << 20  # bytes of a mapped file that may stay resident
FAULT_AROUND = 64 << 10  # bytes that Linux maps at a page fault, whatever was read


def open_ids(path: Path, dtype: npt.DTypeLike, length: int) -> "np.memmap[Any, Any]":
    """Map a file of indices, shape (length,), for reading.

    Raises:
        ValueError: The file is shorter.
        OSError: It cannot be opened, or is not a regular file.
    """
    check_regular(path)
    return np.memmap(path, dtype=dtype, mode="r", shape=(length,))


class PageReleaser:
    """Keeps the resident part of a mapped array small.

    Touched pages of a mapped file count as memory of the process, so a pass over a corpus would seem to take its whole
    size. They are released, to the page cache, whenever enough were touched. An array that is not mapped is left alone.
    """

    def __init__(self, array: npt.NDArray[Any]) -> None:
        self._map = next((owner for owner in _owners(array) if isinstance(owner, mmap.mmap)), None)
        self._touched = 0

    def touched(self, places: int, size: int) -> None:
        """Count reads of ``size`` bytes at each of ``places`` places."""
        self.touched_in_order(places * max(size, FAULT_AROUND))

    def touched_in_order(self, size: int) -> None:
        """Count a read of ``size`` bytes that follow those of the last read."""
        self._touched += size
        if self._touched >= RESIDENT_LIMIT:
            self.release()

    def release(self) -> None:
        """Release all pages."""
        self._touched = 0
        if self._map is not None and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)


class BlockReader:
    """Reads blocks of a mapped array from its file.

    Streams side by side touch distant places, and a system with large pages makes 2 MB resident at each: 100 MB for 50
    streams, however little is read. Small arrays, and those that are not mapped, are read directly.
    """

    def __init__(self, array: npt.NDArray[Any]) -> None:
        self._array, self._file = array, -1
        mapped = [owner for owner in _owners(array) if isinstance(owner, np.memmap)]
        if mapped and array.nbytes > RESIDENT_LIMIT and hasattr(os, "preadv"):
            with suppress(OSError):  # the file was removed; its mapping is still valid
                self._file = os.open(str(mapped[-1].filename), os.O_RDONLY)
                weakref.finalize(self, os.close, self._file)
            self._offset = int(mapped[-1].offset) + array.ctypes.data - mapped[-1].ctypes.data

    def read(self, starts: npt.NDArray[np.int64], length: int) -> npt.NDArray[Any]:
        """Return ``length`` elements from each start on, shape (starts, length).

        A start may be before the array, if the mapped file has elements there.
        """
        if self._file < 0:
            found: npt.NDArray[Any] = self._array[starts[:, None] + np.arange(length)]
            return found
        blocks = np.empty((len(starts), length), self._array.dtype)
        for start, block in zip(starts.tolist(), blocks, strict=True):
            if os.preadv(self._file, [block.data], self._offset + start * self._array.itemsize) != block.nbytes:
                raise OSError("the prepared text became shorter while it was read; prepare it again")
        return blocks


def _owners(array: npt.NDArray[Any]) -> list[Any]:
    """Return an array and all objects that own its memory, the last being the original."""
    owners: list[Any] = []
    owner: Any = array
    while owner is not None:
        owners.append(owner)
        owner = owner.obj if isinstance(owner, memoryview) else getattr(owner, "base", None)
    return owners
