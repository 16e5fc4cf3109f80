"""A recurrent layer as ONNX: one of its own operators where that is exactly the cell, else a loop over its equations.

ONNX has the gates in another order than PyTorch: i, o, f, g in an LSTM and z, r, n in a GRU.

Dimensions: T time, B batch, I a layer's input, H hidden, G gates.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from char_rnn.cells import GRU, LSTM, RNN, Loop, Value, evaluate, is_constant
from char_rnn.export.onnx_nodes import Nodes
from char_rnn.generation.network import Array, Layer, Network

if TYPE_CHECKING:
    from onnx import GraphProto, ValueInfoProto

OPERATORS = {
    LSTM(): ("LSTM", (0, 3, 1, 2), {}),
    GRU("after"): ("GRU", (1, 0, 2), {"linear_before_reset": 1}),
    GRU("before"): ("GRU", (1, 0, 2), {"linear_before_reset": 0}),
    RNN(): ("RNN", (0,), {}),
}
"""By cell: ONNX's operator, its order of the gates, and its attributes."""

State = list[str]
"""Names of the parts of the state, each (1, B, H)."""


def recur(nodes: Nodes, network: Network, layer: Layer, read: str, state: State) -> tuple[str, State]:
    """Run a recurrent layer over a text.

    Args:
        nodes: Where its nodes go.
        network: The whole model.
        layer: The layer.
        read: What it reads, (T, B, I).
        state: Before the first step.

    Returns:
        Its output, (T, B, H), and its state after the last step.
    """
    plain = layer.parameters.keys() == network.cell.shapes(1, 1).keys() and network.update == 1
    if plain and network.cell in OPERATORS:
        return _operator(nodes, network, layer, read, state)
    return _loop(nodes, layer, read, state)


def _operator(nodes: Nodes, network: Network, layer: Layer, read: str, state: State) -> tuple[str, State]:
    kind, order, attributes = OPERATORS[network.cell]

    def ordered(name: str) -> Array:
        gates = np.split(layer.parameters[name], len(order))
        return np.concatenate([gates[gate] for gate in order])[None]

    bias = np.concatenate([ordered("bias_ih"), ordered("bias_hh")], axis=1)
    weights = [nodes.constant(array) for array in (ordered("weight_ih"), ordered("weight_hh"), bias)]
    inputs = [read, *weights, "", *state]
    output, *after = nodes.add_many(kind, inputs, 1 + len(state), hidden_size=network.hidden_size, **attributes)
    return nodes.add("Squeeze", output, nodes.constant([1])), after


def _loop(nodes: Nodes, layer: Layer, read: str, state: State) -> tuple[str, State]:
    """Run the steps one by one; what the state has no part in is computed before, for all of them at once."""
    loop, first = layer.step.loop, nodes.constant([0])
    given: dict[Value, str] = {}
    evaluate(loop.before, given, {**_operations(nodes, layer), "x": lambda _: read})
    body = _body(nodes, layer, loop, {value: given[value] for value in loop.constants})
    inputs = [*(nodes.add("Squeeze", part, first) for part in state), *(given[value] for value in loop.sequences)]
    *after, output = nodes.add_many("Scan", inputs, len(state) + 1, body=body, num_scan_inputs=len(loop.sequences))
    return output, [nodes.add("Unsqueeze", part, first) for part in after]


def _body(nodes: Nodes, layer: Layer, loop: Loop, constants: dict[Value, str]) -> GraphProto:
    """The graph of a step: from a state and the sequences to the next state, and its first part as the output."""
    from onnx import TensorProto, helper

    def described(name: str, value: Value) -> ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", value.width])

    step = Nodes(nodes)
    given = {value: step.name(value.op) for value in (*loop.states, *loop.sequences)}
    results = {**constants, **given}
    evaluate(loop.values, results, _operations(step, layer))
    made = [step.add("Identity", results[value]) for value in (*loop.after, loop.after[0])]
    outputs = [described(name, loop.after[0]) for name in made]
    inputs = [described(name, value) for value, name in given.items()]
    return helper.make_graph(step.nodes, step.name("step"), inputs, outputs)


def _operations(nodes: Nodes, layer: Layer) -> dict[str, Callable[..., str]]:
    """Return the operations of :mod:`char_rnn.cells.language` as nodes, on names of values (..., width)."""

    def node(kind: str) -> Callable[..., str]:
        return lambda _, *inputs: nodes.add(kind, *inputs)

    def product(value: Value, read: str) -> str:
        return nodes.product(layer.parameters[value.name][value.start : value.start + value.width], read)

    def cut(value: Value, whole: str) -> str:
        bounds = (nodes.constant([place]) for place in (value.start, value.start + value.width, -1))
        return nodes.add("Slice", whole, *bounds)

    def joined(value: Value, *parts: str) -> str:
        whole = [part for part, each in zip(parts, value.inputs, strict=True) if not is_constant(each)]
        filled = [
            nodes.filled(part, each.width, whole[0] if whole else None) if is_constant(each) else part
            for part, each in zip(parts, value.inputs, strict=True)
        ]
        return nodes.add("Concat", *filled, axis=-1)

    def normalize(value: Value, rows: str) -> str:
        return nodes.scaled(rows, np.ones(value.width, np.float32))

    kinds: dict[str, Any] = {
        **{op: node(op.capitalize()) for op in ("add", "sigmoid", "tanh", "relu")},
        "subtract": node("Sub"),
        "multiply": node("Mul"),
        "vector": lambda value: nodes.constant(layer.parameters[value.name]),
        "number": lambda value: nodes.constant(np.float32(value.number)),
    }
    return {**kinds, "product": product, "slice": cut, "join": joined, "normalize": normalize}
