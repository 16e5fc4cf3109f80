"""The text of a 2015 run: its batches, and its caches vocab.t7 and data.t7."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from t7_writer import dump

from char_rnn import Corpus
from char_rnn.data import DataError
from char_rnn.torch7.t7.values import Table
from char_rnn.torch7.text import read_caches, split_batches, split_text


def corpus(length: int) -> Corpus:
    return Corpus.from_text(bytes(range(length)), vocabulary="bytes")


@pytest.mark.parametrize(
    ("count", "train", "val", "expected"),
    [
        (130, 0.95, 0.05, (123, 7, 0)),
        (130, 0.8, 0.1, (104, 13, 13)),
        (10, 0.9, 0.1, (9, 1, 0)),  # 1 - (0.9 + 0.1) is 0 in floating point
        (100, 0.7, 0.2, (70, 20, 10)),
        (7, 0.5, 0.25, (3, 1, 3)),
    ],
)
def test_batches_are_shared_out_in_floating_point(
    count: int, train: float, val: float, expected: tuple[int, int, int]
) -> None:
    assert tuple(split_batches(count, train, val).values()) == expected


def test_rows_are_contiguous_and_the_end_wraps_round_to_the_beginning() -> None:
    loaders = split_text(corpus(27), batch_size=2, seq_length=3, train_frac=0.5, val_frac=0.25)
    assert {name: len(batches) for name, batches in loaders.items()} == {"train": 2, "val": 1, "test": 1}
    x, y = next(loaders["train"].epoch(0))
    np.testing.assert_array_equal(x, [[0, 1, 2], [12, 13, 14]])
    np.testing.assert_array_equal(y, [[1, 2, 3], [13, 14, 15]])
    [(x, y)] = loaders["test"].epoch(0)
    np.testing.assert_array_equal(x, [[9, 10, 11], [21, 22, 23]])
    np.testing.assert_array_equal(y, [[10, 11, 12], [22, 23, 0]])  # not 24, which is cut off


def test_a_split_has_its_own_batches_and_begins_where_it_is_told() -> None:
    loaders = split_text(corpus(27), 2, 3, 0.5, 0.25)
    assert [len(batches) for batches in loaders.values()] == [2, 1, 1]
    [(x, _)] = loaders["val"].epoch(0)
    assert x[:, 0].tolist() == [6, 18]
    [(x, _)] = loaders["train"].epoch(5, start=1)
    assert x[:, 0].tolist() == [3, 15]
    assert loaders["train"].dropped == 26 - 24


def test_a_text_without_a_batch_to_train_on_is_refused() -> None:
    with pytest.raises(DataError, match=r"27 characters, 1 batches of 5 x 5, but none to train on"):
        split_text(corpus(27), 5, 5, 0.95, 0.05)


DAY = 86_400


def numbered(text: bytes) -> Table:
    return Table.of({bytes([symbol]): float(index) for index, symbol in enumerate(sorted(set(text)), 1)})


def indices(text: bytes) -> np.ndarray:
    """As they are stored: index 256 does not fit in a byte."""
    symbols = sorted(set(text))
    return np.array([(symbols.index(symbol) + 1) % 256 for symbol in text], np.uint8)


def write(folder: Path, vocab: object, data: object, text: bytes | None = None) -> Path:
    (folder / "vocab.t7").write_bytes(dump(vocab))
    (folder / "data.t7").write_bytes(dump(data))
    if text is not None:
        (folder / "input.txt").write_bytes(text)
    return folder


@given(st.binary(min_size=1, max_size=300))
def test_the_text_comes_back(tmp_path_factory: pytest.TempPathFactory, text: bytes) -> None:
    folder = write(tmp_path_factory.mktemp("data"), numbered(text), indices(text))
    assert read_caches(folder).text == text


def test_with_all_bytes_the_last_index_was_stored_as_0(tmp_path: Path) -> None:
    text = bytes(range(256)) * 2 + b"\xff\x00\xff"
    assert indices(text)[255] == 0
    assert read_caches(write(tmp_path, numbered(text), indices(text))).text == text


def test_any_numbering_is_understood(tmp_path: Path) -> None:
    vocab = Table.of({b"b": 1.0, b"a": 3.0, b"\n": 2.0})
    cached = read_caches(write(tmp_path, vocab, np.array([3, 1, 2], np.uint8)))
    assert cached.text == b"ab\n"
    assert bytes(cached.vocabulary.symbols) == b"b\na"  # the order that the parameters and the draws go by


@pytest.mark.parametrize(
    ("age", "used"),
    [({}, True), ({"input.txt": 0, "vocab.t7": DAY}, False), ({"input.txt": 0, "data.t7": DAY}, False),
     ({"input.txt": DAY}, True)],
)  # fmt: skip
def test_caches_older_than_the_text_are_stale(tmp_path: Path, age: dict[str, int], used: bool) -> None:
    write(tmp_path, numbered(b"aab"), indices(b"aab"), b"another text")
    for name in ("input.txt", "vocab.t7", "data.t7"):
        time = 1_440_000_000 - age.get(name, 0)
        os.utime(tmp_path / name, (time, time))
    cached = read_caches(tmp_path)
    assert (cached and cached.text) == (b"aab" if used else None)


def test_times_are_compared_in_whole_seconds_as_then(tmp_path: Path) -> None:
    write(tmp_path, numbered(b"aab"), indices(b"aab"), b"aab")
    for name, part in (("data.t7", 1), ("vocab.t7", 3), ("input.txt", 2)):
        os.utime(tmp_path / name, ns=(1_440_000_000_000_000_000 + part,) * 2)
    assert read_caches(tmp_path).text == b"aab"


def test_without_caches_the_text_is_to_be_read(tmp_path: Path) -> None:
    assert read_caches(tmp_path) is None
    assert read_caches(tmp_path / "nowhere") is None
    (tmp_path / "input.txt").write_bytes(b"abc")
    assert read_caches(tmp_path) is None
    (tmp_path / "vocab.t7").write_bytes(b"half a cache is none")
    assert read_caches(tmp_path) is None


@pytest.mark.parametrize(("there", "missing"), [("vocab.t7", "data.t7"), ("data.t7", "vocab.t7")])
def test_half_a_cache_without_the_text_is_an_error(tmp_path: Path, there: str, missing: str) -> None:
    write(tmp_path, numbered(b"ab"), indices(b"ab"))
    (tmp_path / missing).unlink()
    with pytest.raises(DataError, match=rf"{there}: cannot be used without {missing}; put input\.txt or"):
        read_caches(tmp_path)


VOCAB, DATA = numbered(b"abc"), indices(b"abc")


@pytest.mark.parametrize(
    ("vocab", "data", "message"),
    [
        (7.0, DATA, "vocab.t7: holds a number"),
        (Table(), DATA, "vocab.t7: does not number its symbols from 1"),
        (Table.of({b"ab": 1.0}), DATA, "vocab.t7: holds a table, where train.lua writes a table of indices by byte"),
        (Table.of({b"a": b"1"}), DATA, "writes a table of indices by byte"),
        (Table.of({b"a": float("nan")}), DATA, "writes a table of indices by byte"),
        (Table.of({b"a": 1.0, b"b": 1.0}), DATA, "does not number its symbols"),
        (Table.of({b"a": 1.0, b"b": 2.5}), DATA, "does not number its symbols"),
        (VOCAB, VOCAB, "data.t7: holds a table, where train.lua writes the indices of a text"),
        (VOCAB, DATA.astype(np.int64), "data.t7: holds a tensor of int64"),
        (VOCAB, DATA[None], r"shape \(1, 3\)"),
        (VOCAB, DATA[:0], "data.t7: "),
        (VOCAB, np.array([1, 2, 4], np.uint8), "index 4 at position 2, but vocab.t7 numbers its symbols from 1 to 3"),
        (VOCAB, np.array([1, 0, 3], np.uint8), "index 0 at position 1"),
    ],
)
def test_caches_that_do_not_fit_are_named(tmp_path: Path, vocab: object, data: object, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read_caches(write(tmp_path, vocab, data))
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert "remove vocab.t7 and data.t7, then the text is read from input.txt" in str(caught.value)


@pytest.mark.parametrize("name", ["vocab.t7", "data.t7"])
def test_a_damaged_cache_is_named(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, VOCAB, DATA) / name
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=rf"{name}: byte \d+.*; remove vocab\.t7 and data\.t7"):
        read_caches(tmp_path)


def test_an_index_repeated_without_end_takes_no_memory(tmp_path: Path) -> None:
    """A tensor of stride 0 may be as long as it says, in a file of a hundred bytes."""
    content = bytearray(dump(np.array([1], np.uint8)))
    place = content.index(b"ByteTensor") + len(b"ByteTensor") + 4
    content[place : place + 16] = (1 << 60).to_bytes(8, "little") + bytes(8)
    write(tmp_path, VOCAB, DATA)
    (tmp_path / "data.t7").write_bytes(content)
    with pytest.raises(DataError, match=r"data\.t7: holds a tensor of uint8, shape \(1152921504606846976,\)"):
        read_caches(tmp_path)
