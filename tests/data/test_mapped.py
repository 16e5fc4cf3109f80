import gc
import sys
from pathlib import Path

import numpy as np
import pytest

from char_rnn.data.mapped import RESIDENT_LIMIT, PageReleaser, open_ids


def resident(path: Path) -> int:
    """Bytes of a mapped file that are resident in this process."""
    mapped = total = False
    size = 0
    for line in Path("/proc/self/smaps").read_text(encoding="utf-8").splitlines():
        if "-" in line.split(" ")[0]:
            mapped = line.endswith(str(path))
        elif mapped and line.startswith("Rss:"):
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
