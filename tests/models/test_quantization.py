"""Matrices in 8 bits."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from char_rnn.models.quantization import dequantized, quantized

MATRICES = arrays.arrays(
    np.float32, st.tuples(st.integers(1, 5), st.integers(1, 9)), elements=st.floats(-(2.0**99), 2.0**99, width=32)
)


@settings(max_examples=80)
@given(MATRICES)
def test_rounding_is_near_and_rounding_again_changes_nothing(matrix: np.ndarray) -> None:
    values, scales = quantized(matrix)
    assert (values.dtype, scales.dtype, scales.shape) == (np.int8, np.float32, matrix.shape[:1])
    kept = dequantized(values, scales)
    largest = np.abs(matrix).max(1, keepdims=True)
    normal = largest > 1e-35  # smaller numbers become 0
    assert (np.abs(kept - matrix) <= np.where(normal, largest / 127 * 0.501, largest)).all()
    again, same = quantized(kept)
    assert np.array_equal(dequantized(again, same), kept)


def test_numbers_that_are_not_finite_stay_so() -> None:
    values, scales = quantized(np.array([[np.inf, 1], [np.nan, 1]], np.float32))
    assert not np.isfinite(dequantized(values, scales)).all(1).any()
    assert np.isinf(dequantized(values[:, 1:] + np.int8(9), np.full(2, 3e38, np.float32))).all()
