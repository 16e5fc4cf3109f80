"""A model as an ONNX file.

Inputs: ``symbols`` (batch, time), int64, and the state before them in float32: the parts of the cell's state by name,
such as ``h`` and, for an LSTM, ``c``, each (L, batch, H); with attention also ``memory`` (A, batch, W, H), latest last;
with matches also ``history`` (1, batch, W), ids + 1, latest last. All are zeros at the beginning of a text. Outputs:
``log_probs`` (batch, time, V) in nats, and the state after the symbols as ``h_out`` and so on. Batch and time can be
any size from 1. Metadata: ``config``, ``vocabulary`` and ``training`` in JSON, as in a model file
(:mod:`char_rnn.model_file`).

Dimensions: B batch, T time, V vocabulary, L layers, H hidden, A attending layers, W window, N heads, D = H / N.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from char_rnn.export.onnx_graph import Nodes, recur
from char_rnn.generation.network import Attention, FeedForwardWeights, Matches, Network
from char_rnn.model_file import ModelFile
from char_rnn.models.parameters import check_finite
from char_rnn.utils.files import replacing

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, ValueInfoProto

OPSET, IR_VERSION = 17, 8  # of 2022: the first with LayerNormalization
_FLOAT, _INT64 = 1, 7  # types of Cast
LARGEST = 2**31 - 2**20  # bytes; a protocol buffer holds at most 2 GB


class OnnxMissingError(RuntimeError):
    """The package `onnx` is not installed; the message says how to install it."""


def write_onnx(file: ModelFile, path: str | Path) -> None:
    """Write a model as ONNX in one step.

    Raises:
        OnnxMissingError: The package `onnx` is missing.
        ValueError: The tensors do not match the configuration, are not finite, or are too large for the format.
        OSError: The file cannot be written.
    """
    model = onnx_model(file)
    with replacing(path) as temporary:
        temporary.write_bytes(model.SerializeToString())


def onnx_model(file: ModelFile) -> ModelProto:
    """Return a model as ONNX, checked by `onnx.checker`.

    Raises:
        OnnxMissingError: The package `onnx` is missing.
        ValueError: The tensors do not match the configuration, are not finite, or are too large for the format.
    """
    try:
        from onnx import checker, helper
    except ImportError:
        raise OnnxMissingError("--format onnx needs onnx: pip install 'char-rnn-pytorch[onnx]'") from None
    check_finite(file.tensors, np.float32)
    network = Network.of(file.config.model, file.tensors, np.float32)
    size = 4 * sum(tensor.size for tensor in file.tensors.values())
    if size > LARGEST:
        raise ValueError(f"an ONNX file holds at most 2 GB of weights; this model has {size / 1e9:.1f} GB")
    model = helper.make_model(
        _graph(network), opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="char-rnn"
    )
    file = file.without_paths()
    described = {"config": file.config.model_dump(mode="json"), "vocabulary": file.vocabulary.to_dict()}
    described["training"] = dict(file.training)
    helper.set_model_props(model, {name: json.dumps(value) for name, value in described.items()})
    checker.check_model(model, full_check=True)
    return model


def _graph(network: Network) -> GraphProto:
    from onnx import TensorProto, helper

    nodes = Nodes()
    layers = len(network.layers)
    ids = nodes.add("Transpose", "symbols", perm=[1, 0])
    names = network.cell.state
    split = [[name] if layers == 1 else nodes.add_many("Split", [name], layers, axis=0) for name in names]
    after: list[list[str]] = []
    memories: list[str] = []
    x = _vectors(nodes, network, ids)
    histories: list[str] = []
    if network.matches is not None:
        found, history = _match(nodes, network.matches)
        x = nodes.add("Add", x, found)
        histories.append(history)
    for number, layer in enumerate(network.layers):
        read = nodes.normalized(x, layer.norm)
        output, state = recur(nodes, network, layer, read, [parts[number] for parts in split])
        after.append(state)
        x = nodes.add("Add", x, output) if layer.residual else output
        if layer.attention is not None:
            memory = nodes.add("Gather", "memory", np.int64(len(memories)), axis=0)
            found, memory = _attend(nodes, layer.attention, x, memory)
            memories.append(nodes.add("Unsqueeze", memory, [0]))
            x = nodes.add("Add", x, found)
        if layer.feed_forward is not None:
            x = nodes.add("Add", x, _feed_forward(nodes, layer.feed_forward, x))
    scores = nodes.product(network.output_weight, nodes.normalized(x, network.output_norm))
    log_probs = nodes.add("LogSoftmax", nodes.add("Add", scores, network.output_bias), axis=-1)
    nodes.rename(nodes.add("Transpose", log_probs, perm=[1, 0, 2]), "log_probs")
    parts = {name: [state[place] for state in after] for place, name in enumerate(names)}
    parts |= {name: values for name, values in (("memory", memories), ("history", histories)) if values}
    for name, values in parts.items():
        nodes.rename(nodes.add("Concat", *values, axis=0), f"{name}_out")
    states = _states(network, tuple(parts))
    given = helper.make_tensor_value_info("symbols", TensorProto.INT64, ["batch", "time"])
    made = helper.make_tensor_value_info("log_probs", TensorProto.FLOAT, ["batch", "time", network.vocab_size])
    return helper.make_graph(
        nodes.nodes,
        "char_rnn",
        [given, *(info for info, _ in states)],
        [made, *(info for _, info in states)],
        nodes.constants,
    )


def _states(network: Network, names: tuple[str, ...]) -> list[tuple[ValueInfoProto, ValueInfoProto]]:
    """Return the parts of the state as inputs and as outputs."""
    from onnx import TensorProto, helper

    windows = [layer.attention.window for layer in network.layers if layer.attention is not None]
    recurrent: list[str | int] = [len(network.layers), "batch", network.hidden_size]
    shapes = dict.fromkeys(network.cell.state, recurrent)
    if windows:
        shapes["memory"] = [len(windows), "batch", windows[0], network.hidden_size]
    if network.matches is not None:
        shapes["history"] = [1, "batch", network.matches.window]

    def described(name: str, shape: list[str | int]) -> ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    return [(described(name, shapes[name]), described(f"{name}_out", shapes[name])) for name in names]


def _vectors(nodes: Nodes, network: Network, ids: str) -> str:
    """Return the input of the lowest layer for symbols (T, B): (T, B, I)."""
    if network.embedding is not None:
        return nodes.add("Gather", network.embedding, ids, axis=0)
    values = np.array([0, 1], np.float32)
    return nodes.add("OneHot", ids, np.int64(network.vocab_size), values, axis=-1)


def _match(nodes: Nodes, matches: Matches) -> tuple[str, str]:
    """Return the sum of the vectors of the matches, (T, B, I), and the history after the symbols, (1, B, W).

    Every step is compared with all places before it, as :func:`char_rnn.ops.matching.find_matches_reference` describes.
    """
    zero, one, first = np.int64(0), np.int64(1), [0]
    before = nodes.add("Cast", nodes.add("Squeeze", "history", first), to=_INT64)
    text = nodes.add("Concat", before, nodes.add("Add", "symbols", one), axis=1)  # (B, W + T)
    count = nodes.add("Squeeze", nodes.add("Shape", text, start=1, end=2), first)
    places = nodes.add("Range", zero, count, one)
    steps = nodes.add("Unsqueeze", _from(nodes, places, matches.window, axis=0), [1])
    vectors = []
    for table, length in zip(matches.tables, matches.lengths, strict=True):
        oldest = nodes.add("Sub", steps, np.int64(matches.window - length + 1))
        is_match = nodes.add("And", nodes.add("GreaterOrEqual", places, oldest), nodes.add("Less", places, steps))
        for back in range(length):
            past = nodes.add("Pad", text, [0, back, 0, -back])  # the symbols `back` places earlier
            present = nodes.add("Unsqueeze", _from(nodes, past, matches.window, axis=1), [2])
            same = nodes.add("Equal", present, nodes.add("Unsqueeze", past, [1]))
            is_match = nodes.add("And", nodes.add("And", is_match, same), nodes.add("Greater", present, zero))
        latest = nodes.add("ReduceMax", nodes.add("Where", is_match, places, np.int64(-1)), axes=[2], keepdims=0)
        followed = nodes.add("GatherElements", text, nodes.add("Add", latest, one), axis=1)  # (B, T)
        followed = nodes.add("Where", nodes.add("Less", latest, zero), zero, followed)
        vectors.append(nodes.add("Gather", table, nodes.add("Transpose", followed, perm=[1, 0]), axis=0))
    history = nodes.add("Cast", _from(nodes, text, -matches.window, axis=1), to=_FLOAT)
    return nodes.add("Sum", *vectors), nodes.add("Unsqueeze", history, first)


def _from(nodes: Nodes, values: str, start: int, axis: int) -> str:
    """Return the values from index `start` on, along an axis."""
    return nodes.add("Slice", values, [start], [np.iinfo(np.int64).max], [axis])


def _attend(nodes: Nodes, attention: Attention, x: str, memory: str) -> tuple[str, str]:
    """Return the attention of states (T, B, H) to themselves and the memory (B, W, H), and the memory after them.

    Keys and values are not computed, as in :func:`char_rnn.ops.attention.attend`.
    """
    heads, size = attention.heads, len(attention.query) // attention.heads
    key, value = (part.reshape(heads, size, -1) for part in (attention.key, attention.value))
    present = nodes.add("Transpose", nodes.normalized(x, attention.norm), perm=[1, 0, 2])
    states = nodes.add("Concat", memory, present, axis=1)  # (B, W + T, H)
    asked = nodes.add("Reshape", nodes.product(attention.query, present), [0, 0, heads, size])
    asked = nodes.add("MatMul", nodes.add("Transpose", asked, perm=[0, 2, 1, 3]), key)  # (B, N, T, H)
    shared = nodes.add("Unsqueeze", states, [1])
    scores = nodes.add("MatMul", asked, nodes.add("Transpose", shared, perm=[0, 1, 3, 2]))  # (B, N, T, W + T)
    scores = nodes.add("Div", scores, np.float32(math.sqrt(size)))
    seen = nodes.add("Where", _band(nodes, attention.window), scores, np.float32(-np.inf))
    mean = nodes.add("MatMul", nodes.add("Softmax", seen, axis=-1), shared)
    found = nodes.add("MatMul", mean, nodes.add("Transpose", value, perm=[0, 2, 1]))  # (B, N, T, D)
    found = nodes.add("Reshape", nodes.add("Transpose", found, perm=[2, 0, 1, 3]), [0, 0, heads * size])
    return nodes.product(attention.output, found), _from(nodes, states, -attention.window, axis=1)


def _band(nodes: Nodes, window: int) -> str:
    """Return which of W + T states each of T steps sees, (T, W + T): its own and the W before it."""
    zero, one, past = (np.int64(number) for number in (0, 1, window))
    time = nodes.add("Squeeze", nodes.add("Shape", "symbols", start=1, end=2), [0])
    steps = nodes.add("Unsqueeze", nodes.add("Range", zero, time, one), [1])
    states = nodes.add("Range", zero, nodes.add("Add", time, past), one)
    not_after = nodes.add("LessOrEqual", states, nodes.add("Add", steps, past))
    return nodes.add("And", nodes.add("GreaterOrEqual", states, steps), not_after)


def _feed_forward(nodes: Nodes, sublayer: FeedForwardWeights, x: str) -> str:
    """Return the sublayer's addition to x."""
    wide = nodes.add("Add", nodes.product(sublayer.widen, nodes.normalized(x, sublayer.norm)), sublayer.widen_bias)
    erf = nodes.add("Erf", nodes.add("Mul", wide, np.float32(math.sqrt(0.5))))
    half = nodes.add("Mul", nodes.add("Add", erf, np.float32(1)), np.float32(0.5))
    return nodes.add("Add", nodes.product(sublayer.narrow, nodes.add("Mul", wide, half)), sublayer.narrow_bias)
