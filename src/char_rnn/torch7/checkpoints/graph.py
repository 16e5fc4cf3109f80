"""The graph of a char-rnn checkpoint: which cell it is, and its ``nn.Linear`` modules in the order they run.

An ``nn.gModule`` keeps its nodes in forward topological order. A node has ``data.module`` (none where a table is only
taken apart) and ``children``, the nodes that take its output. What a Linear is for does not stand in the file; it
follows from its neighbours:

* its input is the state of the last step if that comes straight from an ``nn.Identity`` (one of the graph's inputs),
  or, in a GRU, from a product (reset gate times state); else it is the input from below;
* its sum with its partner goes through tanh in a GRU's candidate, and through a sigmoid in the two gates, of which the
  update gate is the one that is also turned into 1 - z.

This must agree, Linear by Linear, with :func:`char_rnn.torch7.layout.linears`: another order or another graph (a
variant of the program with residual connections, say) is refused, as its numbers would be put in wrong places.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from char_rnn.torch7.checkpoints.fields import CheckpointFormatError, module, table
from char_rnn.torch7.t7.values import Table, TorchObject

# How often each module occurs in a layer, besides the Linears, the Dropout, and what only passes on or cuts up.
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
_LINEARS = {"lstm": 2, "gru": 6, "rnn": 2}
_PASSING = {"nn.Identity", "OneHot", "nn.Reshape", "nn.View", "nn.SplitTable", "nn.Narrow", "nn.Dropout"}
_WHERE = "protos.rnn"


@dataclass(eq=False)
class Node:
    """A step of the graph: its module (None where there is none), what feeds it, and what it feeds."""

    module: TorchObject | None
    parents: list[Node] = field(default_factory=list)
    children: list[Node] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The module's class, or nothing."""
        return self.module.class_name if self.module is not None else ""


@dataclass(frozen=True)
class Graph:
    """What a checkpoint's graph is.

    Attributes:
        cell: "lstm", "gru" or "rnn".
        num_layers: L.
        linears: the ``nn.Linear`` modules in the order of the flat vector.
        dropouts: the ``nn.Dropout`` modules; one a layer, or none.
    """

    cell: str
    num_layers: int
    linears: list[TorchObject]
    dropouts: list[TorchObject]


def read_graph(network: TorchObject) -> Graph:
    """Understand an ``nn.gModule``.

    Raises:
        CheckpointFormatError: it is no graph of char-rnn; the message names the first thing that is not as there.
    """
    nodes = _nodes(table(network, "forwardnodes", _WHERE))
    counts = Counter(node.name for node in nodes if node.name)
    cell, num_layers = _architecture(counts)
    linears = [node for node in nodes if node.name == "nn.Linear"]
    for place, node in enumerate(linears[:-1]):
        _check_role(cell, place, node)
    return Graph(
        cell,
        num_layers,
        [module(node.module, _WHERE) for node in linears],
        [module(node.module, _WHERE) for node in nodes if node.name == "nn.Dropout"],
    )


def _nodes(listed: Table) -> list[Node]:
    """Return the nodes in forward order, linked.

    Raises:
        CheckpointFormatError: something is no node, or occurs twice: a small file could describe no end of links.
    """
    records = [module(record, f"{_WHERE}.forwardnodes[{place}]") for place, record in enumerate(listed.array(), 1)]
    nodes = []
    for place, record in enumerate(records, 1):
        held = table(record, "data", f"{_WHERE}.forwardnodes[{place}]").get("module")
        nodes.append(Node(None if held is None else module(held, f"{_WHERE}.forwardnodes[{place}].data.module")))
    by_record = {id(record): node for record, node in zip(records, nodes, strict=True)}
    lists = [table(record, "children", f"{_WHERE}.forwardnodes") for record in records]
    if not len(by_record) == len(set(map(id, lists))) == len(records):
        raise CheckpointFormatError(f"{_WHERE}.forwardnodes has a node twice, or a list of children that is two nodes'")
    for listed_children, node in zip(lists, nodes, strict=True):
        for child in dict.fromkeys(map(id, listed_children.array())):
            if child in by_record:
                node.children.append(by_record[child])
                by_record[child].parents.append(node)
    return nodes


def _architecture(counts: Counter[str]) -> tuple[str, int]:
    """Return cell and number of layers from how often each module occurs.

    Raises:
        CheckpointFormatError: no cell's numbers.
    """
    cell = "rnn" if not counts["nn.Sigmoid"] else "gru" if counts["nn.MulConstant"] else "lstm"
    num_layers = counts["nn.Tanh"] // _LAYERS[cell]["nn.Tanh"]
    expected = {name: number * num_layers for name, number in _LAYERS[cell].items()}
    expected |= {"nn.Linear": _LINEARS[cell] * num_layers + 1, "nn.LogSoftMax": 1}
    for name in counts:
        if name not in expected and name not in _PASSING:
            raise CheckpointFormatError(f"{_WHERE} has a module {name[:60]!r}, which no model of char-rnn has")
    if num_layers == 0:
        raise CheckpointFormatError(f"{_WHERE} has no recurrent layers")
    for name, number in expected.items():
        if counts[name] != number:
            raise CheckpointFormatError(
                f"{_WHERE} has {counts[name]} x {name}, where a {num_layers}-layer {cell} has {number}; "
                "only the lstm, gru and rnn of char-rnn are converted"
            )
    if counts["nn.Dropout"] not in (0, num_layers):
        raise CheckpointFormatError(f"{_WHERE} has {counts['nn.Dropout']} x nn.Dropout for {num_layers} layers")
    return cell, num_layers


_ROLES = {
    "lstm": ("i2h", "h2h"),
    "gru": ("update i2h", "update h2h", "candidate i2h", "reset i2h", "reset h2h", "candidate h2h"),
    "rnn": ("i2h", "h2h"),
}


def _check_role(cell: str, place: int, node: Node) -> None:
    """Check what the Linear at a place (from 0) is for."""
    expected = _ROLES[cell][place % len(_ROLES[cell])]
    gate = f"{_gate(node)} " if cell == "gru" else ""
    role = f"{gate}{'h2h' if _reads_state(cell, node) else 'i2h'}"
    if role != expected:
        raise CheckpointFormatError(
            f"{_WHERE}: nn.Linear number {place + 1} is used as {role}, where the {cell} of char-rnn has {expected}"
        )


def _reads_state(cell: str, node: Node) -> bool:
    sources = {parent.name for parent in node.parents}
    return sources == {"nn.Identity"} or (cell == "gru" and sources == {"nn.CMulTable"})


def _gate(node: Node) -> str:
    gates = {gate for total in node.children for gate in total.children}
    if {gate.name for gate in gates} == {"nn.Tanh"}:
        return "candidate"
    uses = {use.name for gate in gates for use in gate.children}
    return "update" if "nn.MulConstant" in uses else "reset"
