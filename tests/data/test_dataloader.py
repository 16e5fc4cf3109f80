import pytest

from char_rnn.data import DataError
from char_rnn.data.corpus import Corpus
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
