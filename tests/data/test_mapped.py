import gc
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from char_rnn.data import mapped
from char_rnn.data.mapped import RESIDENT_LIMIT, BlockReader, PageReleaser, open_ids


def resident(path: Path) -> int:
    """Bytes of a mapped file that are resident in this process."""
    inside = total = False
    size = 0
    for line in Path("/proc/self/smaps").read_text(encoding="utf-8").splitlines():
        if "-" in line.split(" ")[0]:
            inside = line.endswith(str(path))
        elif inside and line.startswith("Rss:"):
            size += int(line.split()[1]) << 10
            total = True
    assert total
    return size


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_pages_are_handed_back(tmp_path: Path) -> None:
    path = tmp_path / "ids"
    path.write_bytes(bytes(2 * RESIDENT_LIMIT))
    ids = open_ids(path, np.uint8, 2 * RESIDENT_LIMIT)
    pages = PageReleaser(ids[10:].view(np.ndarray))
    total = 0
    for start in range(0, len(ids), 1 << 20):
        total += int(ids[start : start + (1 << 20)].sum())
        pages.touched_in_order(1 << 20)
    assert total == 0
    assert resident(path) <= RESIDENT_LIMIT
    pages.release()
    assert resident(path) == 0
    assert ids[123] == 0


def test_an_array_in_memory_is_left_alone() -> None:
    array = np.ones(1000, dtype=np.uint8)
    pages = PageReleaser(array[5:])
    pages.touched(10_000, 1)
    pages.release()
    gc.collect()
    assert array.sum() == 1000


def test_too_short_a_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ids"
    path.write_bytes(b"123")
    with pytest.raises(ValueError, match="mmap length"):
        open_ids(path, np.uint8, 4)


@pytest.mark.skipif(not hasattr(os, "preadv"), reason="the system reads files in another way")
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_blocks_are_read_past_the_mapping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: Any) -> None:
    """From the whole and from a part of it; before a part stands what the file has there."""
    monkeypatch.setattr(mapped, "RESIDENT_LIMIT", 0)
    values = np.arange(250, dtype=dtype)
    values.tofile(tmp_path / "ids")
    whole = open_ids(tmp_path / "ids", dtype, 250)
    part = whole[100:].view(np.ndarray)
    for array, starts in ((whole, [0, 7, 246]), (part, [-1, 50, 146])):
        reader = BlockReader(array)
        assert reader._file >= 0
        found = reader.read(np.array(starts), 4)
        first = 0 if array is whole else 100
        assert found.tolist() == [list(range(first + start, first + start + 4)) for start in starts]
        with pytest.raises(OSError, match="became shorter"):
            reader.read(np.array([len(array) - 3]), 4)


def test_what_is_small_or_in_memory_is_read_as_it_is(tmp_path: Path) -> None:
    values = np.arange(20, dtype=np.uint8)
    values.tofile(tmp_path / "ids")
    for array in (values, open_ids(tmp_path / "ids", np.uint8, 20)):
        reader = BlockReader(array)
        assert reader._file == -1
        assert reader.read(np.array([3, 0]), 3).tolist() == [[3, 4, 5], [0, 1, 2]]
