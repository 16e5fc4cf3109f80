"""Windows of a text, in a random order."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from char_rnn.data import DataError
from char_rnn.data.corpus import Corpus, prepare_corpus
from char_rnn.data.windows import CharDataset, WindowBatches, permuted

TEXT = "".join(chr(0x4E00 + place) for place in range(60))
CORPUS = Corpus.from_text(TEXT)


def starts(batches: list[tuple[torch.Tensor, torch.Tensor]]) -> list[int]:
    return [int(start) for x, _ in batches for start in x[:, 0]]


def test_an_item_is_a_window_and_what_follows() -> None:
    dataset = CharDataset(CORPUS, 5, 0.5, 0.5)
    x, y = dataset[3]
    assert x.tolist() == [3, 4, 5, 6, 7]
    assert y.tolist() == [4, 5, 6, 7, 8]
    assert x.dtype == y.dtype == torch.int64
    assert len(dataset) == 25
    assert dataset[-1][1].tolist() == [25, 26, 27, 28, 29]


def test_splits_are_objects_of_their_own() -> None:
    train = CharDataset(CORPUS, 5, 0.5, 0.25)
    val, test = train.with_split("val"), train.with_split("test")
    assert [int(part[0][0][0]) for part in (train, val, test)] == [0, 30, 45]
    assert [len(part) for part in (train, val, test)] == [25, 10, 10]
    assert val.corpus is train.corpus


def test_a_split_shorter_than_a_window_has_none() -> None:
    assert len(CharDataset(CORPUS, 100)) == 0
    assert len(CharDataset(CORPUS, 3, split="test")) == 0
    with pytest.raises(IndexError, match="window 0: there are 0"):
        CharDataset(CORPUS, 100)[0]


def test_indices_past_the_end_are_refused() -> None:
    dataset = CharDataset(CORPUS, 5, 0.5, 0.5)
    for index in (25, -26):
        with pytest.raises(IndexError):
            dataset[index]


def test_the_vocabulary_is_at_hand(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text("hello hello", encoding="utf-8")
    dataset = CharDataset(path, 2, 1, 0)
    assert dataset.vocab_size == 5
    assert dataset.chars == [" ", "e", "h", "l", "o"]
    assert dataset.char_to_idx["h"] == 2
    assert dataset.idx_to_char[2] == "h"
    assert dataset[0][0].tolist() == [2, 1]


def test_an_ordinary_data_loader_takes_it() -> None:
    x, y = next(iter(DataLoader(CharDataset(CORPUS, 5), batch_size=4)))
    assert x[:, 0].tolist() == [0, 1, 2, 3]
    assert torch.equal(y, x + 1)


def test_pickles_without_its_text(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text("0123456789" * 10_000, encoding="utf-8")
    dataset = CharDataset(prepare_corpus(path), 5, 0.5, 0.25).with_split("val")
    data = pickle.dumps(dataset)
    copy = pickle.loads(data)
    assert len(data) < 2000
    assert (copy.split.name, len(copy)) == ("val", len(dataset))
    assert torch.equal(copy[7][0], dataset[7][0])


def test_a_seq_length_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="seq_length 0: must be at least 1"):
        CharDataset(CORPUS, 0)


def test_an_epoch_is_every_window_once_in_another_order() -> None:
    dataset = CharDataset(CORPUS, 5, 0.5, 0.25)
    batches = WindowBatches(dataset.with_split("val"), 4, seed=1)
    epoch = list(batches.epoch(0))
    assert (len(batches), batches.carries_state, batches.dropped) == (3, False, 1)
    assert sorted(starts(epoch)) == list(range(30, 40))
    assert starts(epoch) != sorted(starts(epoch))
    assert [len(x) for x, _ in epoch] == [4, 4, 2]
    assert all(torch.equal(y, x + 1) for x, y in epoch)


def test_training_batches_are_full() -> None:
    batches = WindowBatches(CharDataset(CORPUS, 5, 0.5, 0.25), 4)
    epoch = list(batches.epoch(0))
    assert (len(batches), batches.dropped) == (6, 0)
    assert [tuple(x.shape) for x, _ in epoch] == [(4, 5)] * 6
    assert len(set(starts(epoch))) == 24


def test_orders_depend_on_seed_and_epoch_alone() -> None:
    dataset = CharDataset(CORPUS, 5)

    def order(seed: int, number: int) -> list[int]:
        torch.rand(1)
        return starts(list(WindowBatches(dataset, 4, seed=seed).epoch(number)))

    assert order(1, 0) == order(1, 0)
    assert len({tuple(order(seed, number)) for seed in (0, 1) for number in (0, 1)}) == 4


def test_an_epoch_leaves_pytorchs_generator_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    list(WindowBatches(CharDataset(CORPUS, 5), 4).epoch(0))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("start", [0, 1, 5, 12, 13, 20])
def test_an_epoch_can_start_in_the_middle(start: int) -> None:
    batches = WindowBatches(CharDataset(CORPUS, 5), 4)
    assert len(batches) == 13
    assert starts(list(batches.epoch(3, start))) == starts(list(batches.epoch(3)))[start * 4 :]


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")  # Python 3.12 and later
def test_workers_give_the_same_batches(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text(TEXT, encoding="utf-8")
    dataset = CharDataset(path, 5)
    alone = list(WindowBatches(dataset, 4, seed=2).epoch(1))
    workers = list(WindowBatches(dataset, 4, num_workers=2, seed=2, pin_memory=True).epoch(1))
    assert starts(workers) == starts(alone)


def test_too_small_a_text_says_how_much_is_needed() -> None:
    with pytest.raises(
        DataError, match=r"has 57 characters; one batch of windows needs 70 \(batch_size 20 \+ seq_length 50"
    ):
        WindowBatches(CharDataset(CORPUS, 50), 20)
    assert list(WindowBatches(CharDataset(CORPUS, 50), 20, allow_empty=True).epoch(0)) == []


@pytest.mark.parametrize(
    ("arguments", "name"),
    [({"batch_size": 0}, "batch_size"), ({"seed": -1}, "seed"), ({"num_workers": -1}, "num_workers")],
)
def test_numbers_out_of_range_are_refused(arguments: dict[str, int], name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} .*must be at least"):
        WindowBatches(CharDataset(CORPUS, 5), **{"batch_size": 4, **arguments})


@given(st.integers(1, 3000), st.integers(0, 2**40), st.integers(0, 100))
def test_every_number_comes_once(length: int, seed: int, epoch: int) -> None:
    order = permuted(length, (seed, epoch))
    assert sorted(order.tolist()) == list(range(length))


def test_any_part_is_the_same_as_in_the_whole() -> None:
    parts = [permuted(1000, (7, 0), places) for places in (slice(10), slice(10, 999), slice(999, 2000))]
    assert np.concatenate(parts).tolist() == permuted(1000, (7, 0)).tolist()


def test_the_order_is_fixed_for_ever() -> None:
    assert permuted(10, (1, 2)).tolist() == [4, 6, 1, 5, 7, 9, 0, 8, 2, 3]


def test_seeds_and_epochs_give_other_orders() -> None:
    orders = {tuple(permuted(100, seed).tolist()) for seed in [(0, 0), (0, 1), (1, 0), (1, 1)]}
    assert len(orders) == 4


def test_the_first_place_is_spread_evenly() -> None:
    firsts = [int(permuted(8, (seed,), slice(1))[0]) for seed in range(4000)]
    counts = np.bincount(firsts, minlength=8)
    assert (np.abs(counts - 500) < 100).all()


def test_neighbours_end_up_anywhere() -> None:
    order = permuted(100_000, (3,))
    correlation = np.corrcoef(np.arange(len(order)), order)[0, 1]
    steps = np.corrcoef(order[1:], order[:-1])[0, 1]
    assert abs(correlation) < 0.02
    assert abs(steps) < 0.02


def test_a_huge_order_needs_no_list() -> None:
    middle = permuted(10**15, (0,), slice(5 * 10**14, 5 * 10**14 + 4))
    assert len(set(middle.tolist())) == 4
    assert middle.min() >= 0
    assert middle.max() < 10**15


def test_nothing_has_no_order() -> None:
    with pytest.raises(ValueError, match="permutation length 0"):
        permuted(0, (1,))
