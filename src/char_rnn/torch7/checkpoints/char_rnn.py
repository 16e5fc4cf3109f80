"""Checkpoints of the 2015 program as model files.

A checkpoint is a table: ``protos`` (``rnn``, the graph, and ``criterion``), ``opt`` (the command line), ``vocab``
(index from 1 by byte), ``train_losses``, ``val_losses`` (by iteration), ``val_loss``, ``i``, ``epoch``. The model's
sizes are those of the graph, not of ``opt``: a run with ``-init_from`` keeps the sizes of another run.
:mod:`char_rnn.torch7.layout` maps the graph's parameters.

The graph is an ``nn.gModule``, which keeps its nodes in forward topological order. A node has ``data.module`` (none if
it only splits a table) and ``children``, the nodes that take its output. The file does not say what an ``nn.Linear`` is
for; it follows from its neighbours:

* Its input is the state of the last step if that comes directly from an ``nn.Identity`` (one of the graph's inputs)
  or, in a GRU, from a product (reset gate times state); otherwise it is the input from the layer below.
* Its sum with its partner goes through tanh in a GRU's candidate, and through a sigmoid in the two gates; the update
  gate is the one that is also turned into 1 - z.

The roles must agree, Linear by Linear, with :func:`char_rnn.torch7.layout.linears`. Another order or another graph (a
variant of the program with residual connections, say) is refused, because its numbers would go to the wrong places.

Dimensions: V vocabulary, H hidden, L layers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from char_rnn.data.vocabulary import Vocabulary
from char_rnn.model_file import ModelFile
from char_rnn.torch7 import FLAGS, FRACTIONS
from char_rnn.torch7.checkpoints.fields import (
    MAX_LOSSES,
    CheckpointFormatError,
    Scalar,
    check_apart,
    floats,
    is_finite,
    losses,
    make_config,
    module,
    probability,
    scalars,
    settings_in,
    table,
    training_metadata,
)
from char_rnn.torch7.layout import Floats, linears, to_tensors
from char_rnn.torch7.t7.values import Table, TorchObject
from char_rnn.utils.config import Config

_OPTIONS = {
    **{name: key for name, key in FLAGS.items() if not key.startswith("model.") and name not in FRACTIONS},
    "seed": "training.seed",
    "data_dir": "data.data_dir",
}


def read_checkpoint(top: Table) -> ModelFile:
    """Convert a checkpoint's table to a model file.

    Raises:
        CheckpointFormatError: It is not a supported checkpoint.
    """
    graph = read_graph(_network(table(top, "protos", "the checkpoint")))
    parameters = _parameters(graph)
    vocab_size, hidden_size = parameters[-1][0].shape
    _check_shapes(graph, vocab_size, hidden_size, parameters)
    vocabulary = _vocabulary(table(top, "vocab", "the checkpoint"), vocab_size)
    dtype = np.result_type(parameters[0][0], np.float32)  # half precision becomes single
    flat = np.concatenate([part.ravel() for pair in parameters for part in pair], dtype=dtype)
    tensors = to_tensors(graph.cell, vocab_size, hidden_size, graph.num_layers, flat)
    options = scalars(top.get("opt"))
    required = {
        "model.type": graph.cell,
        "model.hidden_size": hidden_size,
        "model.num_layers": graph.num_layers,
        "model.dropout": _dropout(graph, tensors),
        "training.precision": flat.dtype.name,
        "training.trainer": "torch7" if vocabulary.kind == "bytes" else "modern",
        "data.vocabulary": vocabulary.kind,
    }
    return ModelFile(_config(required, options), vocabulary, tensors, _metadata(top, options))


def _network(protos: Table) -> TorchObject:
    if "rnn" not in protos and "softmax" in protos:
        raise CheckpointFormatError(
            "written by the first release of char-rnn (May 2015), whose network is different (separate embedding and "
            "softmax); it cannot be converted"
        )
    network = module(protos.get("rnn"), "protos.rnn")
    if network.class_name != "nn.gModule":
        raise CheckpointFormatError(f"protos.rnn is a {network.class_name[:60]}, not the nn.gModule of char-rnn")
    return network


def _parameters(graph: Graph) -> list[tuple[Floats, Floats]]:
    """Return weight and bias of every Linear, all of one element type."""
    pairs = []
    for number, linear in enumerate(graph.linears, 1):
        where = f"protos.rnn: nn.Linear number {number}"
        pairs.append((floats(linear, "weight", where, 2), floats(linear, "bias", where, 1)))
    check_apart(part for pair in pairs for part in pair)
    if len({part.dtype for pair in pairs for part in pair}) > 1:
        raise CheckpointFormatError("protos.rnn mixes precisions; convert it to one of them in Torch7 (:double())")
    return pairs


def _check_shapes(graph: Graph, vocab_size: int, hidden_size: int, pairs: list[tuple[Floats, Floats]]) -> None:
    slots = linears(graph.cell, vocab_size, hidden_size, graph.num_layers)
    for slot, (weight, bias) in zip(slots, pairs, strict=True):
        for name, part, shape in (("weight", weight, slot.shape), ("bias", bias, slot.shape[:1])):
            if part.shape != shape:
                raise CheckpointFormatError(
                    f"protos.rnn: {slot.name} has a {name} of shape {part.shape}, where the {graph.cell} of "
                    f"{hidden_size} units and {vocab_size} symbols has {shape}"
                )


def _vocabulary(vocab: Table, vocab_size: int) -> Vocabulary:
    """Return the vocabulary: bytes, or characters for the variants of the program that read UTF-8."""
    indices = {symbol: index for symbol, index in vocab.items() if isinstance(symbol, bytes) and is_finite(index)}
    if len(indices) != len(vocab) or sorted(indices.values()) != list(range(1, vocab_size + 1)):
        raise CheckpointFormatError(f"vocab does not number {vocab_size} symbols from 1 to {vocab_size}, each once")
    symbols = sorted(indices, key=lambda symbol: indices[symbol])
    if all(len(symbol) == 1 for symbol in symbols):
        return Vocabulary("bytes", [symbol[0] for symbol in symbols])
    try:
        return Vocabulary("characters", [ord(symbol.decode()) for symbol in symbols])
    except (ValueError, TypeError):
        raise CheckpointFormatError("vocab has symbols that are neither bytes nor characters in UTF-8") from None


def _dropout(graph: Graph, tensors: dict[str, Floats]) -> float:
    """Return the graph's dropout probability; 0 without dropout.

    An ``nn.Dropout`` that is not of the second version (``v2``) multiplies by 1 - p in evaluation. That factor is
    folded into the weight of the Linear that follows.
    """
    p = 0.0
    for layer, dropout in enumerate(graph.dropouts, 1):
        p = probability(dropout, "protos.rnn: nn.Dropout")
        if not dropout.get("v2"):
            top = layer == graph.num_layers
            tensors["output_proj.weight" if top else f"{graph.cell}.weight_ih_l{layer}"] *= 1.0 - p
    return p


def _config(required: Mapping[str, Any], options: Mapping[str, Scalar]) -> Config:
    seed, decay = options.get("seed"), options.get("learning_rate_decay")
    if isinstance(seed, int):
        options = {**options, "seed": seed % 2**32}  # as Torch7's generator takes it
    if isinstance(decay, float | int) and decay > 1:
        options = {**options, "learning_rate_decay": 1}  # train.lua ignores it
    fractions = {f"data.{name}": options.get(name) for name in FRACTIONS}
    return make_config("torch7", required, [*settings_in(options, _OPTIONS), fractions])


def _metadata(top: Table, options: Mapping[str, Scalar]) -> dict[str, Any]:
    val_losses, train_losses = _by_iteration(top.get("val_losses")), top.get("train_losses")
    metadata = training_metadata(
        step=top.get("i"), epoch=top.get("epoch"), data=options.get("data_dir"), val_losses=val_losses
    )
    if is_finite(val_loss := top.get("val_loss")):
        metadata["val_loss"] = val_loss
    metadata["torch7"] = {
        "opt": dict(options),
        "train_losses": losses(train_losses.array()[:MAX_LOSSES]) if isinstance(train_losses, Table) else [],
        "val_losses": {str(iteration): loss for iteration, loss in val_losses.items()},
    }
    return metadata


def _by_iteration(val_losses: object) -> dict[int, float | None]:
    if not isinstance(val_losses, Table):
        return {}
    known = sorted((int(key), val_losses[key]) for key in val_losses if is_finite(key) and key.is_integer())
    return dict(zip((key for key, _ in known), losses(value for _, value in known), strict=True))


# Modules of a layer, besides the Linears, the Dropout, and those that only pass on or split their input.
_LAYERS: dict[str, dict[str, int]] = {
    "lstm": {"nn.Sigmoid": 3, "nn.Tanh": 2, "nn.CMulTable": 3, "nn.CAddTable": 2},
    "gru": {
        "nn.Sigmoid": 2,
        "nn.Tanh": 1,
        "nn.CMulTable": 3,
        "nn.CAddTable": 4,
        "nn.MulConstant": 1,
        "nn.AddConstant": 1,
    },
    "rnn": {"nn.Tanh": 1, "nn.CAddTable": 1},
}
_PASSING = {"nn.Identity", "OneHot", "nn.Reshape", "nn.View", "nn.SplitTable", "nn.Narrow", "nn.Dropout"}
_WHERE = "protos.rnn"


@dataclass(eq=False)
class GraphNode:
    """A node of the graph: its module (None if it has none), its inputs, and the nodes that take its output."""

    module: TorchObject | None
    parents: list[GraphNode] = field(default_factory=list)
    children: list[GraphNode] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The module's class, or nothing."""
        return self.module.class_name if self.module is not None else ""


@dataclass(frozen=True)
class Graph:
    """The parts of a checkpoint's graph.

    Attributes:
        cell: "lstm", "gru" or "rnn".
        num_layers: L.
        linears: The ``nn.Linear`` modules in the order of the flat vector.
        dropouts: The ``nn.Dropout`` modules; one per layer, or none.
    """

    cell: str
    num_layers: int
    linears: list[TorchObject]
    dropouts: list[TorchObject]


def read_graph(network: TorchObject) -> Graph:
    """Parse an ``nn.gModule``.

    Raises:
        CheckpointFormatError: It is not a graph of char-rnn; the message names the first difference.
    """
    nodes = _nodes(table(network, "forwardnodes", _WHERE))
    cell, num_layers = _architecture(Counter(node.name for node in nodes if node.name))
    modules = {name: [node for node in nodes if node.name == name] for name in ("nn.Linear", "nn.Dropout")}
    slots = linears(cell, 1, 1, num_layers)
    for number, (node, slot) in enumerate(zip(modules["nn.Linear"][:-1], slots[:-1], strict=True), 1):
        role = _role(cell, node)
        if role != slot.role:
            raise CheckpointFormatError(
                f"{_WHERE}: nn.Linear number {number} is used as {role}, where the {cell} of char-rnn has {slot.role}"
            )
    found = ([module(node.module, _WHERE) for node in listed] for listed in modules.values())
    return Graph(cell, num_layers, *found)


def _nodes(listed: Table) -> list[GraphNode]:
    """Return the nodes in forward order, linked. Repeated nodes are refused: a small file could have endless links."""
    records = [module(record, f"{_WHERE}.forwardnodes[{place}]") for place, record in enumerate(listed.array(), 1)]
    nodes = []
    for place, record in enumerate(records, 1):
        held = table(record, "data", f"{_WHERE}.forwardnodes[{place}]").get("module")
        nodes.append(GraphNode(None if held is None else module(held, f"{_WHERE}.forwardnodes[{place}].data.module")))
    by_record = {id(record): node for record, node in zip(records, nodes, strict=True)}
    lists = [table(record, "children", f"{_WHERE}.forwardnodes") for record in records]
    if not len(by_record) == len(set(map(id, lists))) == len(records):
        raise CheckpointFormatError(f"{_WHERE}.forwardnodes has a node twice, or two nodes share a list of children")
    for listed_children, node in zip(lists, nodes, strict=True):
        for child in dict.fromkeys(map(id, listed_children.array())):
            if child in by_record:
                node.children.append(by_record[child])
                by_record[child].parents.append(node)
    return nodes


def _architecture(counts: Counter[str]) -> tuple[str, int]:
    """Return cell and number of layers, after checking the counts of modules."""
    cell = "rnn" if not counts["nn.Sigmoid"] else "gru" if counts["nn.MulConstant"] else "lstm"
    num_layers = counts["nn.Tanh"] // _LAYERS[cell]["nn.Tanh"]
    expected = {name: number * num_layers for name, number in _LAYERS[cell].items()}
    for name in counts:
        if name not in (*expected, "nn.Linear", "nn.LogSoftMax") and name not in _PASSING:
            raise CheckpointFormatError(f"{_WHERE} has a module {name[:60]!r}, which no model of char-rnn has")
    if num_layers == 0:
        raise CheckpointFormatError(f"{_WHERE} has no recurrent layers")
    expected |= {"nn.Linear": len(linears(cell, 1, 1, num_layers)), "nn.LogSoftMax": 1}
    for name, number in expected.items():
        if counts[name] != number:
            raise CheckpointFormatError(
                f"{_WHERE} has {counts[name]} x {name}, where a {num_layers}-layer {cell} has {number}; "
                "only the lstm, gru and rnn of char-rnn are converted"
            )
    if counts["nn.Dropout"] not in (0, num_layers):
        raise CheckpointFormatError(f"{_WHERE} has {counts['nn.Dropout']} x nn.Dropout for {num_layers} layers")
    return cell, num_layers


def _role(cell: str, node: GraphNode) -> str:
    """Return what a Linear is used for, as the layout names it."""
    sources = {parent.name for parent in node.parents}
    reads_state = sources == {"nn.Identity"} or (cell == "gru" and sources == {"nn.CMulTable"})
    return (f"{_gate(node)} " if cell == "gru" else "") + ("h2h" if reads_state else "i2h")


def _gate(node: GraphNode) -> str:
    gates = {gate for total in node.children for gate in total.children}
    if {gate.name for gate in gates} == {"nn.Tanh"}:
        return "candidate"
    uses = {use.name for gate in gates for use in gate.children}
    return "update" if "nn.MulConstant" in uses else "reset"
