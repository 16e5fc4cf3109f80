"""How fast is training: this package, the bare PyTorch loop and the specification's sketch, on the same shapes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch.utils.tensorboard import SummaryWriter

from char_rnn.bench.peers import Peer, itself, rates_of
from char_rnn.bench.processes import in_own_process
from char_rnn.bench.questions import QUESTIONS, Settings
from char_rnn.bench.report import Report, Table
from char_rnn.bench.sketch import Sketch
from char_rnn.bench.timing import in_turn, ratio
from char_rnn.bench.training_sides import (
    CASES,
    SHAPES,
    BareLoop,
    Shape,
    as_string,
    batches_of,
    random_text,
    text_of,
    trainer_loop,
)

STEPS, QUICK_STEPS = 30, 8
QUICK_CASES = ("2x128",)
PEER_STEPS, QUICK_PEER_STEPS = (50, 200), (20, 60)
EPOCH_OF = 1_000_000  # characters
NOTE = (
    "Characters/s, medians of rounds in turn. bare: nn.Embedding, the recurrent module, nn.Linear, cross-entropy, "
    "AdamW, clipping, carried state, over batches that stand ready. sketch: the specification's, mended so that it "
    "runs. char-rnn: the trainer with loss guard, schedule, and its records every 10 steps."
)


def measure(settings: Settings) -> Report:
    """Answer the question."""
    peers = settings.peers_of("training")
    processes = _processes(settings, peers, SHAPES["default"]) if peers else []  # first: a wrong command ends it soon
    chosen = settings.cases or (QUICK_CASES if settings.quick else tuple(CASES))
    tables = [Table("over the bare loop", [row for name in chosen for row in over_bare(name, settings)], _BARE_NOTE)]
    if not settings.cases:
        rows = list(_steps(settings, SHAPES))
        epochs = [_epoch(row, shape) for row, shape in zip(rows, SHAPES.values(), strict=True)]
        tables += [Table("a step", rows, NOTE), Table("an epoch", epochs, _EPOCH_NOTE)]
    if processes:
        tables.append(Table("whole processes", processes, _PROCESS_NOTE.format(*_peer_steps(settings))))
    return Report("training", QUESTIONS["training"], tables)


_BARE_NOTE = (
    "Characters/s, medians of turns. D: with the memory of a step returned to the system, as glibc does by default; K: "
    "with memory kept, for both sides alike; `char-rnn train` keeps it. bare: in float32, nn.GRU for both resets, and "
    "without layer_norm. over K: the median of the turns' ratios, both with memory kept. over D: char-rnn K over bare "
    "D, as users meet it."
)


def over_bare(name: str, settings: Settings) -> Iterator[dict[str, Any]]:
    """Measure a case of `CASES` with one thread and with as many as asked for; return a row for each trainer."""
    case = CASES[name]
    threads = sorted({1, min(settings.threads, case.most_threads)})
    settings.tell(f"training, {case.shape}, beside the bare loop: {', '.join(case.trainers)}")
    given_back, kept = (
        in_own_process("char_rnn.bench.training_sides:speeds", case=name, threads=threads,
                       rounds=settings.rounds, kept=kept)
        for kept in (False, True)
    )  # fmt: skip
    for in_d, in_k in zip(given_back, kept, strict=True):
        yield {
            "case": name,
            "shape": str(case.shape),
            "trainer": in_k["trainer"],
            "threads": in_k["threads"],
            "bare D": in_d["bare"],
            "bare K": in_k["bare"],
            "char-rnn D": in_d["char-rnn"],
            "char-rnn K": in_k["char-rnn"],
            "spread": in_k["spread"],
            "over D": in_k["char-rnn"] / in_d["bare"],
            "over K": in_k["ratio"],
            "faults D": in_d["faults"],
            "faults K": in_k["faults"],
            "peak K, MB": in_k["peak"],
        }


def _steps(settings: Settings, shapes: Mapping[str, Shape]) -> Iterator[dict[str, Any]]:
    steps = QUICK_STEPS if settings.quick else STEPS
    for name, shape in shapes.items():
        settings.tell(f"training, {shape}")
        torch.manual_seed(0)
        text = text_of(shape, steps)
        batches = batches_of(text, shape)
        with TemporaryDirectory(dir=settings.folder) as folder:
            bare = BareLoop(shape)
            sketch = Sketch(as_string(text), shape, SummaryWriter(log_dir=folder))
            sides: dict[str, Callable[[], object]] = {
                "bare": partial(bare.epoch, batches),
                "sketch": partial(sketch.train, steps),
                "char-rnn": trainer_loop(shape, text, Path(folder)),
            }
            timings = in_turn(sides, settings.rounds)
            sketch.close()
        yield {
            "case": f"{name}: {shape}",
            **{side: shape.characters * steps / timing.median for side, timing in timings.items()},
            "spread": timings["char-rnn"].spread,
            "char-rnn / bare": ratio(timings, "bare", "char-rnn"),
            "char-rnn / sketch": ratio(timings, "sketch", "char-rnn"),
        }


_EPOCH_NOTE = (
    f"What a pass over {EPOCH_OF:,} characters comes to at these rates. The sketch takes every overlapping window for "
    "a sample and so predicts each character once a place in the window."
)


def _epoch(row: Mapping[str, Any], shape: Shape) -> dict[str, Any]:
    windows = (EPOCH_OF - shape.length) // shape.batch * shape.batch
    return {
        "case": row["case"],
        "char-rnn, predictions": EPOCH_OF - 1,
        "char-rnn, minutes": EPOCH_OF / row["char-rnn"] / 60,
        "sketch, predictions": windows * shape.length,
        "sketch, minutes": windows * shape.length / row["sketch"] / 60,
    }


_PROCESS_NOTE = (
    "Whole programs, run in turn for {} and {} steps of the default shape on a text of about a megabyte: the rate is "
    "of the steps between, the start is what the shorter run took beyond its steps."
)


def _peer_steps(settings: Settings) -> tuple[int, int]:
    return QUICK_PEER_STEPS if settings.quick else PEER_STEPS


def _processes(settings: Settings, peers: list[Peer], shape: Shape) -> list[dict[str, Any]]:
    everyone = [itself("training", settings.threads), *peers]
    settings.tell("training, whole processes: " + ", ".join(peer.name for peer in everyone))
    with TemporaryDirectory(dir=settings.folder) as folder:
        text = Path(folder, "text.txt")
        text.write_bytes(as_string(random_text(EPOCH_OF)).encode())
        places = {**asdict(shape), "text": text, "out": _Fresh(Path(folder))}
        asked = [{**places, "steps": steps} for steps in _peer_steps(settings)]
        rates = rates_of(everyone, asked, "steps", math.ceil(settings.rounds / 2), settings.threads)
    own = rates["char-rnn"].per_second
    return [
        {
            "program": name,
            "characters/s": rate.per_second * shape.characters,
            "start, s": rate.start,
            "char-rnn / it": own / rate.per_second,
        }
        for name, rate in rates.items()
    ]


class _Fresh:
    """A folder that is another one each time it is written into a command."""

    def __init__(self, parent: Path) -> None:
        self.parent, self.count = parent, 0

    def __format__(self, _: str) -> str:
        self.count += 1
        return str(self.parent / f"out{self.count}")
