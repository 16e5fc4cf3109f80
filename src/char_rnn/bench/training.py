"""Training speed of this package and of the bare PyTorch loop, on the same shapes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from functools import partial
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from char_rnn.bench.baselines import VOCABULARY, BareLoop, Shape, as_string, batches_of, config_of, random_text, text_of
from char_rnn.bench.peers import Peer, compare_programs
from char_rnn.bench.suites import ResultTable, Settings
from char_rnn.bench.timing import in_own_process, in_turn, page_faults, peak_mb, ratio
from char_rnn.data.corpus import Corpus
from char_rnn.data.dataloader import CharDataset, create_dataloaders
from char_rnn.models import build_model
from char_rnn.training.progress import LineProgress
from char_rnn.training.trainer import CharRNNTrainer
from char_rnn.utils.resources import memory_kept

STEPS, QUICK_STEPS = 30, 8
QUICK_CASES = ("2x128",)
PEER_STEPS, QUICK_PEER_STEPS = (50, 200), (20, 60)
PEER_TEXT = 1_000_000  # characters
SHAPES = {"default": Shape(), "quickstart": Shape("lstm", 384, 1, 16, 64, 64)}

CASE_NOTE = (
    "Characters/s, medians. D: freed memory returns to the system at each step, the default of glibc. K: both "
    "programs keep it, as `char-rnn train` does. bare: in float32, without layer_norm, and nn.GRU for both kinds of "
    "reset. over K: median of the rounds' ratios, both programs with K. over D: char-rnn with K over bare with D, the"
    " difference that users see."
)
STEP_NOTE = (
    "Characters/s, medians; the programs run in turn. bare: nn.Embedding, the recurrent module, nn.Linear, cross-"
    "entropy, AdamW, gradient clipping and carried state, with the batches in memory. char-rnn: the trainer with its "
    "loss guard, its schedule and a record every 10 steps."
)
PEER_NOTE = (
    "Whole programs, which run in turn for {} and {} steps of the default shape on a text of one megabyte. The rate "
    "is the speed of the additional steps of the longer run; the start-up is the rest of the shorter run."
)


@dataclass(frozen=True)
class Case:
    """A shape that the bare loop and the trainer train in turn.

    Attributes:
        shape: The model and its batches.
        steps: Steps of a turn; the trainer writes a record every 10.
        trainers: Names of trainers, each with its settings of the sections ``model`` and ``training``.
        most_threads: The most threads to measure with.
    """

    shape: Shape
    steps: int = 10
    trainers: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: {"float32": {}})
    most_threads: int = 1024


_BFLOAT16: dict[str, Any] = {"float32": {}, "bfloat16": {"training": {"precision": "bfloat16"}}}
_RESETS = {f"reset {reset}": {"model": {"reset": reset}} for reset in ("after", "before")}
CASES = {
    "2x128": Case(SHAPES["default"], trainers={"float32": {}, "layer_norm cell": {"model": {"layer_norm": "cell"}}}),
    "1x384": Case(SHAPES["quickstart"], trainers=_BFLOAT16),
    "2x512": Case(Shape(hidden=512), steps=3, trainers=_BFLOAT16),
    "gru 2x128": Case(Shape("gru"), trainers=_RESETS),
    "gru 1x384": Case(Shape("gru", 384, 1, 16, 64, 64), trainers=_RESETS),
    "rnn 2x128": Case(Shape("rnn")),
    "rnn 1x384": Case(Shape("rnn", 384, 1, 16, 64, 64)),
    "tiny": Case(Shape("lstm", 32, 1, 16, 32), steps=150, most_threads=1),
}


def measure(settings: Settings) -> list[ResultTable]:
    """Run the suite."""
    peers = settings.peers_of("training")
    programs = _programs(settings, peers) if peers else []  # first, so that an invalid command is reported soon
    chosen = settings.cases or (QUICK_CASES if settings.quick else tuple(CASES))
    tables = [
        ResultTable("over the bare loop", [row for name in chosen for row in over_bare(name, settings)], CASE_NOTE)
    ]
    if not settings.cases:
        tables.append(ResultTable("a step", list(_steps(settings)), STEP_NOTE))
    return [*tables, *programs]


def over_bare(name: str, settings: Settings) -> Iterator[dict[str, Any]]:
    """Measure a case with one thread and with ``settings.threads``; yield a row for each trainer."""
    case = CASES[name]
    how = {"case": name, "threads": sorted({1, min(settings.threads, case.most_threads)}), "rounds": settings.rounds}
    settings.progress(f"training, {case.shape}, beside the bare loop: {', '.join(case.trainers)}")
    returned, kept = (in_own_process(f"{__name__}:speeds", **how, kept=kept) for kept in (False, True))
    for d, k in zip(returned, kept, strict=True):
        yield {
            "case": name,
            "shape": str(case.shape),
            "trainer": k["trainer"],
            "threads": k["threads"],
            "bare D": d["bare"],
            "bare K": k["bare"],
            "char-rnn D": d["char-rnn"],
            "char-rnn K": k["char-rnn"],
            "spread": k["spread"],
            "over D": k["char-rnn"] / d["bare"],
            "over K": k["ratio"],
            "faults D": d["faults"],
            "faults K": k["faults"],
            "peak K, MB": k["peak"],
        }


def speeds(case: str, threads: Sequence[int], rounds: int, kept: bool) -> list[dict[str, Any]]:
    """Train the bare loop and the trainers of a case in turn, also over the numbers of PyTorch's threads.

    It is called in a process of its own, which keeps freed memory if ``kept``.

    Returns:
        For each number of threads and each trainer: medians of both sides in characters/s, the median ratio, the
        trainer's spread, page faults per step of all sides, and peak memory in 10^6 bytes.
    """
    made = CASES[case]
    text = text_of(made.shape, made.steps)
    torch.manual_seed(0)
    with TemporaryDirectory() as folder, memory_kept() if kept else nullcontext():
        sides: dict[str, Callable[[], object]] = {
            "bare": partial(BareLoop(made.shape).epoch, batches_of(text, made.shape))
        }
        for name, settings in made.trainers.items():
            run = Path(folder, name)
            run.mkdir()
            sides[name] = trainer_loop(made.shape, text, run, settings)
        timed = {f"{name}, {n}": partial(_with_threads, n, side) for n in threads for name, side in sides.items()}
        in_turn(timed, 0)
        before = page_faults()
        timings = in_turn(timed, rounds, warmup=0)
        faults = (page_faults() - before) / (rounds * made.steps * len(timed))
    characters = made.shape.characters * made.steps
    return [
        {
            "trainer": name,
            "threads": n,
            "bare": characters / timings[f"bare, {n}"].median,
            "char-rnn": characters / timings[f"{name}, {n}"].median,
            "ratio": ratio(timings, f"bare, {n}", f"{name}, {n}"),
            "spread": timings[f"{name}, {n}"].spread,
            "faults": faults,
            "peak": peak_mb(),
        }
        for name in made.trainers
        for n in threads
    ]


def _with_threads(count: int, side: Callable[[], object]) -> None:
    torch.set_num_threads(count)
    side()


def trainer_loop(
    shape: Shape,
    text: Corpus,
    folder: Path,
    settings: Mapping[str, Any] | None = None,
    device: torch.device | str = "cpu",
) -> Callable[[], float]:
    """Return a function that trains one epoch with the trainer and its callbacks, without TensorBoard."""
    from rich.console import Console

    settings = settings or {}
    config = config_of(shape, settings.get("model"), **settings.get("training", {}))
    trainer = CharRNNTrainer(
        build_model(config.model, VOCABULARY),
        create_dataloaders(CharDataset(text, shape.length, 1.0, 0.0), shape.batch),
        config,
        device,
        vocabulary=text.vocabulary,
        run_dir=folder,
        callbacks=[LineProgress(Console(file=StringIO()))],
    )
    trainer.metrics.tell("on_start", trainer)
    return trainer.train_epoch


def _steps(settings: Settings) -> Iterator[dict[str, Any]]:
    steps = QUICK_STEPS if settings.quick else STEPS
    for name, shape in SHAPES.items():
        settings.progress(f"training, {shape}")
        torch.manual_seed(0)
        text = text_of(shape, steps)
        with TemporaryDirectory() as folder:
            sides: dict[str, Callable[[], object]] = {
                "bare": partial(BareLoop(shape).epoch, batches_of(text, shape)),
                "char-rnn": trainer_loop(shape, text, Path(folder)),
            }
            timings = in_turn(sides, settings.rounds)
        yield {
            "case": f"{name}: {shape}",
            **{side: shape.characters * steps / timing.median for side, timing in timings.items()},
            "spread": timings["char-rnn"].spread,
            "char-rnn / bare": ratio(timings, "bare", "char-rnn"),
        }


def _programs(settings: Settings, peers: Sequence[Peer]) -> list[ResultTable]:
    settings.progress(f"training, whole processes: char-rnn, {', '.join(peer.name for peer in peers)}")
    shape, steps = SHAPES["default"], QUICK_PEER_STEPS if settings.quick else PEER_STEPS
    with TemporaryDirectory() as folder:
        text = Path(folder, "text.txt")
        text.write_bytes(as_string(random_text(PEER_TEXT)).encode())
        values = {**asdict(shape), "text": text, "out": _NewFolder(Path(folder))}
        runs = [{**values, "steps": count} for count in steps]
        rows = compare_programs(peers, runs, "steps", shape.characters, settings.rounds, settings.threads)
    return [ResultTable("whole processes", rows, PEER_NOTE.format(*steps))]


class _NewFolder:
    """Formats as the path of a folder that does not exist, another one each time."""

    def __init__(self, parent: Path) -> None:
        self.parent, self.count = parent, 0

    def __format__(self, _: str) -> str:
        self.count += 1
        return str(self.parent / f"out{self.count}")
