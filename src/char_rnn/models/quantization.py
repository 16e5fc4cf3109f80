"""Matrices in 8 bits: whole numbers from -127 to 127, and a scale for each row.

A matrix of such numbers stays the same when it is rounded again.

Dimensions: R rows, C columns.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating[Any]]


def quantized(matrix: Array) -> tuple[npt.NDArray[np.int8], Array]:
    """Round a matrix (R, C) to int8 (R, C) and scales (R,), in the matrix's type."""
    scales = np.abs(matrix).max(1) / np.float32(127)
    scales[scales < np.finfo(np.float32).tiny] = 1  # rows of zeros, and of numbers that a scale cannot represent
    with np.errstate(invalid="ignore"):  # of infinite numbers only the scale remains
        return np.rint(matrix / scales[:, None]).astype(np.int8), scales


def dequantized(values: npt.NDArray[np.int8], scales: Array) -> Array:
    """Return the matrix (R, C) from int8 (R, C) and scales (R,), in the type of the scales."""
    with np.errstate(over="ignore", invalid="ignore"):  # after a diverged training, or in a damaged file
        matrix: Array = values.astype(scales.dtype) * scales[:, None]
    return matrix
