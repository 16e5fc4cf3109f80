"""Ways to train: the bare PyTorch loop and this package's trainer, on the same batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from char_rnn.bench.processes import page_faults, peak_mb
from char_rnn.bench.timing import in_turn, ratio
from char_rnn.data.corpus import Corpus
from char_rnn.data.dataloader import CharDataset, create_dataloaders
from char_rnn.models import build_model
from char_rnn.training.progress import LineProgress
from char_rnn.training.trainer import CharRNNTrainer
from char_rnn.utils.allocator import memory_kept
from char_rnn.utils.config import Config

MODULES: dict[str, Any] = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}
VOCABULARY = 65
Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Shape:
    """What is trained.

    Attributes:
        cell: lstm, gru or rnn.
        hidden: units of a layer.
        layers: how many.
        batch: sequences in a batch.
        length: steps in a sequence.
        embedding: length of the embedding's vectors; None for the size of the vocabulary.
    """

    cell: str = "lstm"
    hidden: int = 128
    layers: int = 2
    batch: int = 50
    length: int = 50
    embedding: int | None = None

    @property
    def characters(self) -> int:
        """How many a step predicts."""
        return self.batch * self.length

    def __str__(self) -> str:
        return f"{self.cell} {self.layers}x{self.hidden}, batch {self.batch}x{self.length}"


SHAPES = {"default": Shape(), "quickstart": Shape("lstm", 384, 1, 16, 64, 64)}


@dataclass(frozen=True)
class Case:
    """A shape that the bare loop and the trainer train in turn.

    Attributes:
        shape: what is trained.
        steps: steps of a turn; the trainer writes a record every 10.
        trainers: settings of the trainer by name, sections ``model`` and ``training``; the bare loop has none of them.
        most_threads: the most threads to measure it with.
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


def random_text(characters: int) -> Corpus:
    """Return a random text over 65 characters."""
    ids = np.random.default_rng(0).integers(0, VOCABULARY, characters)
    return Corpus.from_text("".join(map(chr, ids + 40)))


def as_string(text: Corpus, characters: int | None = None) -> str:
    """Return the beginning of a text; a small one whole."""
    return text.vocabulary.decode(np.asarray(text.ids[:characters]))


def text_of(shape: Shape, steps: int) -> Corpus:
    """Return a random text of so many batches."""
    return random_text(shape.characters * steps + shape.batch)


def batches_of(text: Corpus, shape: Shape) -> list[Batch]:
    """Return a text's batches, ready in memory."""
    return list(create_dataloaders(CharDataset(text, shape.length, 1.0, 0.0), shape.batch)["train"].epoch(0))


class BareLoop:
    """What anyone would write: embedding, recurrent module, output, cross-entropy, AdamW, clipping, carried state.

    Args:
        shape: what is trained.
        symbols: size of the vocabulary, V.
        learning_rate: constant.
    """

    def __init__(self, shape: Shape, symbols: int = VOCABULARY, learning_rate: float = 1e-3) -> None:
        width = shape.embedding or symbols
        self.embedding, self.output = nn.Embedding(symbols, width), nn.Linear(shape.hidden, symbols)
        self.cell = MODULES[shape.cell](width, shape.hidden, shape.layers, batch_first=True)
        self.parameters = [*self.embedding.parameters(), *self.cell.parameters(), *self.output.parameters()]
        self.optimizer = torch.optim.AdamW(self.parameters, lr=learning_rate, weight_decay=1e-5, fused=True)
        self.state: Any = None

    def step(self, x: Tensor, y: Tensor) -> Tensor:
        """Train on one batch, (B, T) each; return the loss, nats per character."""
        out, state = self.cell(self.embedding(x), self.state)
        loss = nn.functional.cross_entropy(self.output(out).flatten(0, 1), y.flatten())
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.parameters, 5.0)
        self.optimizer.step()
        self.state = tuple(part.detach() for part in state) if isinstance(state, tuple) else state.detach()
        return loss

    def epoch(self, batches: Sequence[Batch]) -> None:
        """Train once over the batches, from a state of zeros."""
        self.state = None
        for x, y in batches:
            self.step(x, y)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the parameters by the names of this package's models."""
        parts = {"embedding": self.embedding, type(self.cell).__name__.lower(): self.cell, "output_proj": self.output}
        return {f"{name}.{key}": value for name, part in parts.items() for key, value in part.state_dict().items()}


def config_of(shape: Shape, model: Mapping[str, Any] | None = None, **training: Any) -> Config:
    """Return a configuration of the shape that neither evaluates nor saves on the way, with these settings."""
    sections = {
        "model": {"type": shape.cell, "hidden_size": shape.hidden, "num_layers": shape.layers, "dropout": 0.0,
                  "embedding_size": shape.embedding, **(model or {})},
        "training": {"batch_size": shape.batch, "seq_length": shape.length, "learning_rate": 1e-3,
                     "eval_interval": 10**9, "max_epochs": 10**6, **training},
        "logging": {"save_interval": 10**9, "log_interval": 10},
    }  # fmt: skip
    return Config.model_validate(sections)


def speeds(case: str, threads: Sequence[int], rounds: int, kept: bool) -> list[dict[str, Any]]:
    """Train the bare loop and the trainers of a case in turn, with each number of threads; for a process of its own.

    Args:
        case: its name in `CASES`.
        threads: numbers of PyTorch's threads; all take turns.
        rounds: turns of each side, after one that warms up.
        kept: whether freed memory stays in the process, for both sides alike; else the C library's default.

    Returns:
        For each number of threads and each trainer: characters/s of both sides (medians), the median ratio of their
        speeds, the trainer's spread, page faults a step of all sides together, and the largest resident memory in 10^6
        bytes.
    """
    made = CASES[case]
    text = text_of(made.shape, made.steps)
    batches = batches_of(text, made.shape)
    torch.manual_seed(0)
    with TemporaryDirectory() as folder, memory_kept() if kept else nullcontext():
        sides: dict[str, Callable[[], object]] = {"bare": partial(BareLoop(made.shape).epoch, batches)}
        for name, settings in made.trainers.items():
            run = Path(folder, name)
            run.mkdir()
            sides[name] = trainer_loop(made.shape, text, run, settings)
        timed = {f"{name}, {count}": partial(_with_threads, count, side)
                 for count in threads for name, side in sides.items()}  # fmt: skip
        in_turn(timed, 0)
        before = page_faults()
        timings = in_turn(timed, rounds, warmup=0)
        faults = (page_faults() - before) / (rounds * made.steps * len(timed))
    characters = made.shape.characters * made.steps
    return [
        {
            "trainer": name,
            "threads": count,
            "bare": characters / timings[f"bare, {count}"].median,
            "char-rnn": characters / timings[f"{name}, {count}"].median,
            "ratio": ratio(timings, f"bare, {count}", f"{name}, {count}"),
            "spread": timings[f"{name}, {count}"].spread,
            "faults": faults,
            "peak": peak_mb(),
        }
        for name in made.trainers
        for count in threads
    ]


def _with_threads(count: int, side: Callable[[], object]) -> None:
    torch.set_num_threads(count)
    side()


def trainer_loop(
    shape: Shape, text: Corpus, folder: Path, settings: Mapping[str, Any] | None = None
) -> Callable[[], float]:
    """Return a function that trains once over the text, with the trainer and all its listeners."""
    from rich.console import Console

    settings = settings or {}
    config = config_of(shape, settings.get("model"), **settings.get("training", {}))
    trainer = CharRNNTrainer(
        build_model(config.model, VOCABULARY),
        create_dataloaders(CharDataset(text, shape.length, 1.0, 0.0), shape.batch),
        config,
        vocabulary=text.vocabulary,
        run_dir=folder,
        callbacks=[LineProgress(Console(file=StringIO()))],
    )
    trainer.metrics.tell("on_start", trainer)
    return trainer.train_epoch
