"""Configurations of models that whatever computes one is tried on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from char_rnn.cells import Cell, Value, concatenate, normalize, relu, sigmoid, split, tanh


class Own(Cell):
    """A cell that is none of char-rnn's, with every operation of the language."""

    name = "own"
    gates = 3
    state = ("h", "m", "n")
    vectors: ClassVar = {"share": 2}
    normalization: ClassVar = {"gain": 2}

    def step(self, x: Value, state: Sequence[Value], p: Any) -> Sequence[Value]:
        h, m, n = state
        weight_ab, weight_r = split(p.weight_hh, 2, 1)
        ab, r = split(p.weight_ih @ x + (p.bias_ih + p.bias_hh), 2, 1)
        share_a, share_b = split(p.share, 1, 1)
        a, b = split(sigmoid(normalize(ab + weight_ab @ (h - 0.5 * n), p.gain)), 1, 1)
        r = relu(r - weight_r @ (a * m))
        mixed, rest = split(concatenate(a, share_b, b) * concatenate(m, h, share_a), 2, 1)
        first, second = split(mixed, 1, 1)
        return tanh(first + r - second), (1.0 - b) * m + b * first, -rest + 0.5 * n


OWN: list[dict[str, Any]] = [
    {"type": "own"},
    {"type": "own", "layer_norm": "cell", "zoneout": 0.2, "embedding": "one-hot"},
    {"type": "own", "layer_norm": "between", "residual": True, "embedding_size": 6, "attention": "top"},
]
CELLS: list[dict[str, Any]] = [
    {"type": "lstm"},
    {"type": "gru"},
    {"type": "gru", "reset": "before"},
    {"type": "rnn"},
    {"type": "mingru"},
    {"type": "minlstm"},
    {"type": "slstm"},
]
INPUTS: list[dict[str, Any]] = [{"embedding": "one-hot"}, {}, {"embedding_size": 4}]
OPTIONS: list[dict[str, Any]] = [
    {"tie_weights": True},
    {"zoneout": 0.1},
    {"layer_norm": "between"},
    {"layer_norm": "cell"},
    {"residual": True, "embedding_size": 6},
    {"feed_forward_size": 10},
    {"attention": "top", "attention_window": 5},
    {"attention": "all", "attention_heads": 2, "attention_window": 4},
    {
        "layer_norm": "between",
        "residual": True,
        "attention": "all",
        "attention_window": 3,
        "match_lengths": [3],
        "feed_forward_size": 7,
        "tie_weights": True,
    },
    {"layer_norm": "cell", "zoneout": 0.2, "embedding": "one-hot"},
    {"match_lengths": [2, 1], "match_window": 7, "match_dropout": 0.2},
]


def covering() -> list[dict[str, Any]]:
    """Every cell with each option that changes its step, and every other option with two of the cells."""
    inner = [options for options in OPTIONS if "zoneout" in options or options.get("layer_norm") == "cell"]
    outer = [options for options in (*INPUTS, *OPTIONS) if options and options not in inner]
    return [
        *({**cell, **options} for cell in CELLS for options in ({}, *inner)),
        *({**CELLS[(place + turn) % len(CELLS)], **options} for place, options in enumerate(outer) for turn in (0, 3)),
    ]
