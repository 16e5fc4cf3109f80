"""Going through time-major buffers, (T, ...), step by step."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat
from typing import Any

from torch import Tensor


def by_step(*buffers: Tensor | None) -> Iterator[tuple[Any, ...]]:
    """Go through buffers together; None, where there is no buffer, stays None.

    Unbinding makes all views in one call, cheaper than slicing each step.
    """
    time = next(len(buffer) for buffer in buffers if buffer is not None)
    return zip(*(repeat(None, time) if buffer is None else buffer.unbind() for buffer in buffers), strict=True)


def by_step_back(*buffers: Tensor | None) -> Iterator[tuple[Any, ...]]:
    """Go through buffers together, from the last step to the first."""
    return iter(list(by_step(*buffers))[::-1])
