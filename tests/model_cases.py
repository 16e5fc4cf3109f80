"""Configurations of models that whatever computes one is tried on."""

from __future__ import annotations

from typing import Any

CELLS: list[dict[str, Any]] = [{"type": "lstm"}, {"type": "gru"}, {"type": "gru", "reset": "before"}, {"type": "rnn"}]
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
        "feed_forward_size": 7,
        "tie_weights": True,
    },
    {"layer_norm": "cell", "zoneout": 0.2, "embedding": "one-hot"},
]
