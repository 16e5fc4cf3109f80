"""What low precision, compilation, processes and large texts cost and gain in training.

    python benchmarks/training.py bfloat16|float16|compile [--text FILE] [--steps N] [--cases "lstm 2x512, batch 50x50"]

compares with float32, not compiled: this package's models, trained from the same weights on the same text, a step of
one and a step of the other. The figures are the median speed, the mean training loss of the last 50 steps, and the
validation loss, computed in float32 for both.

    python benchmarks/training.py processes [--hidden 128 512] [--processes N] [--rounds N] [--steps N]

trains with `char-rnn train` in turn: one process on one thread, one process on N threads, and N processes (over gloo)
on one thread each. The speed is the median of a run's records but the first, in characters/s of the whole batch.

    python benchmarks/training.py memory [--sizes-mb 2 2000] [--rounds N] [--steps N]

trains the default model on texts of these sizes with `char-rnn train`, evaluations included. It reports the peak
resident memory and the speed; the aims are at most 100 MB over the smallest text, at the same speed. A second table
compares, for several models, the peak of a step with the bytes that its sequences keep for the backward pass, from
which ``batch_size: auto`` predicts on the CPU how many sequences fit.

`char-rnn bench training` compares the trainer with the bare PyTorch loop.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import torch
from harness import parser, records, report, train_command

from char_rnn import CharDataset, Config, build_model, create_dataloaders
from char_rnn.bench.baselines import Shape, config_of
from char_rnn.bench.data import write_text
from char_rnn.bench.timing import in_own_process, in_turn, peak_mb, ratio
from char_rnn.training.evaluation import evaluate
from char_rnn.training.train_step import TrainStep
from char_rnn.training.tuning import bytes_of_a_sequence

Row = dict[str, Any]
SHAPES = (Shape(), Shape("lstm", 384, 1, 16, 64), Shape("lstm", 256, 1, 32, 32), Shape("lstm", 512),
          Shape("lstm", 512, 1), Shape("lstm", 512, 2, 64, 64), Shape("lstm", 512, 2, 128, 64),
          Shape("rnn", 512))  # fmt: skip
CASES: dict[str, tuple[Shape, Row]] = {
    **{str(shape): (shape, {}) for shape in SHAPES},
    **{f"gru {reset} 2x512, batch 50x50": (Shape("gru", 512), {"reset": reset}) for reset in ("after", "before")},
}
# cell, reset gate, hidden units, layers, time, symbols, precision
MODELS = (
    ("lstm", "after", 128, 2, 50, 65, "float32"),
    ("lstm", "after", 512, 1, 64, 65, "float32"),
    ("lstm", "after", 128, 1, 50, 3000, "float32"),
    ("lstm", "after", 256, 2, 50, 65, "float64"),
    ("lstm", "after", 512, 2, 50, 65, "bfloat16"),
    ("gru", "after", 256, 2, 50, 65, "float32"),
    ("gru", "before", 256, 2, 50, 65, "float32"),
    ("rnn", "after", 256, 2, 50, 65, "float32"),
)
LAST = 50  # steps whose training loss is averaged
EVALUATED = 100_000  # characters of every text that are validated on
KEPT = 600e6  # approximate bytes that the sequences of the last table keep
BATCH, TIME = 64, 50  # of the runs in processes


def main() -> None:
    arguments = parse()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        title, rows = QUESTIONS[arguments.question](arguments, Path(folder))
    report(title, rows, arguments.json, threads=torch.get_num_threads())
    if arguments.question == "memory":
        os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
        path = arguments.json.with_name(f"{arguments.json.stem}-step.json") if arguments.json else None
        rows = [
            in_own_process("training:peak_of_step", number=n, threads=arguments.threads) for n in range(len(MODELS))
        ]
        report("peak of a training step over what it keeps", rows, path, threads=arguments.threads)


def parse() -> argparse.Namespace:
    options = parser(__doc__)
    options.add_argument("question", choices=list(QUESTIONS))
    options.add_argument("--steps", type=int, help="training steps (default: 300, 40 or 200)")
    options.add_argument("--rounds", type=int, help="runs of each side, in processes and memory (default: 5 or 3)")
    options.add_argument("--text", default="python-stdlib", help="text to train on, to compare losses")
    options.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES), help="cases to compare")
    options.add_argument("--hidden", nargs="+", type=int, default=[128, 512], help="units of a layer, in processes")
    options.add_argument("--processes", type=int, default=2, help="number of processes, and of threads")
    options.add_argument("--sizes-mb", nargs="+", type=int, default=[2, 2000], help="sizes of the texts, in memory")
    options.add_argument("--folder", type=Path, help="folder for texts and runs during the measurement")
    arguments = options.parse_args()
    steps, rounds = {"processes": (40, 5), "memory": (200, 3)}.get(arguments.question, (300, 0))
    arguments.steps, arguments.rounds = arguments.steps or steps, arguments.rounds or rounds
    if arguments.question == "memory":
        arguments.threads = arguments.threads or 2
    return arguments


class Training:
    """A model trained one step a call, with carried state."""

    def __init__(self, name: str, dataset: CharDataset, training: Row) -> None:
        shape, model = CASES[name]
        config = config_of(shape, model, **training)
        torch.manual_seed(0)
        self.model = build_model(config.model, dataset.vocab_size)
        self.stepper = TrainStep(self.model, config.training, torch.device("cpu"))
        self.batches = cycle(create_dataloaders(dataset, shape.batch)["train"].epoch(0))
        self.hidden: Any = None
        self.losses: list[float] = []

    def __call__(self) -> None:
        """Train one step."""
        loss, self.hidden = self.stepper.step(*next(self.batches), self.hidden, 2e-3)
        self.losses.append(loss)


def against_float32(arguments: argparse.Namespace, _: Path) -> tuple[str, list[Row]]:
    """Train each case plainly and with the change, in turn, from the same weights on the same batches."""
    changed = arguments.question
    change = {"compile": True} if changed == "compile" else {"precision": changed}
    rows = []
    for name in arguments.cases:
        shape = CASES[name][0]
        dataset = CharDataset(arguments.text, shape.length)
        sides = {"plain": Training(name, dataset, {}), "changed": Training(name, dataset, change)}
        timings = in_turn(sides, arguments.steps)
        train = {side: statistics.fmean(training.losses[-LAST:]) for side, training in sides.items()}
        split = dataset.with_split("val").split
        val = {side: evaluate(training.model, split).loss for side, training in sides.items()}
        rows.append({
            "case": name,
            "float32 char/s": shape.characters / timings["plain"].median,
            f"{changed} char/s": shape.characters / timings["changed"].median,
            "speed-up": ratio(timings, "plain", "changed"),
            "spread": timings["changed"].spread,
            "float32 loss": train["plain"],
            "loss ratio": train["changed"] / train["plain"],
            "float32 val. loss": val["plain"],
            "val. loss ratio": val["changed"] / val["plain"],
        })  # fmt: skip
    return f"training, {changed} against plain float32: {arguments.text}, {arguments.steps} steps", rows


def processes(arguments: argparse.Namespace, folder: Path) -> tuple[str, list[Row]]:
    """Train with one process and one thread, with threads, and with processes, in turn."""
    text, many = folder / "text.txt", arguments.processes
    write_text(text, 2_000_000)
    sides = {"1 process x 1 thread": (1, 1), f"1 process x {many} threads": (1, many), f"{many} x 1 thread": (many, 1)}
    rows = []
    for hidden in arguments.hidden:
        speeds: dict[str, list[float]] = {name: [] for name in sides}
        for number in range(arguments.rounds):
            for name, (count, threads) in sides.items():
                settings = {
                    "model.hidden_size": hidden, "model.dropout": 0, "training.batch_size": BATCH,
                    "training.seq_length": TIME, "training.eval_interval": 10**6, "logging.log_interval": 5,
                    "logging.save_interval": 10**6, "logging.tensorboard": "false", "data.val_frac": 0,
                    "data.train_frac": 1,
                }  # fmt: skip
                run = folder / f"run-{hidden}-{number}-{name}"
                train(text, run, arguments.steps, threads, settings, count)
                speeds[name].append(speed_of(run))
        first = next(iter(speeds.values()))
        rows += [{"hidden": hidden, "side": name, "characters/s": statistics.median(values),
                  "over 1 x 1": relative(values, first)} for name, values in speeds.items()]  # fmt: skip
    return f"processes against threads, batch {BATCH} x {TIME}", rows


def memory(arguments: argparse.Namespace, folder: Path) -> tuple[str, list[Row]]:
    """Prepare new texts of these sizes, then train on them in turn."""
    peaks: dict[int, list[float]] = {}
    speeds: dict[int, list[float]] = {size: [] for size in arguments.sizes_mb}
    for number in range(-1, arguments.rounds):
        for size_mb in arguments.sizes_mb:
            text, run = folder / f"{size_mb}.txt", folder / f"run{size_mb}-{number}"
            size = text.stat().st_size if text.exists() else write_text(text, size_mb * 10**6)
            settings = {
                "training.eval_interval": arguments.steps // 2, "data.train_frac": 1 - EVALUATED / size,
                "data.val_frac": EVALUATED / size, "logging.log_interval": 20,
            }  # fmt: skip
            peaks.setdefault(size_mb, []).append(train(text, run, arguments.steps, arguments.threads, settings))
            if number >= 0:  # the first run prepares the text
                speeds[size_mb].append(speed_of(run))
    first = arguments.sizes_mb[0]
    rows = [
        {
            "text, MB": size,
            "peak, MB": max(peaks[size][1:]),
            "over the first, MB": max(peaks[size][1:]) - max(peaks[first][1:]),
            "with preparation, MB": peaks[size][0],
            "characters/s": statistics.median(speeds[size]),
            "speed over the first": relative(speeds[size], speeds[first]),
        }
        for size in arguments.sizes_mb
    ]
    return "training memory by the size of the text", rows


def train(text: Path, run: Path, steps: int, threads: int, settings: Row, processes: int = 1) -> float:
    """Train with `char-rnn train`; return the peak resident memory of its process in 10^6 bytes."""
    settings = {
        **settings, "training.max_steps": steps, "device.preferred": "cpu", "device.threads": threads,
        "data.cache_dir": text.parent / "cache",
    }  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    command = train_command(text, run, settings, processes=processes)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{' '.join(command)} failed")
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


def speed_of(run: Path) -> float:
    """Return the median speed of a run's training records but the first, in characters/s."""
    return float(statistics.median(record["characters_per_second"] for record in records(run, "train")[1:]))


def relative(values: Sequence[float], others: Sequence[float]) -> float:
    """Return the median ratio of the rounds."""
    return statistics.median(a / b for a, b in zip(values, others, strict=True))


def peak_of_step(number: int, threads: int) -> Row:
    """Train two steps of a model in this process, on few and on many sequences; return the growth of the peak."""
    kind, reset, hidden, layers, time, symbols, precision = MODELS[number]
    torch.set_num_threads(threads)
    model_section = {"type": kind, "hidden_size": hidden, "num_layers": layers, "reset": reset}
    config = Config.model_validate({"model": model_section, "training": {"precision": precision}})
    model = build_model(config.model, symbols, dtype=config.training.parameter_type)
    a_sequence = bytes_of_a_sequence(model, time)
    stepper, peaks = TrainStep(model, config.training, torch.device("cpu")), []
    many = max(8, int(KEPT / a_sequence))
    for count in (2, many):
        ids, state = torch.randint(0, symbols, (count, time)), None
        for _ in range(2):
            _, state = stepper.step(ids, ids, state, 1e-3)
        peaks.append(peak_mb())
    reset_name = ", reset before" if reset == "before" else ""
    return {
        "model": f"{kind} {layers}x{hidden}, {symbols} symbols, {precision}{reset_name}",
        "sequences": many,
        "kept by one, KB": a_sequence / 1e3,
        "peak / kept": (peaks[1] - peaks[0]) * 1e6 / (many * a_sequence),
    }


QUESTIONS = {
    **dict.fromkeys(("bfloat16", "float16", "compile"), against_float32), "processes": processes, "memory": memory
}  # fmt: skip


if __name__ == "__main__":
    main()
