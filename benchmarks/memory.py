"""How much memory does training take: does it grow with the text, and is what a sequence needs foretold right?

    python benchmarks/memory.py [--sizes-mb 2 2000] [--rounds N] [--steps N] [--threads N] [--json FILE]

The first table trains the default model on texts of these sizes through the command line, in turn and each time in a
process of its own, evaluations included, and gives the largest resident memory and the speed of training. The aims: no
more than 100 MB over the smallest text, at the same speed. The second compares, for several models, the peak of a step
with the bytes that its sequences keep for the backward pass, from which ``batch_size: auto`` tells on the CPU how many
sequences fit.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from harness import parser, report

from char_rnn.bench.texts import write_text

EVALUATED = 100_000  # characters of every text that are validated on
MODELS = (
    ("lstm", 128, 2, 50, 65, "float32", "after"),
    ("lstm", 512, 1, 64, 65, "float32", "after"),
    ("lstm", 128, 1, 50, 3000, "float32", "after"),
    ("lstm", 256, 2, 50, 65, "float64", "after"),
    ("lstm", 512, 2, 50, 65, "bfloat16", "after"),
    ("gru", 256, 2, 50, 65, "float32", "after"),
    ("gru", 256, 2, 50, 65, "float32", "before"),
    ("rnn", 256, 2, 50, 65, "float32", "after"),
)
KEPT = 600e6  # bytes that the sequences of the second table keep, about


def main() -> None:
    """Measure both, print two tables, write JSON where asked to."""
    arguments = parse()
    if arguments.step is not None:
        print(json.dumps(peak_of_step(*MODELS[arguments.step], arguments.threads)))
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        rows = on_texts(Path(folder), arguments)
    report("training memory by the size of the text", rows, arguments.json, threads=arguments.threads)
    path = arguments.json.with_name(f"{arguments.json.stem}-step.json") if arguments.json else None
    command = [sys.executable, __file__, "--threads", str(arguments.threads), "--step"]
    steps = [json.loads(subprocess.check_output([*command, str(number)])) for number in range(len(MODELS))]
    report("peak of a training step over what it keeps", steps, path, threads=arguments.threads)


def parse() -> argparse.Namespace:
    options = parser(__doc__)
    options.set_defaults(threads=2)
    options.add_argument("--sizes-mb", nargs="+", type=int, default=[2, 2000], help="sizes of the texts in 10^6 bytes")
    options.add_argument("--steps", type=int, default=200, help="training steps of a run")
    options.add_argument("--rounds", type=int, default=3, help="runs on each text, after the one that prepares it")
    options.add_argument("--folder", type=Path, help="where to put the texts and their caches, for the while")
    options.add_argument("--step", type=int, help=argparse.SUPPRESS)
    return options.parse_args()


def on_texts(folder: Path, arguments: argparse.Namespace) -> list[dict[str, float]]:
    """Prepare new texts of these sizes, then train on each of them in turn; return a row a text."""
    commands = {}
    for size_mb in arguments.sizes_mb:
        text = folder / f"{size_mb}.txt"
        size = write_text(text, size_mb * 10**6, "ascii")
        settings = {
            "training.max_steps": arguments.steps, "training.eval_interval": arguments.steps // 2,
            "data.train_frac": 1 - EVALUATED / size, "data.val_frac": EVALUATED / size, "logging.log_interval": 20,
            "data.cache_dir": folder / "cache", "device.preferred": "cpu", "device.threads": arguments.threads,
        }  # fmt: skip
        words = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
        commands[size_mb] = [sys.executable, "-m", "char_rnn", "train", str(text), "--quiet", *words, "--out"]
    with_preparation = {size: peak_of([*command, str(folder / f"first{size}")]) for size, command in commands.items()}
    peaks: dict[int, list[float]] = {size: [] for size in commands}
    speeds: dict[int, list[float]] = {size: [] for size in commands}
    for number in range(arguments.rounds):
        for size, command in commands.items():
            run = folder / f"run{size}-{number}"
            peaks[size].append(peak_of([*command, str(run)]))
            speeds[size].append(speed_of(run))
    first = arguments.sizes_mb[0]
    return [
        {
            "text, MB": size,
            "peak, MB": max(peaks[size]),
            "over the first, MB": max(peaks[size]) - max(peaks[first]),
            "with preparation, MB": with_preparation[size],
            "characters/s": statistics.median(speeds[size]),
            "speed over the first": statistics.median(a / b for a, b in zip(speeds[size], speeds[first], strict=True)),
        }
        for size in commands
    ]


def speed_of(run: Path) -> float:
    """Return the median speed of a run's training records, in characters/s."""
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    speeds: list[float] = [record["characters_per_second"] for record in records if record["split"] == "train"]
    return statistics.median(speeds)


def peak_of(command: list[str]) -> float:
    """Run a command; return the largest resident memory of its process, in 10^6 bytes."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{' '.join(command)} failed")
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


def peak_of_step(
    kind: str, hidden: int, layers: int, time: int, symbols: int, precision: str, reset: str, threads: int
) -> dict[str, str | float]:
    """Train two steps of as many sequences as keep 600 MB; return how much the peak grew over that."""
    import resource

    import torch

    from char_rnn.models import build_model
    from char_rnn.training.fitting import bytes_of_a_sequence
    from char_rnn.training.train_step import TrainStep
    from char_rnn.utils.config import Config

    torch.set_num_threads(threads)
    sections = {
        "model": {"type": kind, "hidden_size": hidden, "num_layers": layers, "reset": reset},
        "training": {"precision": precision},
    }
    config = Config.model_validate(sections)
    model = build_model(config.model, symbols, dtype=config.training.parameter_type)
    a_sequence = bytes_of_a_sequence(model, time)
    stepper, unit = TrainStep(model, config.training, torch.device("cpu")), 1 if sys.platform == "darwin" else 1024
    peaks = []
    for rows in (2, max(8, int(KEPT / a_sequence))):
        ids, hidden_state = torch.randint(0, symbols, (rows, time)), None
        for _ in range(2):
            _, hidden_state = stepper.step(ids, ids, hidden_state, 1e-3)
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)
    name = f"{kind} {layers}x{hidden}, {symbols} symbols, {precision}" + (", reset before" if reset == "before" else "")
    return {
        "model": name,
        "sequences": rows,
        "kept by one, KB": a_sequence / 1e3,
        "peak / kept": (peaks[1] - peaks[0]) / (rows * a_sequence),
    }


if __name__ == "__main__":
    main()
