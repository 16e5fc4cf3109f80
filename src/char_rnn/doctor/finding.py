"""What a check found, and how far two results are apart."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

NAMED = 3


@dataclass(frozen=True)
class Finding:
    """The outcome of a check.

    Attributes:
        passed: Whether the device did right.
        words: What was found, in a line.
        off: The error that was measured, in the unit that the check states; None where nothing was.
        allowed: The largest error that passes.
    """

    passed: bool
    words: str
    off: float | None = None
    allowed: float | None = None


def judge_gradients(found: Mapping[str, Tensor], answer: Mapping[str, Tensor], allowed: float) -> Finding:
    """Compare gradients by parameter: the largest difference, as a part of the answer's largest element."""
    errors = {name: relative_error(found[name], right) if name in found else math.nan for name, right in answer.items()}
    wrong = {name: error for name, error in errors.items() if not error <= allowed}
    off = max(errors.values(), key=nan_last)
    if not wrong:
        return Finding(True, f"every gradient is within {off:.1e} of its largest element", off, allowed)
    worst = sorted(wrong, key=lambda name: nan_last(wrong[name]), reverse=True)
    named = ", ".join(f"{percent(wrong[name])} ({name})" for name in worst[:NAMED])
    more = f" and in {len(worst) - NAMED} more parameters" if len(worst) > NAMED else ""
    return Finding(False, f"gradients are off by {named}{more}; allowed {percent(allowed)}", off, allowed)


def percent(share: float) -> str:
    """Return a share in percent, small ones with two digits."""
    return f"{share:,.0%}" if share > 0.1 else f"{100 * share:.2g}%"


def relative_error(found: Tensor, right: Tensor) -> float:
    """Return the largest difference, as a part of the right one's largest element; NaN if either holds one."""
    return float((found - right).abs().max() / right.abs().max())


def nan_last(error: float) -> float:
    """Return a key to sort errors by: not a number is the largest of all."""
    return math.inf if math.isnan(error) else error
