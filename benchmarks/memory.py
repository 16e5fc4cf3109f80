"""How much memory does training take: does it grow with the text, and is what a sequence needs foretold right?

    python benchmarks/memory.py [--sizes-mb 2 2000] [--steps N] [--threads N] [--json FILE]

The first table trains the default model on texts of these sizes through the command line, each in a process of its own,
evaluations of 1 MB at most included, and gives the largest resident memory and the speed of training. The aim: no more
than 100 MB between the smallest and the largest. The second compares, for several models, the peak of a training step
with the bytes that its sequences keep for the backward pass, from which ``batch_size: auto`` tells on the CPU how many
sequences fit.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from data import write_text
from harness import parser, report

EVALUATED = 1_000_000  # characters of a text that are validated on, at most
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
        texts = [on_text(Path(folder), size, arguments) for size in arguments.sizes_mb]
    rows = [{**row, "over the smallest, MB": row["peak, MB"] - texts[0]["peak, MB"]} for row in texts]
    report("training memory by the size of the text", rows, arguments.json, threads=arguments.threads)
    path = arguments.json.with_name(f"{arguments.json.stem}-step.json") if arguments.json else None
    command = [sys.executable, __file__, "--threads", str(arguments.threads), "--step"]
    steps = [json.loads(subprocess.check_output([*command, str(number)])) for number in range(len(MODELS))]
    report("peak of a training step over what it keeps", steps, path, threads=arguments.threads)


def parse() -> argparse.Namespace:
    options = parser(__doc__)
    options.set_defaults(threads=2)
    options.add_argument("--sizes-mb", nargs="+", type=int, default=[2, 2000], help="sizes of the texts in 10^6 bytes")
    options.add_argument("--steps", type=int, default=300, help="training steps on each text")
    options.add_argument("--folder", type=Path, help="where to put the texts and their caches, for the while")
    options.add_argument("--step", type=int, help=argparse.SUPPRESS)
    return options.parse_args()


def on_text(folder: Path, size_mb: int, arguments: argparse.Namespace) -> dict[str, float]:
    """Train on a new text of this size; the run of the table reads it from the cache, as every run but the first."""
    text, run = folder / f"{size_mb}.txt", folder / f"run{size_mb}"
    size = write_text(text, size_mb * 10**6, "ascii")
    share = min(0.05, EVALUATED / size)
    settings = {
        "training.max_steps": arguments.steps, "training.eval_interval": arguments.steps // 2,
        "data.train_frac": 1 - share, "data.val_frac": share, "data.cache_dir": folder / "cache",
        "device.preferred": "cpu", "device.threads": arguments.threads, "logging.log_interval": 50,
    }  # fmt: skip
    words = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    command = [sys.executable, "-m", "char_rnn", "train", str(text), "--quiet", *words, "--out"]
    peaks = [peak_of([*command, str(path)]) for path in (folder / f"first{size_mb}", run)]
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    speeds = sorted(record["characters_per_second"] for record in records if record["split"] == "train")
    text.unlink()
    return {
        "text, MB": size_mb,
        "peak, MB": peaks[1],
        "peak with preparation, MB": peaks[0],
        "characters/s": speeds[len(speeds) // 2],
    }


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
    from char_rnn.training.stepping import Stepper
    from char_rnn.utils.config import Config

    torch.set_num_threads(threads)
    sections = {
        "model": {"type": kind, "hidden_size": hidden, "num_layers": layers, "reset": reset},
        "training": {"precision": precision},
    }
    config = Config.model_validate(sections)
    model = build_model(config.model, symbols, dtype=config.training.parameter_type)
    a_sequence = bytes_of_a_sequence(model, time)
    stepper, unit = Stepper(model, config.training, torch.device("cpu")), 1 if sys.platform == "darwin" else 1024
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
