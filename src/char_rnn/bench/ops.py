"""How fast are the recurrent layers, beside PyTorch's modules of the same shape?"""

from __future__ import annotations

from char_rnn.bench.layers import LAYERS, Turns, check, compare
from char_rnn.bench.questions import QUESTIONS, Settings
from char_rnn.bench.report import Report, Table

HIDDEN, QUICK_HIDDEN = (128, 512), (128,)
NOTE = (
    "Milliseconds, medians of rounds in turn, after each layer has been checked against its reference. train: forward "
    "and backward over 50 sequences of 50 steps; step: one character. The GRU whose reset gate comes before the "
    "product has no module in PyTorch; it is held to nn.GRU, which does as many operations."
)


def measure(settings: Settings) -> Report:
    """Answer the question."""
    turns = Turns(rounds=settings.rounds, seconds=0.1 if settings.quick else 0.3)
    rows = []
    for layer in LAYERS:
        check(layer)
        for hidden in QUICK_HIDDEN if settings.quick else HIDDEN:
            settings.tell(f"layers, {layer} {hidden}")
            rows.append(compare(layer, "train", turns.batch, turns.time, hidden, turns))
            rows.append(compare(layer, "step", 1, 1, hidden, turns))
    return Report("ops", QUESTIONS["ops"], [Table("layers", rows, NOTE)])
