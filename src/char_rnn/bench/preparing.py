"""What it costs to prepare and to read a text, each measured in a process of its own.

prepare    a new text into the cache: MB/s, and the process's largest resident memory
warm       from after the imports to the first batch of a text in the cache
epoch      a pass over all batches, and the largest resident memory after it
batch      assembling a batch, beside a training step of the default model (2 x 128 LSTM, 50 x 50), in turn
list       the specification's sketch: the text as a Python list of numbers
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from char_rnn.bench.processes import in_own_process, peak_mb

BATCH_SIZE, SEQ_LENGTH = 50, 50
STEPS = 60  # timed training steps, half of them on either kind of batches


def measure(name: str, file: Path, cache: Path, threads: int | None = None) -> dict[str, float]:
    """Run one measurement in a process of its own, with so many threads where it trains.

    Raises:
        ProcessError: it failed.
    """
    given: dict[str, Any] = {"file": str(file), "cache": str(cache)}
    given |= {"threads": threads} if name == "batch" else {}
    return dict(in_own_process(f"char_rnn.bench.preparing:measure_{name}", **given))


def measure_prepare(file: str, cache: str) -> dict[str, float]:
    """Prepare a new text."""
    from char_rnn.data.corpus import prepare_corpus

    start = time.perf_counter()
    prepare_corpus(file, cache_dir=cache)
    seconds = time.perf_counter() - start
    peak = peak_mb()
    prepare_corpus(file, cache_dir=cache)  # notes the text's state, now that it is some seconds old
    return {"prepare_mb_per_s": Path(file).stat().st_size / 1e6 / seconds, "prepare_peak_mb": peak}


def measure_warm(file: str, cache: str) -> dict[str, float]:
    """Prepare it again, from the cache."""
    from char_rnn.data.dataloader import CharDataset, create_dataloaders

    start = time.perf_counter()
    loaders = create_dataloaders(CharDataset(file, SEQ_LENGTH, cache_dir=cache), BATCH_SIZE)
    next(loaders["train"].epoch(0))
    return {"warm_first_batch_ms": (time.perf_counter() - start) * 1e3}


def measure_epoch(file: str, cache: str) -> dict[str, float]:
    """Read it once in batches."""
    from char_rnn.data.dataloader import CharDataset, create_dataloaders

    train = create_dataloaders(CharDataset(file, SEQ_LENGTH, cache_dir=cache), BATCH_SIZE)["train"]
    before = peak_mb()
    start = time.perf_counter()
    total = sum(int(y[0, 0]) for _, y in train.epoch(0))
    seconds = time.perf_counter() - start
    assert total > 0
    figures = {"epoch_characters_per_s": len(train.split) / seconds}
    return {**figures, "epoch_peak_mb": peak_mb(), "epoch_peak_before_mb": before}


def measure_batch(file: str, cache: str, threads: int | None = None) -> dict[str, float]:
    """Time batches and training steps in turn, so that both see the same machine."""
    import torch

    from char_rnn.data.dataloader import CharDataset, create_dataloaders

    dataset = CharDataset(file, SEQ_LENGTH, cache_dir=cache)
    orders = ("streams", "windows")
    sources = {name: create_dataloaders(dataset, BATCH_SIZE, batching=name)["train"] for name in orders}
    batches = {name: cycle_epochs(source.epoch) for name, source in sources.items()}
    torch.set_num_threads(threads or torch.get_num_threads())
    step = training_step(dataset.vocab_size)
    times: dict[str, list[float]] = {name: [] for name in (*orders, "step")}
    for name in islice(cycle(orders), STEPS):
        start = time.perf_counter()
        x, y = next(batches[name])
        assembled = time.perf_counter()
        step(x, y)
        times[name].append(assembled - start)
        times["step"].append(time.perf_counter() - assembled)
    median = {name: statistics.median(values[5:]) for name, values in times.items()}
    figures = {f"{name}_us": seconds * 1e6 for name, seconds in median.items()}
    return figures | {f"{name}_percent_of_step": 100 * median[name] / median["step"] for name in orders}


def measure_list(file: str, cache: str) -> dict[str, float]:  # noqa: ARG001 (called as the others are)
    """Read it as the sketch does."""
    from char_rnn.bench.sketch import SketchDataset

    before = peak_mb()
    start = time.perf_counter()
    SketchDataset(Path(file).read_text(encoding="utf-8"), SEQ_LENGTH)
    seconds = time.perf_counter() - start
    size = Path(file).stat().st_size / 1e6
    return {
        "list_mb_per_s": size / seconds,
        "list_peak_mb": peak_mb(),
        "list_bytes_per_byte": (peak_mb() - before) / size,
    }


def cycle_epochs(epoch: Callable[[int], Iterator[Any]]) -> Iterator[Any]:
    """Go through one epoch after the other."""
    number = 0
    while True:
        yield from epoch(number)
        number += 1


def training_step(vocab_size: int) -> Callable[[Any, Any], None]:
    """Make a step of the default model: forward, loss, backward, clip, update."""
    import torch
    from torch.nn import functional as F

    from char_rnn.models import CharLSTM

    model = CharLSTM(vocab_size, 128, 2, dropout=0.2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.002)
    hidden = model.init_hidden(BATCH_SIZE, "cpu")

    def step(x: torch.Tensor, y: torch.Tensor) -> None:
        log_probs, _ = model(x, hidden)
        loss = F.nll_loss(log_probs.flatten(0, 1), y.flatten())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()

    return step
