"""The parts of a corpus: training, validation and test text, one after the other."""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from char_rnn.data.errors import DataError

SplitName = Literal["train", "val", "test", "all"]
SPLITS: tuple[SplitName, ...] = ("train", "val", "test")
TOLERANCE = 1e-9


@dataclass(frozen=True, eq=False)
class Split:
    """A contiguous part of a corpus.

    Attributes:
        name: `train`, `val`, `test`, or `all` for the whole corpus.
        ids: Indices of the part's own characters, shape (N,); a view, not a copy.
        context: Index of the character just before the part, from which its first one can be predicted; None at
            the beginning of the corpus.
    """

    name: str
    ids: npt.NDArray[np.unsignedinteger[Any]]
    context: int | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def predicted(self) -> int:
        """Number of its characters that can be predicted: all, but the first where nothing stands before it."""
        return max(0, len(self.ids) - (self.context is None))


def split_bounds(length: int, train_frac: float, val_frac: float) -> dict[str, tuple[int, int]]:
    """Give the first index of each split, and the one after its last.

    Args:
        length: Characters in the corpus.
        train_frac: Fraction of them to train on, 0 to 1.
        val_frac: Fraction of them to validate on; the rest is the test split.

    Raises:
        DataError: If a fraction is not between 0 and 1, or both together are above 1.
    """
    for name, fraction in (("train_frac", train_frac), ("val_frac", val_frac)):
        if not 0 <= fraction <= 1:
            raise DataError(f"{name} {fraction}: must be between 0 and 1")
    if train_frac + val_frac > 1 + TOLERANCE:
        raise DataError(
            f"train_frac {train_frac} and val_frac {val_frac} are {train_frac + val_frac:g} together: lower one, "
            "so that they are at most 1"
        )
    train_end = _part(length, train_frac)
    val_end = _part(length, train_frac, val_frac)
    return {"train": (0, train_end), "val": (train_end, val_end), "test": (val_end, length), "all": (0, length)}


def _part(length: int, *fractions: float) -> int:
    """Round down, but not for a float's error: 0.29 of 100 is 29, 0.9 + 0.1 of anything is all of it."""
    fraction = sum(Fraction(str(float(fraction))) for fraction in fractions)
    return length if fraction > 1 - TOLERANCE else math.floor(length * fraction)
