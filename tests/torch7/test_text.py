"""The 2015 program's batches."""

from __future__ import annotations

import numpy as np
import pytest

from char_rnn import Corpus
from char_rnn.data.errors import DataError
from char_rnn.torch7.text import split_batches, split_text


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
