"""A recurrent layer as ONNX: one of its own operators where that is exactly the cell, else a loop over the steps.

ONNX has the gates in another order than PyTorch: i, o, f, g in an LSTM and z, r, n in a GRU.

Dimensions: T time, B batch, I a layer's input, H hidden, G gates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from char_rnn.export.onnx_nodes import Nodes
from char_rnn.generation.network import Array, Layer, Named, Network

if TYPE_CHECKING:
    from onnx import GraphProto, ValueInfoProto

OPERATORS = {"lstm": "LSTM", "gru_after": "GRU", "gru_before": "GRU", "rnn": "RNN"}
ORDERS = {"lstm": (0, 3, 1, 2), "gru_after": (1, 0, 2), "gru_before": (1, 0, 2), "rnn": (0,)}
State = list[str]
"""Names of h and, of an LSTM, c, each (1, B, H)."""


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
    named = Named.of(network.cell, layer)
    if named.gains or named.mogrifier or network.update != 1:
        return _loop(nodes, network, named, read, state)
    return _operator(nodes, network, named, read, state)


def _operator(nodes: Nodes, network: Network, layer: Named, read: str, state: State) -> tuple[str, State]:
    def ordered(rows: Array) -> Array:
        gates = np.split(rows, len(ORDERS[layer.kind]))
        return np.concatenate([gates[gate] for gate in ORDERS[layer.kind]])[None]

    bias = np.concatenate([ordered(layer.bias_ih), ordered(layer.bias_hh)], axis=1)
    weights = [nodes.constant(array) for array in (ordered(layer.weight_ih), ordered(layer.weight_hh), bias)]
    attributes = {"linear_before_reset": int(layer.kind == "gru_after")} if "gru" in layer.kind else {}
    output, *after = nodes.add_many(
        OPERATORS[layer.kind],
        [read, *weights, "", *state],
        1 + len(state),
        hidden_size=network.hidden_size,
        **attributes,
    )
    return nodes.add("Squeeze", output, nodes.constant([1])), after


def _loop(nodes: Nodes, network: Network, layer: Named, read: str, state: State) -> tuple[str, State]:
    """Run the steps one by one; the products with what is read are made before, where the state has no part in it."""
    if not layer.mogrifier:
        read = _of_input(nodes, network, layer, read)
    first = nodes.constant([0])
    before = [nodes.add("Squeeze", part, first) for part in state]
    body = _body(nodes, network, layer, len(state))
    *after, output = nodes.add_many("Scan", [*before, read], len(state) + 1, body=body, num_scan_inputs=1)
    return output, [nodes.add("Unsqueeze", part, first) for part in after]


def _body(nodes: Nodes, network: Network, layer: Named, parts: int) -> GraphProto:
    """The graph of a step: from a state and what is read to the next state, and h once more as the output."""
    from onnx import TensorProto, helper

    def described(name: str, length: int) -> ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", length])

    step = Nodes(nodes)
    state, x = [step.name("state") for _ in range(parts)], step.name("read")
    new = [step.add("Identity", part) for part in _step(step, network, layer, x, state)]
    output = step.add("Identity", new[0])
    given = [described(name, network.hidden_size) for name in state]
    made = [described(name, network.hidden_size) for name in (*new, output)]
    length = layer.weight_ih.shape[1] if layer.mogrifier else len(layer.weight_ih)
    return helper.make_graph(step.nodes, step.name("step"), [*given, described(x, length)], made)


def _of_input(nodes: Nodes, network: Network, layer: Named, read: str) -> str:
    """What the input, already mogrified, adds to the arguments of the gates, as in the engine's reference."""
    gain, both = layer.gains.get("gain_ih"), layer.bias_ih + layer.bias_hh
    rows = nodes.product(layer.weight_ih, read)
    if layer.kind == "rnn":
        return rows if layer.gains else nodes.plus(rows, both)
    if layer.kind == "lstm":
        return nodes.plus(nodes.scaled(rows, gain), both)
    if layer.kind == "gru_after":
        cut = 2 * network.hidden_size
        both = np.concatenate([both[:cut], layer.bias_ih[cut:]])
    return nodes.plus(_by_rz_and_n(nodes, network, rows, gain), both)


def _step(nodes: Nodes, network: Network, layer: Named, x: str, state: State) -> State:
    """A step of the cell: x is what it reads, where there is a mogrifier, else :func:`_of_input` of that."""
    h = state[0]
    if layer.mogrifier:
        for index, matrix in enumerate(layer.mogrifier):
            if index % 2 == 0:
                x = _gated(nodes, matrix, h, x)
            else:
                h = _gated(nodes, matrix, x, h)
        x = _of_input(nodes, network, layer, x)
    if layer.kind == "lstm":
        new = _lstm(nodes, layer, x, h, state[1])
    elif layer.kind == "rnn":
        new = [_rnn(nodes, layer, x, h)]
    else:
        new = [_gru(nodes, network, layer, x, h)]
    return [_updated(nodes, old, made, network.update) for old, made in zip(state, new, strict=True)]


def _gated(nodes: Nodes, matrix: Array, by: str, what: str) -> str:
    gate = nodes.add("Sigmoid", nodes.product(matrix, by))
    return nodes.add("Mul", nodes.add("Mul", gate, nodes.constant(np.float32(2))), what)


def _updated(nodes: Nodes, old: str, new: str, update: float) -> str:
    if update == 1:
        return new
    step = nodes.add("Mul", nodes.add("Sub", new, old), nodes.constant(np.float32(update)))
    return nodes.add("Add", old, step)


def _lstm(nodes: Nodes, layer: Named, x: str, h: str, c: str) -> State:
    of_h = nodes.scaled(nodes.product(layer.weight_hh, h), layer.gains.get("gain_hh"))
    i, f, g, o = nodes.cut(nodes.add("Add", x, of_h), 4, -1)
    kept = nodes.add("Mul", nodes.add("Sigmoid", f), c)
    c = nodes.add("Add", kept, nodes.add("Mul", nodes.add("Sigmoid", i), nodes.add("Tanh", g)))
    shown = nodes.plus(nodes.scaled(c, layer.gains["gain_c"]), layer.gains["bias_c"]) if layer.gains else c
    return [nodes.add("Mul", nodes.add("Sigmoid", o), nodes.add("Tanh", shown)), c]


def _gru(nodes: Nodes, network: Network, layer: Named, x: str, h: str) -> str:
    cut, gain = 2 * network.hidden_size, layer.gains.get("gain_hh")
    gain_rz, gain_n = (None, None) if gain is None else (gain[:cut], gain[cut:])
    x_r, x_z, x_n = nodes.cut(x, 3, -1)
    of_h = nodes.scaled(nodes.product(layer.weight_hh[:cut], h), gain_rz)
    h_r, h_z = nodes.cut(of_h, 2, -1)
    r, z = (nodes.add("Sigmoid", nodes.add("Add", *both)) for both in ((x_r, h_r), (x_z, h_z)))
    if layer.kind == "gru_before":
        of_n = nodes.scaled(nodes.product(layer.weight_hh[cut:], nodes.add("Mul", r, h)), gain_n)
    else:
        of_n = nodes.scaled(nodes.product(layer.weight_hh[cut:], h), gain_n)
        of_n = nodes.add("Mul", r, nodes.plus(of_n, layer.bias_hh[cut:]))
    n = nodes.add("Tanh", nodes.add("Add", x_n, of_n))
    return nodes.add("Add", n, nodes.add("Mul", z, nodes.add("Sub", h, n)))


def _rnn(nodes: Nodes, layer: Named, x: str, h: str) -> str:
    a = nodes.add("Add", x, nodes.product(layer.weight_hh, h))
    if layer.gains:
        a = nodes.plus(nodes.scaled(a, layer.gains["gain"]), layer.bias_ih + layer.bias_hh)
    return nodes.add("Tanh", a)


def _by_rz_and_n(nodes: Nodes, network: Network, rows: str, gain: Array | None) -> str:
    """Normalize r and z together, n alone."""
    if gain is None:
        return rows
    cut = 2 * network.hidden_size
    sizes = nodes.constant([cut, network.hidden_size])
    rz, n = nodes.add_many("Split", [rows, sizes], 2, axis=-1)
    return nodes.add("Concat", nodes.scaled(rz, gain[:cut]), nodes.scaled(n, gain[cut:]), axis=-1)
