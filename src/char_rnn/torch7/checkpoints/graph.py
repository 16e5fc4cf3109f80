"""The graph of a char-rnn checkpoint: its cell, and its ``nn.Linear`` modules in the order in which they run.

An ``nn.gModule`` keeps its nodes in forward topological order. A node has ``data.module`` (none if it only splits a
table) and ``children``, the nodes that take its output. The file does not say what a Linear is for; it follows from its
neighbours:

* Its input is the state of the last step if that comes directly from an ``nn.Identity`` (one of the graph's inputs)
  or, in a GRU, from a product (reset gate times state); otherwise it is the input from the layer below.
* Its sum with its partner goes through tanh in a GRU's candidate, and through a sigmoid in the two gates; the update
  gate is the one that is also turned into 1 - z.

The roles must agree, Linear by Linear, with :func:`char_rnn.torch7.layout.linears`. Another order or another graph (a
variant of the program with residual connections, say) is refused, because its numbers would go to the wrong places.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from char_rnn.torch7.checkpoints.fields import CheckpointFormatError, module, table
from char_rnn.torch7.layout import linears
from char_rnn.torch7.t7.values import Table, TorchObject

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
