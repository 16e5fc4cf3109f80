"""Matrices in 8 bits: whole numbers from -127 to 127, and a scale for each row.

A matrix of such numbers stays the same when it is rounded again.

Dimensions: R rows, C columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from char_rnn.utils.config.fields import one_line
from char_rnn.utils.model_files import ModelFileError

Array = npt.NDArray[np.floating[Any]]
SCALES = ".scales"
"""Ending of the name of the scales in a model file."""


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


def stored_in_8_bits(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the tensors with int8 and scales in place of the matrices."""
    stored = {}
    for name, tensor in tensors.items():
        stored[name] = tensor
        if tensor.ndim == 2:
            with np.errstate(over="ignore"):  # after a diverged training; the predictions report it
                stored[name], stored[name + SCALES] = quantized(tensor.astype(np.float32, copy=False))
    return stored


def read_from_8_bits(path: Path, stored: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the tensors with float32 matrices in place of int8 and scales.

    Raises:
        ModelFileError: A matrix is not int8 with a scale for each row.
    """
    tensors = {name: array for name, array in stored.items() if not name.endswith(SCALES)}
    matrices = {name for name, array in tensors.items() if array.ndim == 2 or array.dtype == np.int8}
    for name in matrices | {name.removesuffix(SCALES) for name in stored.keys() - tensors.keys()}:
        values, scales = stored.get(name), stored.get(name + SCALES)
        if values is None or scales is None or not _are_rows(values, scales):
            raise ModelFileError(f"{path}: its matrix {one_line(name)} is damaged (not int8 with a scale for each row)")
        tensors[name] = dequantized(values, scales)
    return tensors


def _are_rows(values: np.ndarray, scales: np.ndarray) -> bool:
    types = values.dtype == np.int8 and scales.dtype == np.float32
    return types and values.ndim == 2 and scales.shape == values.shape[:1]
