"""How the cost of training grows with the text."""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from char_rnn.bench.processes import ProcessError, in_own_process, peak_mb
from char_rnn.bench.questions import Settings
from char_rnn.bench.texts import settle, write_text
from char_rnn.bench.training_sides import Shape, config_of
from char_rnn.data.dataloader import CharDataset, create_dataloaders
from char_rnn.models import build_model
from char_rnn.training.train_step import TrainStep

ON_DISK = 2.1  # bytes for each of a text: itself and its indices
SPARE = 10**9  # bytes that are left on the disk
Row = dict[str, Any]


def corpus_rows(sizes: Sequence[int], settings: Settings, steps: int, runs: int) -> tuple[list[Row], list[str]]:
    """Make texts of these sizes, prepare each, then train on each in turn, always in a process of its own.

    Args:
        sizes: of the texts in 10^6 bytes.
        settings: what is asked for.
        steps: of a training.
        runs: trainings on each.

    Returns:
        A row a text, and why others are left out.
    """
    with TemporaryDirectory(dir=settings.folder) as folder:
        sizes, notes = those_that_fit(sizes, shutil.disk_usage(folder).free)
        files = {}
        for size in sizes:
            settings.tell(f"making a text of {size:,} MB")
            files[size] = Path(folder, f"{size}.txt")
            write_text(files[size], size * 10**6)
        settle()
        cache = str(Path(folder, "cache"))
        prepared: dict[int, Row] = {}
        for size, file in files.items():
            settings.tell(f"preparing a text of {size:,} MB")
            prepared[size] = _called("preparing:measure_prepare", notes, file=str(file), cache=cache)
        trained: dict[int, list[Row]] = {size: [] for size in files if prepared[size]}
        for number in range(runs):
            for size, measured in trained.items():
                settings.tell(f"training on a text of {size:,} MB, {number + 1} of {runs}")
                asked = {"file": str(files[size]), "cache": cache, "steps": steps, "threads": settings.threads}
                measured.append(_called("growth_corpus:train", notes, began=time.time(), **asked))
        return [_row(size, prepared[size], each) for size, each in trained.items() if all(each)], notes


def those_that_fit(sizes: Sequence[int], free: int) -> tuple[list[int], list[str]]:
    """Return the sizes, in 10^6 bytes, that the free bytes of the disk hold together, and why others are left out."""
    fitting: list[int] = []
    notes = []
    for size in sorted(sizes):
        needed = ON_DISK * 10**6 * (sum(fitting) + size) + SPARE
        if needed <= free:
            fitting.append(size)
        else:
            notes.append(f"{size:,} MB: {needed / 1e9:.1f} GB of disk are needed, {free / 1e9:.1f} are free")
    return fitting, notes


def _called(function: str, notes: list[str], **arguments: Any) -> Row:
    """Return what a process measures; nothing if it fails, which is noted."""
    try:
        return dict(in_own_process(f"char_rnn.bench.{function}", **arguments))
    except ProcessError as error:
        notes.append(f"{Path(arguments['file']).stem} MB: {error}")
        return {}


def _row(size: int, prepared: Row, runs: Sequence[Row]) -> Row:
    median = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    speeds = [run["characters/s"] for run in runs]
    return {
        "text, MB": size,
        "preparing, MB/s": prepared["prepare_mb_per_s"],
        "its memory, MB": prepared["prepare_peak_mb"],
        "first step after, s": median["start"],
        "of it the text, s": median["text"],
        "characters/s": median["characters/s"],
        "spread": (max(speeds) - min(speeds)) / 2 / median["characters/s"],
        "memory, MB": max(run["peak"] for run in runs),
    }


def train(file: str, cache: str, steps: int, threads: int, began: float) -> dict[str, float]:
    """Train the default model on a prepared text, in a process that was started at ``began``."""
    torch.set_num_threads(threads)
    shape = Shape()
    config = config_of(shape)
    opened = time.perf_counter()
    dataset = CharDataset(file, shape.length, cache_dir=cache)
    batches = create_dataloaders(dataset, shape.batch)["train"].epoch(0)
    x, y = next(batches)
    text = time.perf_counter() - opened
    stepper = TrainStep(build_model(config.model, dataset.vocab_size), config.training, torch.device("cpu"))
    _, state = stepper.step(x, y, None, config.training.learning_rate)
    start, seconds = time.time() - began, []
    for x, y in islice(batches, steps):
        step_began = time.perf_counter()
        _, state = stepper.step(x, y, state, config.training.learning_rate)
        seconds.append(time.perf_counter() - step_began)
    speed = shape.characters / statistics.median(seconds)
    return {"start": start, "text": text, "characters/s": speed, "peak": peak_mb()}
