"""Speed and memory of preparing a text, each measured in a process of its own, and the cost of a batch."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterator
from itertools import count, cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np

from char_rnn.bench.suites import ResultTable, Settings
from char_rnn.bench.timing import in_own_process, peak_mb

MEGABYTES, QUICK_MEGABYTES = 200, 5
BATCH_SIZE, SEQ_LENGTH = 50, 50
STEPS = 60  # timed training steps, half of them on each kind of batches
SETTLED = 3  # seconds after which the cache trusts the times of a new file
PARTS = ("prepare", "warm", "epoch", "batch")
NOTE = (
    "Texts of random words; in the mixed text, a tenth of the words is not ASCII. Each figure is measured in its own "
    "process. warm: time from the end of the imports to the first batch of a text in the cache. batch / step: time to"
    " make a batch, divided by the time of a training step of the default model; both run in turn."
)

Kind = Literal["ascii", "mixed"]
KINDS: tuple[Kind, ...] = ("ascii", "mixed")
ALPHABETS = ("abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789.,;:!?")
OTHERS = ("абвгдежзийклмнопрстуфхцчшщ", "日本語文字列山川")
REST = 0.05  # share of the words in each alphabet but the first
WORDS, WORDS_IN_BLOCK, BLOCKS = 20_000, 20_000, 64


def measure(settings: Settings) -> list[ResultTable]:
    """Run the suite."""
    size = QUICK_MEGABYTES if settings.quick else MEGABYTES
    with TemporaryDirectory() as folder:
        rows = []
        for kind in KINDS:
            settings.progress(f"a text of {size} MB, {kind}")
            figures = measure_text(Path(folder, kind), size, kind, settings.threads)
            rows.append({"text": f"{kind}, {size} MB", **{name: figures[key] for name, key in COLUMNS.items()}})
    return [ResultTable("texts", rows, NOTE)]


COLUMNS = {
    "MB/s": "prepare_mb_per_s",
    "peak MB": "prepare_peak_mb",
    "warm, ms": "warm_first_batch_ms",
    "an epoch, characters/s": "epoch_characters_per_s",
    "its peak MB": "epoch_peak_mb",
    "batch / step, %": "streams_percent_of_step",
    "window batch / step, %": "windows_percent_of_step",
}


def measure_text(folder: Path, megabytes: int, kind: Kind, threads: int | None = None) -> dict[str, float]:
    """Measure everything on a new text in a new folder, then delete the text."""
    folder.mkdir()
    text = folder / "text.txt"
    write_text(text, megabytes * 10**6, kind)
    if hasattr(os, "sync"):
        os.sync()  # else writing the text back would be measured too
    time.sleep(SETTLED)
    figures: dict[str, float] = {}
    given: dict[str, Any] = {"file": str(text), "cache": str(folder / "cache")}
    for part in PARTS:
        more = {"threads": threads} if part == "batch" else {}
        figures |= in_own_process(f"{__name__}:measure_{part}", **given, **more)
    text.unlink()
    return figures


def measure_prepare(file: str, cache: str) -> dict[str, float]:
    """Prepare a new text: MB/s and peak memory."""
    from char_rnn.data.corpus import prepare_corpus

    began = time.perf_counter()
    prepare_corpus(file, cache_dir=cache)
    seconds, peak = time.perf_counter() - began, peak_mb()
    prepare_corpus(file, cache_dir=cache)  # remembers the file's times, now that they are some seconds old
    return {"prepare_mb_per_s": Path(file).stat().st_size / 1e6 / seconds, "prepare_peak_mb": peak}


def measure_warm(file: str, cache: str) -> dict[str, float]:
    """Take the first batch of a text in the cache: milliseconds."""
    from char_rnn.data.dataloader import CharDataset, create_dataloaders

    began = time.perf_counter()
    loaders = create_dataloaders(CharDataset(file, SEQ_LENGTH, cache_dir=cache), BATCH_SIZE)
    next(loaders["train"].epoch(0))
    return {"warm_first_batch_ms": (time.perf_counter() - began) * 1e3}


def measure_epoch(file: str, cache: str) -> dict[str, float]:
    """Read all batches of a text: characters/s and peak memory."""
    from char_rnn.data.dataloader import CharDataset, create_dataloaders

    train = create_dataloaders(CharDataset(file, SEQ_LENGTH, cache_dir=cache), BATCH_SIZE)["train"]
    before, began = peak_mb(), time.perf_counter()
    total = sum(int(y[0, 0]) for _, y in train.epoch(0))
    seconds = time.perf_counter() - began
    assert total > 0
    speed = len(train.split) / seconds
    return {"epoch_characters_per_s": speed, "epoch_peak_mb": peak_mb(), "epoch_peak_before_mb": before}


def measure_batch(file: str, cache: str, threads: int | None = None) -> dict[str, float]:
    """Time batches of both kinds and training steps of the default model in turn: microseconds and percent."""
    import torch

    from char_rnn.bench.baselines import Shape, config_of
    from char_rnn.data.dataloader import CharDataset, create_dataloaders
    from char_rnn.models import build_model
    from char_rnn.training.train_step import TrainStep

    def endless(order: str) -> Iterator[Any]:
        batches = create_dataloaders(dataset, BATCH_SIZE, batching=order)["train"]
        return (batch for number in count() for batch in batches.epoch(number))

    dataset, orders = CharDataset(file, SEQ_LENGTH, cache_dir=cache), ("streams", "windows")
    batches = {order: endless(order) for order in orders}
    torch.set_num_threads(threads or torch.get_num_threads())
    config = config_of(Shape(batch=BATCH_SIZE, length=SEQ_LENGTH))
    stepper = TrainStep(build_model(config.model, dataset.vocab_size), config.training, torch.device("cpu"))
    times: dict[str, list[float]] = {name: [] for name in (*orders, "step")}
    for order in islice(cycle(orders), STEPS):
        began = time.perf_counter()
        x, y = next(batches[order])
        assembled = time.perf_counter()
        stepper.step(x, y, None, config.training.learning_rate)
        times[order].append(assembled - began)
        times["step"].append(time.perf_counter() - assembled)
    median = {name: statistics.median(values[5:]) for name, values in times.items()}
    figures = {f"{name}_us": seconds * 1e6 for name, seconds in median.items()}
    return figures | {f"{name}_percent_of_step": 100 * median[name] / median["step"] for name in orders}


def write_text(file: Path, size: int, kind: Kind = "ascii") -> int:
    """Write at least ``size`` bytes of random words, the same each time; return the bytes written.

    Of the kind ``mixed``, a tenth of the words is in alphabets beyond ASCII.
    """
    rng = np.random.default_rng(0)
    alphabets = ALPHABETS + (OTHERS if kind == "mixed" else ())
    shares = [1 - REST * (len(alphabets) - 1), *[REST] * (len(alphabets) - 1)]
    letters = [list(alphabets[index]) for index in rng.choice(len(alphabets), WORDS, p=shares)]
    words = np.array(["".join(rng.choice(each, rng.integers(2, 10))) for each in letters])
    blocks = [" ".join(rng.choice(words, WORDS_IN_BLOCK)).encode() + b"\n" for _ in range(BLOCKS)]
    written = 0
    with file.open("wb") as out:
        while written < size:
            written += out.write(blocks[rng.integers(BLOCKS)])
    return written
