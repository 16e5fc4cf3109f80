"""How fast is a text prepared, in how much memory, and what does a batch cost?

Makes a text of its own, then measures against the project's targets, each start in a process of its own:

    prepare    a new text into the cache: MB/s, and the process's largest resident memory
    warm       from after the imports to the first batch of a text in the cache
    epoch      a pass over all batches, and the largest resident memory after it
    batch      assembling a batch, beside a training step of the default model (2 x 128 LSTM, 50 x 50), in turn

    python benchmarks/data.py [--size-mb 1000] [--text ascii|mixed] [--json FILE]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
from harness import parser, report

BATCH_SIZE, SEQ_LENGTH = 50, 50
STEPS = 60  # timed training steps, half of them on either kind of batches
TARGETS = {
    "prepare_mb_per_s": (">=", 100.0),
    "prepare_peak_mb": ("<=", 600.0),
    "warm_first_batch_ms": ("<=", 100.0),
    "epoch_peak_mb": ("<=", 600.0),
    "streams_percent_of_step": ("<=", 2.0),
}


def main() -> None:
    """Measure, print a table, and write JSON where asked to."""
    arguments = parse()
    if arguments.measure:
        print(json.dumps(MEASUREMENTS[arguments.measure](arguments.file, arguments.cache)))
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        file, cache = Path(folder, "text.txt"), Path(folder, "cache")
        size = write_text(file, arguments.size_mb * 10**6, arguments.text)
        os.sync()  # else the text's own way to the disk is measured with it
        time.sleep(3)  # a file written just now is read again at the next start
        figures: dict[str, float] = {}
        for name in MEASUREMENTS:
            figures |= measure(name, file, cache)
    report("preparing and reading a text", rows_of(figures), arguments.json, text=arguments.text, bytes=size)


def parse() -> argparse.Namespace:
    options = parser(__doc__, threads=False)
    options.add_argument("--size-mb", type=int, default=1000, help="size of the text in 10^6 bytes (default 1000)")
    options.add_argument(
        "--text", choices=["ascii", "mixed"], default="mixed", help="mixed: a tenth of the words is not ASCII"
    )
    options.add_argument("--folder", type=Path, help="where to put the text and its cache, for the while")
    options.add_argument("--measure", choices=list(MEASUREMENTS), help=argparse.SUPPRESS)
    options.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    options.add_argument("--cache", type=Path, help=argparse.SUPPRESS)
    return options.parse_args()


def write_text(file: Path, size: int, kind: str) -> int:
    """Write random words to a file of about `size` bytes; return the exact number."""
    rng = np.random.default_rng(0)
    alphabets = ["abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789.,;:!?"]
    if kind == "mixed":
        alphabets += ["абвгдежзийклмнопрстуфхцчшщ", "日本語文字列山川"]
    words = []
    for _ in range(20_000):
        letters = list(alphabets[rng.choice(len(alphabets), p=weights(len(alphabets)))])
        words.append("".join(rng.choice(letters, size=rng.integers(2, 10))))
    written = 0
    with file.open("wb") as out:
        while written < size:
            block = " ".join(words[index] for index in rng.integers(0, len(words), size=100_000))
            written += out.write(block.encode() + b"\n")
    return written


def weights(alphabets: int) -> list[float]:
    """Give the share of words in each alphabet: the first has most."""
    rest = 0.05
    return [1 - rest * (alphabets - 1), *[rest] * (alphabets - 1)]


def measure(name: str, file: Path, cache: Path) -> dict[str, float]:
    """Run one measurement in a process of its own."""
    command = [sys.executable, __file__, "--measure", name, "--file", str(file), "--cache", str(cache)]
    result: dict[str, float] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return result


def measure_prepare(file: Path, cache: Path) -> dict[str, float]:
    from char_rnn.data.corpus import prepare_corpus

    start = time.perf_counter()
    prepare_corpus(file, cache_dir=cache)
    seconds = time.perf_counter() - start
    peak = peak_mb()
    prepare_corpus(file, cache_dir=cache)  # notes the text's state, now that it is some seconds old
    return {"prepare_mb_per_s": file.stat().st_size / 1e6 / seconds, "prepare_peak_mb": peak}


def measure_warm(file: Path, cache: Path) -> dict[str, float]:
    from char_rnn.data.dataloader import CharDataset, create_dataloaders

    start = time.perf_counter()
    loaders = create_dataloaders(CharDataset(file, SEQ_LENGTH, cache_dir=cache), BATCH_SIZE)
    next(loaders["train"].epoch(0))
    return {"warm_first_batch_ms": (time.perf_counter() - start) * 1e3}


def measure_epoch(file: Path, cache: Path) -> dict[str, float]:
    from char_rnn.data.dataloader import CharDataset, create_dataloaders

    train = create_dataloaders(CharDataset(file, SEQ_LENGTH, cache_dir=cache), BATCH_SIZE)["train"]
    before = peak_mb()
    start = time.perf_counter()
    total = sum(int(y[0, 0]) for _, y in train.epoch(0))
    seconds = time.perf_counter() - start
    assert total > 0
    figures = {"epoch_characters_per_s": len(train.split) / seconds}
    return {**figures, "epoch_peak_mb": peak_mb(), "epoch_peak_before_mb": before}


def measure_batch(file: Path, cache: Path) -> dict[str, float]:
    """Time batches and training steps in turn, so that both see the same machine."""
    from char_rnn.data.dataloader import CharDataset, create_dataloaders

    dataset = CharDataset(file, SEQ_LENGTH, cache_dir=cache)
    orders = ("streams", "windows")
    sources = {name: create_dataloaders(dataset, BATCH_SIZE, batching=name)["train"] for name in orders}
    batches = {name: cycle_epochs(source.epoch) for name, source in sources.items()}
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


def cycle_epochs(epoch: Callable[[int], Iterator[Any]]) -> Iterator[Any]:
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


def peak_mb() -> float:
    """Give this process's largest resident memory so far, in 10^6 bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage counts the parent's memory before exec, too
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    import resource  # not on Windows

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def rows_of(figures: dict[str, float]) -> list[dict[str, Any]]:
    """Set every figure beside its target."""
    rows = []
    for name, value in figures.items():
        relation, target = TARGETS.get(name, ("", 0.0))
        met = value >= target if relation == ">=" else value <= target
        verdict = f"{relation} {target:g}: {'met' if met else 'missed'}" if relation else ""
        rows.append({"figure": name, "value": value, "target": verdict})
    return rows


MEASUREMENTS: dict[str, Callable[[Path, Path], dict[str, float]]] = {
    "prepare": measure_prepare,
    "warm": measure_warm,
    "epoch": measure_epoch,
    "batch": measure_batch,
}

if __name__ == "__main__":
    main()
