"""Batches for training: contiguous streams with carried state (the default), or shuffled windows."""

from collections.abc import Iterator
from typing import Literal, Protocol

from torch import Tensor

from char_rnn.data.corpus import SPLITS, Split
from char_rnn.data.streams import ALL_ROWS, StreamBatches
from char_rnn.data.windows import CharDataset, WindowBatches

__all__ = ["Batches", "CharDataset", "StreamBatches", "WindowBatches", "create_dataloaders"]


class Batches(Protocol):
    """The batches of one split. B is the batch size, T the sequence length.

    Attributes:
        split: The text.
        batch_size: Sequences side by side, those of all processes that share a batch.
        rows: Which of them are given here.
        seq_length: Characters of each in one batch.
        carries_state: Whether each row goes on where it ended in the batch before, so that the hidden state carries
            over.
        dropped: Characters that could be predicted and are not, in one epoch.
    """

    split: Split
    batch_size: int
    rows: slice
    seq_length: int
    carries_state: bool
    dropped: int

    def __len__(self) -> int:
        """Batches of an epoch."""
        ...

    def epoch(self, number: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield characters x and those that follow them y, int64, shape (B, T) each.

        The same number gives the same batches; `start` leaves out so many at the beginning, at no cost.
        """
        ...


def create_dataloaders(
    dataset: CharDataset,
    batch_size: int,
    num_workers: int = 0,
    *,
    batching: Literal["streams", "windows"] | str = "streams",
    seed: int = 0,
    pin_memory: bool = False,
    rows: slice = ALL_ROWS,
) -> dict[str, Batches]:
    """Make the batches of the `train`, `val` and `test` splits; empty splits are left out.

    Args:
        dataset: Of any split of the corpus; its sequence length and fractions count.
        batch_size: Sequences side by side.
        num_workers: Processes that gather windows; streams need none.
        batching: `"streams"` (contiguous, state carried over) or `"windows"` (overlapping, shuffled).
        seed: Chooses the order of windows.
        pin_memory: Gather windows into pinned memory, where there is CUDA.
        rows: Which of the sequences of each batch to give, where several processes share it.

    Raises:
        DataError: If the training split is too small for one batch. (Others may be: they are evaluated whole.)
        ValueError: If a number is out of range, or `batching` is neither.
    """
    if batching not in ("streams", "windows"):
        raise ValueError(f"batching {batching!r}: must be streams or windows")
    loaders: dict[str, Batches] = {}
    for name in SPLITS:
        part = dataset.with_split(name)
        allow_empty = name != "train"
        if allow_empty and not len(part.split):
            continue
        if batching == "streams":
            loaders[name] = StreamBatches(part.split, batch_size, part.seq_length, rows=rows, allow_empty=allow_empty)
        else:
            loaders[name] = WindowBatches(
                part, batch_size, num_workers, seed, pin_memory, rows=rows, allow_empty=allow_empty
            )
    return loaders
