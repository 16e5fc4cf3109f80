"""The packed weights of a page: their values and their size."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import pytest
from export_helpers import MODELS, in_8_bits, made

from char_rnn.cells import Cell, Step
from char_rnn.export.packing import _Packer, pack
from char_rnn.generation.network import Network


def arrays(part: Any) -> Any:
    """A network in the structure of its description."""
    if isinstance(part, Cell | Step):
        return _Packer().describe(part)
    if is_dataclass(part):
        return {field.name: arrays(getattr(part, field.name)) for field in fields(part)}
    if isinstance(part, dict):
        return {name: arrays(each) for name, each in part.items()}
    return [arrays(each) for each in part] if isinstance(part, tuple) else part


def unpacked(described: Any, data: bytes) -> Any:
    """The arrays that a page reads from a description."""
    if isinstance(described, list):
        return [unpacked(each, data) for each in described]
    if not isinstance(described, dict):
        return described
    if "vector" in described:
        return np.frombuffer(data, "<f4", described["length"], described["vector"])
    if "matrix" in described:
        rows, columns = described["rows"], described["columns"]
        values = np.frombuffer(data, np.int8, rows * columns, described["matrix"]).reshape(rows, columns)
        return values.astype(np.float32) * np.frombuffer(data, "<f4", rows, described["scales"])[:, None]
    return {name: unpacked(each, data) for name, each in described.items()}


@pytest.mark.parametrize("options", MODELS, ids=str)
def test_packed_weights_are_the_rounded_network(options: dict[str, Any]) -> None:
    file = made(**options)
    settings = file.config.model
    found = unpacked(*pack(Network.of(settings, file.tensors, np.float32)))
    expected = Network.of(settings, in_8_bits(file.tensors), np.float32)
    np.testing.assert_equal(found, arrays(expected))


def test_rounding_is_to_half_a_step_and_happens_once() -> None:
    file = made()
    kept = in_8_bits(file.tensors)
    for name, tensor in file.tensors.items():
        step = np.abs(tensor).max(-1, keepdims=True) / 127 if tensor.ndim == 2 else 0
        assert (np.abs(kept[name] - tensor) <= step / 2 * (1 + 1e-4)).all()
    again = in_8_bits(kept)
    for name, tensor in kept.items():
        np.testing.assert_allclose(again[name], tensor, rtol=1e-6)


def test_one_byte_for_each_weight_and_tied_weights_once() -> None:
    file = made(tie_weights=True, hidden_size=64, symbols="abcdefgh")
    _, data = pack(Network.of(file.config.model, file.tensors, np.float32))
    matrices = [tensor for tensor in file.tensors.values() if tensor.ndim == 2]
    vectors = [tensor for tensor in file.tensors.values() if tensor.ndim == 1]
    floats = sum(map(len, matrices)) + sum(map(len, vectors))
    assert len(data) == 4 * floats + sum(matrix.size for matrix in matrices)


def test_rows_of_zeros() -> None:
    file = made()
    file.tensors["output_proj.weight"][3] = 0
    kept = in_8_bits(file.tensors)["output_proj.weight"]
    assert (kept[3] == 0).all()
    assert np.isfinite(kept).all()
