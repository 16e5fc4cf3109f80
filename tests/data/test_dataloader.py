from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from char_rnn.data import DataError
from char_rnn.data.corpus import Corpus, Split
from char_rnn.data.dataloader import CharDataset, StreamBatches, WindowBatches, create_dataloaders

CORPUS = Corpus.from_text("0123456789" * 10)


def test_streams_are_the_default() -> None:
    loaders = create_dataloaders(CharDataset(CORPUS, 5, 0.8, 0.1), 3)
    assert list(loaders) == ["train", "val", "test"]
    assert all(isinstance(batches, StreamBatches) for batches in loaders.values())
    assert [len(batches) for batches in loaders.values()] == [5, 0, 0]
    assert [batches.split.name for batches in loaders.values()] == ["train", "val", "test"]
    assert [len(batches.split) for batches in loaders.values()] == [80, 10, 10]


def test_windows_on_demand() -> None:
    loaders = create_dataloaders(CharDataset(CORPUS, 5, 0.8, 0.1), 3, 1, batching="windows", seed=4)
    assert all(isinstance(batches, WindowBatches) for batches in loaders.values())
    assert [len(batches) for batches in loaders.values()] == [25, 2, 2]
    train = loaders["train"]
    assert isinstance(train, WindowBatches)
    assert (train.seed, train.num_workers, train.seq_length, train.batch_size) == (4, 1, 5, 3)


def test_empty_splits_are_left_out() -> None:
    assert list(create_dataloaders(CharDataset(CORPUS, 5, 0.9, 0.1), 3)) == ["train", "val"]
    assert list(create_dataloaders(CharDataset(CORPUS, 5, 1, 0), 3)) == ["train"]


@pytest.mark.parametrize("batching", ["streams", "windows"])
def test_a_training_split_too_small_is_refused(batching: str) -> None:
    with pytest.raises(DataError, match="the train split has 1 characters"):
        create_dataloaders(CharDataset(CORPUS, 5, 0.01, 0.9), 3, batching=batching)
    with pytest.raises(DataError, match="the train split has 0 characters"):
        create_dataloaders(CharDataset(CORPUS, 5, 0, 1), 3, batching=batching)


def test_unknown_batching_is_refused() -> None:
    with pytest.raises(ValueError, match="batching 'random': must be streams or windows"):
        create_dataloaders(CharDataset(CORPUS, 5), 3, batching="random")


def split_of(length: int, context: bool = False) -> Split:
    """A split whose characters are their own places, so that a batch shows where it was taken."""
    ids = np.arange(length + 1, dtype=np.uint32)
    return Split("train", ids[1:], context=0) if context else Split("train", ids[:length])


def test_a_small_epoch_in_full() -> None:
    batches = StreamBatches(split_of(14), batch_size=2, seq_length=3)
    assert (len(batches), batches.dropped, batches.carries_state) == (2, 1, True)
    first, second = batches.epoch(0)
    assert first[0].tolist() == [[0, 1, 2], [6, 7, 8]]
    assert first[1].tolist() == [[1, 2, 3], [7, 8, 9]]
    assert second[0].tolist() == [[3, 4, 5], [9, 10, 11]]
    assert second[1].tolist() == [[4, 5, 6], [10, 11, 12]]
    assert first[0].dtype == first[1].dtype == torch.int64
    assert first[0].is_contiguous()


def test_the_next_epoch_starts_after_what_the_first_left_out() -> None:
    batches = StreamBatches(split_of(14), batch_size=2, seq_length=3)
    first, _ = batches.epoch(1)
    assert first[0].tolist() == [[1, 2, 3], [7, 8, 9]]
    assert [x.tolist() for x, _ in batches.epoch(2)] == [x.tolist() for x, _ in batches.epoch(0)]


def test_context_makes_the_first_character_predictable() -> None:
    batches = StreamBatches(split_of(6, context=True), batch_size=2, seq_length=3)
    ((x, y),) = batches.epoch(0)
    assert batches.dropped == 0
    assert x.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert y.tolist() == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize("context", [False, True])
@pytest.mark.parametrize("number", [0, 1])
def test_the_history_is_the_text_before_each_stream(number: int, context: bool) -> None:
    batches = StreamBatches(split_of(14, context), batch_size=2, seq_length=3)
    first, _ = batches.epoch(number)
    expected = [[max(int(place) + lag + 1, 0) for lag in (-4, -3, -2, -1)] for place in first[0][:, 0]]
    assert batches.history(number, 4).tolist() == expected


@given(st.integers(1, 300), st.integers(1, 7), st.integers(1, 9), st.booleans(), st.integers(0, 5))
def test_streams_are_contiguous_and_lose_nothing(
    length: int, batch_size: int, seq_length: int, context: bool, number: int
) -> None:
    split = split_of(length, context)
    batches = StreamBatches(split, batch_size, seq_length, allow_empty=True)
    epoch = list(batches.epoch(number))
    assert len(epoch) == len(batches)
    assert split.predicted == len(batches) * batch_size * seq_length + batches.dropped
    assert 0 <= batches.dropped < batch_size * seq_length
    for x, y in epoch:
        assert torch.equal(y, x + 1)
        assert x.shape == (batch_size, seq_length)
    for (x, _), (following, _) in pairwise(epoch):
        assert torch.equal(following[:, 0], x[:, -1] + 1)
    if epoch:
        both = [*epoch, *batches.epoch(number + 1)]
        targets = set(torch.cat([y.flatten() for _, y in both]).tolist())
        first = 1  # the place of the first predictable character, with or without context
        assert targets == set(range(first, first + split.predicted))


@given(st.integers(0, 12), st.integers(0, 3))
def test_an_epoch_can_start_anywhere(start: int, number: int) -> None:
    batches = StreamBatches(split_of(100), batch_size=3, seq_length=3)
    whole = [x.tolist() for x, _ in batches.epoch(number)]
    assert [x.tolist() for x, _ in batches.epoch(number, start)] == whole[start:]


def test_processes_cut_their_streams_at_the_same_places() -> None:
    whole = StreamBatches(split_of(400), 5, 12)
    parts = [StreamBatches(split_of(400), 5, 12, rows=rows) for rows in (slice(2), slice(2, 5))]
    for (x, y), *shared in zip(whole.epoch(1), *(part.epoch(1) for part in parts), strict=True):
        assert torch.equal(x, torch.cat([part for part, _ in shared]))
        assert torch.equal(y, torch.cat([part for _, part in shared]))


def test_batches_are_independent_copies() -> None:
    split = split_of(14)
    (x, _), *_ = StreamBatches(split, 2, 3).epoch(0)
    x.zero_()
    assert split.ids.tolist() == list(range(14))


def test_too_small_a_text_says_how_much_is_needed() -> None:
    with pytest.raises(DataError, match=r"has 2,500 characters; one batch needs 2,501 \(batch_size 50 x seq_length 50"):
        StreamBatches(split_of(2500), 50, 50)
    assert len(StreamBatches(split_of(2501), 50, 50)) == 1
    small = StreamBatches(split_of(3), 50, 50, allow_empty=True)
    assert (len(small), list(small.epoch(0)), small.dropped) == (0, [], 2)


@pytest.mark.parametrize(("batch_size", "seq_length", "name"), [(0, 1, "batch_size"), (1, -1, "seq_length")])
def test_sizes_below_one_are_refused(batch_size: int, seq_length: int, name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} .*must be at least 1"):
        StreamBatches(split_of(10), batch_size, seq_length)


def test_text_comes_back_from_streams() -> None:
    corpus = Corpus.from_text("the quick brown fox jumps over the lazy dog")
    (x, y), *_ = StreamBatches(corpus.split("all"), 2, 21).epoch(0)
    assert corpus.vocabulary.decode(x.flatten().numpy()) == "the quick brown fox jumps over the lazy do"
    assert corpus.vocabulary.decode(y.flatten().numpy()) == "he quick brown fox jumps over the lazy dog"
