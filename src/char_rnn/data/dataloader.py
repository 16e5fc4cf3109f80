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
        batch_size: Sequences in a batch, over all processes that share it.
        rows: The sequences that this process gets.
        seq_length: Characters in a sequence.
        carries_state: Whether each row continues the same row of the last batch, so that the hidden state carries over.
        dropped: Predictable characters that an epoch does not predict.
    """

    split: Split
    batch_size: int
    rows: slice
    seq_length: int
    carries_state: bool
    dropped: int

    def __len__(self) -> int:
        """Batches in an epoch."""
        ...

    def epoch(self, number: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield characters x and the characters that follow them y, int64, shape (B, T) each.

        The same number gives the same batches; `start` skips batches at the beginning, at no cost.
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
    """Make the batches of the `train`, `val` and `test` splits, without empty splits.

    Args:
        dataset: Dataset of any split of the corpus, whose sequence length and fractions are used.
        batch_size: Sequences in a batch.
        num_workers: Processes that load windows; streams need none.
        batching: `"streams"` (contiguous, state carried over) or `"windows"` (overlapping, shuffled).
        seed: Seed of the order of windows.
        pin_memory: Load windows into pinned memory if CUDA is available.
        rows: Sequences of each batch to return if several processes share it.

    Raises:
        DataError: The training split is too small for one batch. (Others may be: they are evaluated whole.)
        ValueError: A number is out of range, or `batching` is neither.
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
