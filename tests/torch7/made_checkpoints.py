"""Checkpoints as the 2015 programs saved them, made of given numbers: what a reader would give for their files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from char_rnn.torch7 import layout
from char_rnn.torch7.t7.values import Table, TorchObject

OPTIONS: dict[str, Any] = {
    "batch_size": 4.0,
    "checkpoint_dir": b"cv",
    "data_dir": b"data/garden",
    "decay_rate": 0.9,
    "dropout": 0.75,
    "eval_val_every": 20.0,
    "grad_clip": 3.0,
    "init_from": b"",
    "learning_rate": 0.01,
    "learning_rate_decay": 0.5,
    "learning_rate_decay_after": 2.0,
    "max_epochs": 7.0,
    "model": b"lstm",
    "opencl": 0.0,
    "print_every": 10.0,
    "rnn_size": 128.0,
    "savefile": b"roses",
    "seed": -1.0,
    "seq_length": 9.0,
    "train_frac": 0.8,
    "val_frac": 0.1,
}


def record(**entries: Any) -> Table:
    """A table with string keys."""
    return Table.of({name.encode(): value for name, value in entries.items()})


def made(class_name: str, **entries: Any) -> TorchObject:
    """A torch object."""
    return TorchObject(class_name, 1, record(**entries))


def options(**changed: Any) -> Table:
    """The options of a run."""
    return record(**{**OPTIONS, **changed})


class Steps:
    """A graph, built forwards: each step is a module and the steps that feed it."""

    def __init__(self) -> None:
        self._steps: list[tuple[TorchObject | None, tuple[int, ...]]] = []

    def add(self, class_name: str | None, *inputs: int, **entries: Any) -> int:
        """Add a module (None for a node that only takes a table apart), and return its number."""
        self._steps.append((None if class_name is None else made(class_name, **entries), inputs))
        return len(self._steps) - 1

    def network(self) -> TorchObject:
        """The graph as an nn.gModule."""
        nodes: dict[int, TorchObject] = {}
        for place in reversed(range(len(self._steps))):
            children = [nodes[later] for later in sorted(nodes) if place in self._steps[later][1]]
            data = record() if self._steps[place][0] is None else record(module=self._steps[place][0])
            nodes[place] = made("nngraph.Node", data=data, children=Table.of(children))
        return made("nn.gModule", forwardnodes=Table.of([nodes[place] for place in sorted(nodes)]))


def network(cell: str, sizes: tuple[int, int, int], flat: np.ndarray, dropout: dict[str, Any] | None = None) -> Steps:
    """The graph of a char-rnn model with sizes V, H, L and a flat vector of parameters (P,)."""
    parts = iter(layout.split(layout.linears(cell, *sizes), flat))

    def linear(source: int) -> int:
        _, weight, bias = next(parts)
        return steps.add("nn.Linear", source, weight=weight, bias=bias)

    steps = Steps()
    top = steps.add("OneHot", steps.add("nn.Identity"))
    for _ in range(sizes[2]):
        states = [steps.add("nn.Identity", steps.add(None)) for _ in range(2 if cell == "lstm" else 1)]
        top = {"lstm": _lstm, "gru": _gru, "rnn": _rnn}[cell](steps, linear, top, states)
        if dropout is not None:
            top = steps.add("nn.Dropout", top, **dropout)
    steps.add("nn.LogSoftMax", linear(top))
    return steps


def _lstm(steps: Steps, linear: Any, x: int, states: list[int]) -> int:
    total = steps.add("nn.CAddTable", linear(x), linear(states[1]))
    parts = steps.add("nn.SplitTable", steps.add("nn.Reshape", total))
    i, f, o = (steps.add("nn.Sigmoid", steps.add(None, parts)) for _ in range(3))
    g = steps.add("nn.Tanh", steps.add(None, parts))
    kept, new = steps.add("nn.CMulTable", f, states[0]), steps.add("nn.CMulTable", i, g)
    return steps.add("nn.CMulTable", o, steps.add("nn.Tanh", steps.add("nn.CAddTable", kept, new)))


def _gru(steps: Steps, linear: Any, x: int, states: list[int]) -> int:
    z = steps.add("nn.Sigmoid", steps.add("nn.CAddTable", linear(x), linear(states[0])))
    candidate = linear(x)
    r = steps.add("nn.Sigmoid", steps.add("nn.CAddTable", linear(x), linear(states[0])))
    product = linear(steps.add("nn.CMulTable", r, states[0]))
    n = steps.add("nn.Tanh", steps.add("nn.CAddTable", candidate, product))
    old = steps.add("nn.CMulTable", steps.add("nn.AddConstant", steps.add("nn.MulConstant", z)), states[0])
    return steps.add("nn.CAddTable", steps.add("nn.CMulTable", z, n), old)


def _rnn(steps: Steps, linear: Any, x: int, states: list[int]) -> int:
    return steps.add("nn.Tanh", steps.add("nn.CAddTable", linear(x), linear(states[0])))


def flat_vector(cell: str, sizes: tuple[int, int, int], dtype: str = "float64") -> np.ndarray:
    """Parameters (P,) of a char-rnn model, drawn by a fixed seed."""
    needed = sum(linear.size for linear in layout.linears(cell, *sizes))
    return np.random.default_rng(7).uniform(-0.8, 0.8, needed).astype(dtype)


def checkpoint(net: TorchObject, symbols: Iterable[bytes], **changed: Any) -> Table:
    """A checkpoint of char-rnn; `changed` replaces its entries, None takes one away."""
    entries: dict[str, Any] = {
        "protos": record(rnn=net, criterion=made("nn.ClassNLLCriterion")),
        "opt": options(),
        "vocab": Table.of({symbol: float(index) for index, symbol in enumerate(symbols, 1)}),
        "train_losses": Table.of([3.5, float("nan"), 3.25]),
        "val_losses": Table.of({20.0: 3.0, 10.0: 2.5, 30.0: float("nan"), 40.0: 2.75}),
        "val_loss": 2.75,
        "i": 40.0,
        "epoch": 1.25,
    }
    return record(**{**entries, **changed})


def simple_checkpoint(cell: str = "lstm", text: bytes = b"rose s", **changed: Any) -> Table:
    """A checkpoint of a model of 3 units in 2 layers."""
    symbols = [bytes([symbol]) for symbol in sorted(set(text))]
    sizes = (len(symbols), 3, 2)
    return checkpoint(network(cell, sizes, flat_vector(cell, sizes)).network(), symbols, **changed)


def language_model(modules: Iterable[TorchObject], tokens: Mapping[int, bytes] | list[bytes], **changed: Any) -> Table:
    """A checkpoint of torch-rnn."""
    net = made("nn.Sequential", modules=Table.of(list(modules)))
    named = tokens if isinstance(tokens, Mapping) else dict(enumerate(tokens, 1))
    idx_to_token = Table.of({float(index): token for index, token in named.items()})
    entries: dict[str, Any] = {
        "model": made("nn.LanguageModel", net=net, idx_to_token=idx_to_token),
        "opt": record(learning_rate=0.001, input_h5=b"data/garden.h5", checkpoint_every=0.0, batch_size=16.0),
        "train_loss_history": Table.of([3.5, float("inf")]),
        "val_loss_history": Table.of([3.25, 3.0]),
        "val_loss_history_it": Table.of([50.0, 100.0]),
        "i": 100.0,
    }
    return record(**{**entries, **changed})
