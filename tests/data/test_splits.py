import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from char_rnn.data.corpus import Corpus
from char_rnn.data.errors import DataError
from char_rnn.data.splits import split_bounds

TEN = Corpus.from_text("abcdefghij")


@pytest.mark.parametrize(
    ("length", "train", "val", "expected"),
    [
        (100, 0.95, 0.05, (95, 5, 0)),
        (100, 0.29, 0.01, (29, 1, 70)),
        (101, 0.95, 0.05, (95, 6, 0)),
        (1_115_394, 0.9, 0.1, (1_003_854, 111_540, 0)),
        (10, 0.7, 0.2, (7, 2, 1)),
        (10, 1.0, 0.0, (10, 0, 0)),
        (10, 1 / 3, 2 / 3, (3, 7, 0)),
        (1, 0.5, 0.25, (0, 0, 1)),
        (0, 0.5, 0.5, (0, 0, 0)),
    ],
)
def test_split_sizes(length: int, train: float, val: float, expected: tuple[int, int, int]) -> None:
    bounds = split_bounds(length, train, val)
    assert tuple(end - start for start, end in (bounds["train"], bounds["val"], bounds["test"])) == expected


@given(st.integers(0, 10**12), st.integers(0, 1000), st.data())
def test_thousandths_are_split_exactly(length: int, train: int, data: st.DataObject) -> None:
    val = data.draw(st.integers(0, 1000 - train))
    bounds = split_bounds(length, train / 1000, val / 1000)
    assert bounds["train"] == (0, length * train // 1000)
    assert bounds["val"] == (bounds["train"][1], length * (train + val) // 1000)
    assert bounds["test"] == (bounds["val"][1], length)


def test_fractions_above_one_are_named() -> None:
    with pytest.raises(DataError, match=r"train_frac 0\.95 and val_frac 0\.1 are 1\.05 together"):
        split_bounds(100, 0.95, 0.1)
    with pytest.raises(DataError, match=r"val_frac -0\.1: must be between 0 and 1"):
        split_bounds(100, 0.95, -0.1)
    with pytest.raises(DataError, match="train_frac nan"):
        split_bounds(100, float("nan"), 0)


def test_splits_stand_one_after_the_other_with_context() -> None:
    splits = TEN.splits(0.5, 0.3)
    assert {name: TEN.vocabulary.decode(split.ids) for name, split in splits.items()} == {
        "train": "abcde",
        "val": "fgh",
        "test": "ij",
    }
    assert [split.context for split in splits.values()] == [None, 4, 7]
    assert [split.predicted for split in splits.values()] == [4, 3, 2]
    assert sum(split.predicted for split in splits.values()) == len(TEN) - 1
    assert np.shares_memory(splits["val"].ids, TEN.ids)


def test_the_whole_is_a_split_too() -> None:
    whole = TEN.split("all")
    assert (whole.name, len(whole), whole.context, whole.predicted) == ("all", 10, None, 9)


def test_an_empty_split_predicts_nothing() -> None:
    test = TEN.split("test", 0.9, 0.1)
    assert (len(test), test.predicted) == (0, 0)
    assert TEN.split("train", 0, 1).predicted == 0


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(DataError, match="split 'validation': must be one of train, val, test, all"):
        TEN.split("validation")
