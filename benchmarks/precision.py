"""The part of ``benchmarks/training.py`` that trains in low precision and in float32, in turn."""

from __future__ import annotations

import statistics
from itertools import cycle

import torch
from harness import in_turn, ratio
from torch.nn import functional as F

from char_rnn import CharDataset, Config, build_model, create_dataloaders
from char_rnn.models import CharModel, detach_state
from char_rnn.training.metrics import evaluate

# name: cell, reset gate, hidden units, layers, batch, time
CASES = {
    "lstm 2x512, batch 50x50": ("lstm", "after", 512, 2, 50, 50),
    "lstm 1x512, batch 50x50": ("lstm", "after", 512, 1, 50, 50),
    "lstm 2x512, batch 64x64": ("lstm", "after", 512, 2, 64, 64),
    "lstm 2x512, batch 128x64": ("lstm", "after", 512, 2, 128, 64),
    "gru after 2x512, batch 50x50": ("gru", "after", 512, 2, 50, 50),
    "gru before 2x512, batch 50x50": ("gru", "before", 512, 2, 50, 50),
    "rnn 2x512, batch 50x50": ("rnn", "after", 512, 2, 50, 50),
}
LAST = 50  # steps whose training loss is averaged: the loss of one is noise


class Training:
    """One side: a model trained a step a call, its forward pass under autocast if `products` is not float32."""

    def __init__(self, model: CharModel, dataset: CharDataset, batch: int, products: torch.dtype) -> None:
        self.model, self.products = model, products
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-5, fused=True)
        self.batches = cycle(create_dataloaders(dataset, batch)["train"].epoch(0))
        self.hidden = model.init_hidden(batch)
        self.losses: list[float] = []

    def __call__(self) -> None:
        """Train one step, state carried over."""
        x, y = next(self.batches)
        with torch.autocast("cpu", dtype=self.products, enabled=self.products != torch.float32):
            log_probs, hidden = self.model(x, self.hidden)
            loss = F.nll_loss(log_probs.flatten(0, 1), y.flatten())
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 5.0)
        self.optimizer.step()
        self.hidden = detach_state(hidden)
        self.losses.append(loss.item())


def measure(name: str, precision: str, text: str, steps: int) -> dict[str, str | float]:
    """Train both sides from the same weights on the same batches, a step of one and a step of the other."""
    kind, reset, hidden, layers, batch, length = CASES[name]
    dataset = CharDataset(text, length)
    config = Config.model_validate(
        {"model": {"type": kind, "reset": reset, "hidden_size": hidden, "num_layers": layers, "dropout": 0.0}}
    )
    sides = {}
    for side in ("float32", precision):
        torch.manual_seed(0)
        model = build_model(config.model, dataset.vocab_size)
        sides[side] = Training(model, dataset, batch, getattr(torch, side))
    timings = in_turn(sides, steps)
    train = {side: statistics.fmean(training.losses[-LAST:]) for side, training in sides.items()}
    split = dataset.with_split("val").split
    val = {side: evaluate(training.model, split).loss for side, training in sides.items()}
    speeds = {f"{side} char/s": batch * length / timing.median for side, timing in timings.items()}
    return {
        "case": name,
        **speeds,
        "speed-up": ratio(timings, "float32", precision),
        "spread": timings[precision].spread,
        "float32 loss": train["float32"],
        "loss ratio": train[precision] / train["float32"],
        "float32 val. loss": val["float32"],
        "val. loss ratio": val[precision] / val["float32"],
    }
