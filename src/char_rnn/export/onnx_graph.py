"""The parts of an ONNX graph: nodes, and a recurrent layer.

A layer is one of ONNX's own operators if that is exactly its cell, else a loop over the cell's equations. ONNX orders
gates differently from PyTorch: i, o, f, g in an LSTM and z, r, n in a GRU.

Dimensions: T time, B batch, I input of a layer, H hidden, R rows, C columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from char_rnn.cells import EPSILON, GRU, LSTM, RNN, Loop, Value, evaluate, is_constant
from char_rnn.generation.network import Array, Layer, Network, Norm

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto, TensorProto, ValueInfoProto

OPERATORS = {
    LSTM(): ("LSTM", (0, 3, 1, 2), {}),
    GRU("after"): ("GRU", (1, 0, 2), {"linear_before_reset": 1}),
    GRU("before"): ("GRU", (1, 0, 2), {"linear_before_reset": 0}),
    RNN(): ("RNN", (0,), {}),
}
"""By cell: ONNX's operator, its order of the gates, and its attributes."""


class Nodes:
    """The nodes of a graph, and the constants that it shares with the graphs inside it.

    Methods add nodes. Their results are names of values, and so are their inputs, unless they are constants.

    Attributes:
        nodes: Nodes in topological order.
        constants: Constants of the outermost graph.
    """

    def __init__(self, outer: Nodes | None = None) -> None:
        self.nodes: list[NodeProto] = []
        self._outermost: Nodes = self if outer is None else outer._outermost
        if outer is None:
            self.constants: list[TensorProto] = []
            self._numbers: Iterator[int] = count()
            self._known: dict[int, tuple[npt.ArrayLike, str]] = {}
            self._transposed: dict[str, str] = {}
        else:
            self.constants, self._numbers = outer.constants, outer._numbers
            self._known, self._transposed = outer._known, outer._transposed

    def name(self, of: str) -> str:
        """Return a new name."""
        return f"{of}_{next(self._numbers)}"

    def add(self, kind: str, *inputs: str | npt.ArrayLike, **attributes: Any) -> str:
        """Add a node with one output."""
        return self.add_many(kind, inputs, 1, **attributes)[0]

    def add_many(self, kind: str, inputs: Sequence[str | npt.ArrayLike], outputs: int, **attributes: Any) -> list[str]:
        """Add a node with several outputs."""
        from onnx import helper

        read = [each if isinstance(each, str) else self.constant(each) for each in inputs]
        names = [self.name(kind) for _ in range(outputs)]
        self.nodes.append(helper.make_node(kind, read, names, **attributes))
        return names

    def rename(self, name: str, new: str) -> None:
        """Give a value the name of an output of the graph."""
        from onnx import helper

        self.nodes.append(helper.make_node("Identity", [name], [new]))

    def constant(self, values: npt.ArrayLike) -> str:
        """Add numbers as float32 or int64; the same object is stored once."""
        from onnx import numpy_helper

        if id(values) not in self._known:
            array, name = np.asarray(values), self.name("constant")
            kind = np.float32 if array.dtype.kind == "f" else np.int64
            self.constants.append(numpy_helper.from_array(np.asarray(array, kind, order="C"), name))
            self._known[id(values)] = (values, name)  # keeps the object, so that no other gets its id
        return self._known[id(values)][1]

    def product(self, matrix: Array, vectors: str) -> str:
        """Multiply a matrix (R, C) with vectors (..., C): (..., R). It is transposed once, outside of all loops."""
        name = self.constant(matrix)
        if name not in self._transposed:
            self._transposed[name] = self._outermost.add("Transpose", name, perm=[1, 0])
        return self.add("MatMul", vectors, self._transposed[name])

    def scaled(self, vectors: str, gain: Array) -> str:
        """Scale vectors (..., C) to mean 0 and variance 1, times the gain (C,)."""
        return self.add("LayerNormalization", vectors, gain, axis=-1, epsilon=EPSILON)

    def normalized(self, vectors: str, norm: Norm | None) -> str:
        """Normalize vectors (..., C); without a norm they stay."""
        return vectors if norm is None else self.add("Add", self.scaled(vectors, norm.gain), norm.bias)

    def repeated(self, value: str, width: int, like: str | None) -> str:
        """Repeat a number or a vector (width,) for each vector of `like`; ``None`` for one vector."""
        if like is None:
            return self.add("Expand", value, [width])
        return self.add("Expand", value, self.add("Concat", self.add("Shape", like, end=-1), [width], axis=0))


def recur(nodes: Nodes, network: Network, layer: Layer, read: str, state: list[str]) -> tuple[str, list[str]]:
    """Run a recurrent layer over its input, (T, B, I), from the parts of its state, (1, B, H) each.

    Returns its output, (T, B, H), and the parts of its state after the last step.
    """
    plain = layer.parameters.keys() == network.cell.shapes(1, 1).keys() and network.update == 1
    if plain and network.cell in OPERATORS:
        return _operator(nodes, network, layer, read, state)
    return _loop(nodes, layer, read, state)


def _operator(nodes: Nodes, network: Network, layer: Layer, read: str, state: list[str]) -> tuple[str, list[str]]:
    kind, order, attributes = OPERATORS[network.cell]

    def ordered(name: str) -> Array:
        gates = np.split(layer.parameters[name], len(order))
        return np.concatenate([gates[gate] for gate in order])[None]

    bias = np.concatenate([ordered("bias_ih"), ordered("bias_hh")], axis=1)
    inputs: list[str | Array] = [read, ordered("weight_ih"), ordered("weight_hh"), bias, "", *state]
    output, *after = nodes.add_many(kind, inputs, 1 + len(state), hidden_size=network.hidden_size, **attributes)
    return nodes.add("Squeeze", output, [1]), after


def _loop(nodes: Nodes, layer: Layer, read: str, state: list[str]) -> tuple[str, list[str]]:
    """Run the steps one by one, after all operations that do not depend on the state."""
    loop, first = layer.step.loop, [0]
    given: dict[Value, str] = {}
    evaluate(loop.before, given, {**_operations(nodes, layer), "x": lambda _: read})
    body = _body(nodes, layer, loop, {value: given[value] for value in loop.constants})
    inputs = [*(nodes.add("Squeeze", part, first) for part in state), *(given[value] for value in loop.sequences)]
    *after, output = nodes.add_many("Scan", inputs, len(state) + 1, body=body, num_scan_inputs=len(loop.sequences))
    return output, [nodes.add("Unsqueeze", part, first) for part in after]


def _body(nodes: Nodes, layer: Layer, loop: Loop, constants: dict[Value, str]) -> GraphProto:
    """Return the graph of a step: from state and sequences to the next state, and its first part as the output."""
    from onnx import TensorProto, helper

    def described(name: str, value: Value) -> ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", value.width])

    step = Nodes(nodes)
    given = {value: step.name(value.op) for value in (*loop.states, *loop.sequences)}
    results = {**constants, **given}
    evaluate(loop.values, results, _operations(step, layer))
    outputs = [step.add("Identity", results[value]) for value in (*loop.after, loop.after[0])]
    return helper.make_graph(
        step.nodes,
        step.name("step"),
        [described(name, value) for value, name in given.items()],
        [described(name, loop.after[0]) for name in outputs],
    )


def _operations(nodes: Nodes, layer: Layer) -> dict[str, Callable[..., str]]:
    """Return the operations of :mod:`char_rnn.cells.language` as nodes, on values (..., width)."""

    def node(kind: str) -> Callable[..., str]:
        return lambda _, *inputs: nodes.add(kind, *inputs)

    def product(value: Value, read: str) -> str:
        return nodes.product(layer.parameters[value.name][value.start : value.start + value.width], read)

    def cut(value: Value, whole: str) -> str:
        return nodes.add("Slice", whole, [value.start], [value.start + value.width], [-1])

    def joined(value: Value, *parts: str) -> str:
        pairs = list(zip(parts, value.inputs, strict=True))
        like = next((part for part, each in pairs if not is_constant(each)), None)
        full = (nodes.repeated(part, each.width, like) if is_constant(each) else part for part, each in pairs)
        return nodes.add("Concat", *full, axis=-1)

    return {
        **{op: node(op.capitalize()) for op in ("add", "sigmoid", "tanh", "relu", "softplus")},
        "subtract": node("Sub"),
        "multiply": node("Mul"),
        "vector": lambda value: nodes.constant(layer.parameters[value.name]),
        "number": lambda value: nodes.constant(np.float32(value.number)),
        "product": product,
        "slice": cut,
        "join": joined,
        "normalize": lambda value, rows: nodes.scaled(rows, np.ones(value.width, np.float32)),
    }
