"""Arrays in files: memory that the system may take back at any time."""

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
FAULT_AROUND = 64 << 10  # bytes Linux maps at a touch, whatever was asked for


def open_ids(path: Path, dtype: npt.DTypeLike, length: int) -> "np.memmap[Any, Any]":
    """Map a file of indices, shape (length,), for reading.

    Raises:
        ValueError: If the file is shorter.
        OSError: If it cannot be opened, or is not a regular file.
    """
    check_regular(path)
    return np.memmap(path, dtype=dtype, mode="r", shape=(length,))


class PageReleaser:
    """Keeps the resident part of a mapped array small.

    Pages of a mapped file count as the process's memory once touched, so a pass over a corpus would seem to take
    the corpus's size. They are handed back (to the page cache, not to the disk) each time that enough was touched.
    An array that is not mapped is left alone.

    Args:
        array: The array, or a view of it.
    """

    def __init__(self, array: npt.NDArray[Any]) -> None:
        self._map = _find_map(array)
        self._touched = 0

    def touched(self, places: int, size: int) -> None:
        """Note that `places` places were read, `size` bytes each."""
        self._touched += places * max(size, FAULT_AROUND)
        if self._touched >= RESIDENT_LIMIT:
            self.release()

    def touched_in_order(self, size: int) -> None:
        """Note that `size` bytes were read, each right after the one read before."""
        self._touched += size
        if self._touched >= RESIDENT_LIMIT:
            self.release()

    def release(self) -> None:
        """Hand all pages back."""
        self._touched = 0
        if self._map is not None and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)


class BlockReader:
    """Reads blocks of a mapped array past the mapping.

    Streams side by side touch places far apart, and a system with large pages makes 2 MB resident at each touch: 100 MB
    for 50 streams, however little is read of them. What lies close together, or is not mapped, is read as it is.

    Args:
        array: The array, or a view of it.
    """

    def __init__(self, array: npt.NDArray[Any]) -> None:
        self._array, self._file = array, -1
        mapped = _find_memmap(array)
        if mapped is not None and array.nbytes > RESIDENT_LIMIT and hasattr(os, "preadv"):
            with suppress(OSError):  # the file was removed since; the mapping is still there
                self._file = os.open(str(mapped.filename), os.O_RDONLY)
                weakref.finalize(self, os.close, self._file)
            self._offset = int(mapped.offset) + array.ctypes.data - mapped.ctypes.data

    def read(self, starts: npt.NDArray[np.int64], length: int) -> npt.NDArray[Any]:
        """Return the elements from each start on, shape (starts, length).

        A start may lie before the array, where the mapped file goes on before it.
        """
        if self._file < 0:
            found: npt.NDArray[Any] = self._array[starts[:, None] + np.arange(length)]
            return found
        blocks = np.empty((len(starts), length), self._array.dtype)
        for start, block in zip(starts.tolist(), blocks, strict=True):
            if os.preadv(self._file, [block.data], self._offset + start * self._array.itemsize) != block.nbytes:
                raise OSError("the prepared text became shorter while it was read; prepare it again")
        return blocks


def _find_memmap(array: npt.NDArray[Any]) -> "np.memmap[Any, Any] | None":
    """Return the array that was mapped, whose own fields tell the file and the place in it."""
    owner: Any = array
    found = None
    while isinstance(owner, np.ndarray):
        found = owner if isinstance(owner, np.memmap) else found
        owner = owner.base
    return found


def _find_map(array: npt.NDArray[Any]) -> mmap.mmap | None:
    owner: Any = array
    while owner is not None:
        if isinstance(owner, mmap.mmap):
            return owner
        owner = owner.obj if isinstance(owner, memoryview) else getattr(owner, "base", None)
    return None
