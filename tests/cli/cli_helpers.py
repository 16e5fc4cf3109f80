"""What the command-line tests share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

TEXT = "The rose is red, the violet blue; the honey's sweet, and so are you.\n" * 40
SETTINGS = (
    "model.hidden_size=8",
    "model.num_layers=1",
    "training.batch_size=4",
    "training.seq_length=10",
    "device.preferred=cpu",
    "device.auto_detect=false",
)
SMALL = [word for setting in SETTINGS for word in ("--set", setting)]


@dataclass(frozen=True)
class Outcome:
    """What a command left: its status and what it printed."""

    status: int
    out: str
    err: str


Command = Callable[..., Outcome]
