"""The weights of an exported page: matrices as int8 with a scale for each row, vectors as float32.

Dimensions: R rows, C columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from char_rnn.cells import Cell, Step, Value
from char_rnn.generation.network import Array, Network
from char_rnn.models.quantization import quantized

Description = dict[str, Any]


def pack(network: Network) -> tuple[Description, bytes]:
    """Describe a network of finite weights in JSON types, and return its numbers as bytes.

    Returns:
        The network's fields by name, with ``{"vector": first byte, "length"}`` or ``{"matrix": first byte, "scales":
        first byte, "rows", "columns"}`` in place of an array; and all float32, little-endian, followed by all int8.
    """
    packer = _Packer()
    described: Description = packer.describe(network)
    for matrix in packer.matrices:
        matrix["matrix"] += len(packer.floats)
    return described, bytes(packer.floats + packer.bytes)


class _Packer:
    """Collects each array once."""

    def __init__(self) -> None:
        self.floats, self.bytes = bytearray(), bytearray()
        self.matrices: list[Description] = []
        self._known: dict[int, Description] = {}

    def describe(self, part: Any) -> Any:
        if isinstance(part, np.ndarray):
            if id(part) not in self._known:
                self._known[id(part)] = self._matrix(part) if part.ndim == 2 else self._vector(part)
            return self._known[id(part)]
        if isinstance(part, Cell):
            return part.name
        if isinstance(part, Step):
            return _equations(part)
        if is_dataclass(part):
            return {field.name: self.describe(getattr(part, field.name)) for field in fields(part)}
        if isinstance(part, Mapping):
            return {name: self.describe(each) for name, each in part.items()}
        return [self.describe(each) for each in part] if isinstance(part, tuple) else part

    def _vector(self, array: Array) -> Description:
        return {"vector": self._put(array), "length": len(array)}

    def _matrix(self, array: Array) -> Description:
        values, scales = quantized(array)
        matrix = {"matrix": len(self.bytes), "scales": self._put(scales), "rows": len(array), "columns": array.shape[1]}
        self.bytes += values.tobytes()
        self.matrices.append(matrix)
        return matrix

    def _put(self, array: Array) -> int:
        """Append floats, and return the offset of their first byte."""
        start = len(self.floats)
        self.floats += array.astype("<f4").tobytes()
        return start


def _equations(step: Step) -> Description:
    """Describe the graph of a cell's step; operations that do not depend on the state come first."""
    loop = step.loop
    values = list(dict.fromkeys((*loop.before, *loop.states, *loop.values)))
    numbers = {value: number for number, value in enumerate(values)}

    def node(value: Value) -> Description:
        inputs = [numbers[each] for each in value.inputs]
        more = {"name": value.name, "inputs": inputs, "start": value.start, "number": value.number}
        return {"op": value.op, "width": value.width, **{name: each for name, each in more.items() if each}}

    groups = {"sequences": loop.sequences, "state": loop.states, "after": loop.after}
    described = {name: [numbers[value] for value in group] for name, group in groups.items()}
    return {"nodes": list(map(node, values)), "before": len(loop.before), **described}
