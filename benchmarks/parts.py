"""What each part of a model, and each dropout, costs: training the whole model with it, beside the plain one."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional as F

from char_rnn import CharLSTM
from char_rnn.bench.timing import in_turn, ratio

VOCABULARY, LAYERS = 65, 2
RESIDUAL: dict[str, Any] = {"layer_norm": "between", "residual": True}
PARTS: dict[str, dict[str, Any]] = {
    "layer_norm between": {"layer_norm": "between"},
    "layer_norm cell": {"layer_norm": "cell"},
    "pre-norm residual": RESIDUAL,
    "pre-norm residual, feed_forward_size 2H": {**RESIDUAL, "feed_forward_size": 2},
    "attention top, 256 steps": {"attention": "top"},
    "attention all, 4 heads, 256 steps": {"attention": "all", "attention_heads": 4},
    "tie_weights": {"tie_weights": True},
    "mogrifier_rounds 4": {"mogrifier_rounds": 4},
    "zoneout": {"zoneout": 0.1},
    "dropout": {"dropout": 0.3},
    "locked dropout": {"dropout": 0.3, "locked_dropout": True},
    "embedding_dropout": {"embedding_dropout": 0.1},
    "weight_dropout": {"weight_dropout": 0.3},
}


def measure(part: str, hidden: int, arguments: argparse.Namespace) -> dict[str, str | int | float]:
    """Time a training pass of a two-layer LSTM with a part and without it, in turn; return a row of the table."""
    options = dict(PARTS[part])
    if "feed_forward_size" in options:
        options["feed_forward_size"] *= hidden
    sides = {name: training(hidden, chosen, arguments) for name, chosen in (("plain", {}), (part, options))}
    timings = in_turn(sides, arguments.rounds)
    milliseconds = {"plain ms": timings["plain"].median * 1000, "with it ms": timings[part].median * 1000}
    sizes = {"batch": arguments.batch, "time": arguments.time, "hidden": hidden}
    return {"part": part, **sizes, **milliseconds, "speed, with / plain": ratio(timings, "plain", part)}


def training(hidden: int, options: dict[str, Any], arguments: argparse.Namespace) -> Callable[[], None]:
    """Return a forward and a backward pass over one batch, from a state that is carried along."""
    torch.manual_seed(0)
    model = CharLSTM(VOCABULARY, hidden, LAYERS, embedding_size=hidden, **options).to(arguments.device)
    ids = torch.randint(VOCABULARY, (arguments.batch, arguments.time + 1), device=arguments.device)
    state = model.init_hidden(arguments.batch)

    def run() -> None:
        log_probs, _ = model(ids[:, :-1], state)
        loss = F.nll_loss(log_probs.flatten(0, 1), ids[:, 1:].flatten())
        torch.autograd.grad(loss, list(model.parameters()))
        if arguments.device.startswith("cuda"):
            torch.cuda.synchronize()

    return run
