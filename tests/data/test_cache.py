import errno
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from char_rnn.data import DataError
from char_rnn.data.cache import Cache
from char_rnn.data.vocabulary import Indices, Vocabulary

VOCABULARY = Vocabulary.from_text("abc")
KEY = "0123"


def pieces(*texts: str) -> Iterator[Indices]:
    return map(VOCABULARY.encode, texts)


def test_what_is_stored_is_found(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    assert cache.load(KEY) is None
    stored = cache.store(KEY, VOCABULARY, pieces("abc", "", "cab"))
    found = Cache(tmp_path / "cache").load(KEY)
    assert found is not None
    assert stored.ids.tolist() == found.ids.tolist() == [0, 1, 2, 2, 0, 1]
    assert found.vocabulary == VOCABULARY
    assert not found.ids.flags.writeable


def test_storing_again_replaces_and_leaves_open_maps_alone(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    first = cache.store(KEY, VOCABULARY, pieces("abc"))
    second = cache.store(KEY, VOCABULARY, pieces("ca"))
    assert (first.ids.tolist(), second.ids.tolist()) == ([0, 1, 2], [2, 0])


def test_a_full_disk_is_reported_and_leaves_nothing(tmp_path: Path) -> None:
    def filling() -> Iterator[Indices]:
        yield VOCABULARY.encode("abc")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(DataError, match=r"the disk is full; make room, or set data\.cache_dir"):
        Cache(tmp_path).store(KEY, VOCABULARY, filling())
    assert list(tmp_path.iterdir()) == []


def test_other_errors_pass_and_leave_nothing(tmp_path: Path) -> None:
    def failing() -> Iterator[Indices]:
        yield VOCABULARY.encode("abc")
        raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(OSError, match="Input/output"):
        Cache(tmp_path).store(KEY, VOCABULARY, failing())
    assert list(tmp_path.iterdir()) == []


def test_another_processs_copy_serves_where_open_files_cannot_be_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = Cache(tmp_path)
    cache.store(KEY, VOCABULARY, pieces("abc"))

    def refuse(self: Path, target: Path) -> None:
        raise PermissionError(errno.EACCES, "in use")

    monkeypatch.setattr(Path, "replace", refuse)
    assert cache.store(KEY, VOCABULARY, pieces("abc")).ids.tolist() == [0, 1, 2]
    with pytest.raises(PermissionError):
        cache.store("4567", VOCABULARY, pieces("abc"))
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{KEY}.ids", f"{KEY}.json"]


def test_a_source_is_remembered_with_its_state(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.remember("poem.txt", "state 1", "hash 1")
    assert cache.recall("poem.txt", "state 1") == "hash 1"
    assert cache.recall("poem.txt", "state 2") is None
    assert cache.recall("other.txt", "state 1") is None


def test_a_cache_that_cannot_be_written_is_still_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = Cache(tmp_path)
    cache.store(KEY, VOCABULARY, pieces("abc"))

    def refuse(**options: object) -> None:
        raise PermissionError(errno.EACCES, "read-only")

    monkeypatch.setattr("char_rnn.data.cache.tempfile.mkstemp", refuse)
    cache.remember("poem.txt", "state", "hash")
    assert cache.recall("poem.txt", "state") is None
    entry = cache.load(KEY)
    assert entry is not None
    assert entry.ids.tolist() == [0, 1, 2]
    assert cache.folder == tmp_path


def test_a_huge_description_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = Cache(tmp_path)
    cache.store(KEY, VOCABULARY, pieces("abc"))
    monkeypatch.setattr("char_rnn.data.cache.MAX_JSON", 10)
    assert cache.load(KEY) is None


def test_indices_are_little_endian_in_the_file(tmp_path: Path) -> None:
    wide = Vocabulary("characters", range(300))
    Cache(tmp_path).store(KEY, wide, iter([np.array([1, 299], dtype=np.uint16)]))
    assert (tmp_path / f"{KEY}.ids").read_bytes() == b"\x01\x00\x2b\x01"
