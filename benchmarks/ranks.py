"""What do several processes gain over several threads?

    python benchmarks/ranks.py [--hidden 128 512] [--rounds N] [--steps N] [--json FILE]

Trains the same model on the same batches through the command line, in turn: one process on one thread, one process on
as many threads as there are to be processes, and that many processes (over gloo) on one thread each. The speed is the
median of the run's own training records, in characters/s over the whole batch, after the first record; the ratios are
to one process on one thread, round by round.
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

from char_rnn.bench.preparing import write_text


def main() -> None:
    """Measure every size, print a table."""
    arguments = parse()
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder, "text.txt")
        write_text(text, 2_000_000, "ascii")
        rows = [row for hidden in arguments.hidden for row in compare(hidden, text, arguments)]
    report("processes against threads", rows, arguments.json, batch=f"{arguments.batch} x {arguments.time}")


def parse() -> argparse.Namespace:
    options = parser(__doc__, threads=False)
    options.add_argument("--hidden", nargs="+", type=int, default=[128, 512], help="units of each of the two layers")
    options.add_argument("--batch", type=int, default=64, help="sequences of a batch, over all processes")
    options.add_argument("--time", type=int, default=50, help="characters of each")
    options.add_argument("--processes", type=int, default=2)
    options.add_argument("--steps", type=int, default=40, help="training steps of a run")
    options.add_argument("--rounds", type=int, default=5)
    return options.parse_args()


def compare(hidden: int, text: Path, arguments: argparse.Namespace) -> list[dict[str, str | int | float]]:
    """Return a row a side."""
    many = arguments.processes
    sides = {"1 process x 1 thread": (1, 1), f"1 process x {many} threads": (1, many), f"{many} x 1 thread": (many, 1)}
    speeds: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(arguments.rounds):
        for name, (processes, threads) in sides.items():
            run = text.parent / f"run-{hidden}-{number}-{processes}-{threads}"
            speeds[name].append(speed(processes, threads, hidden, text, run, arguments))
    first = speeds["1 process x 1 thread"]
    return [
        {
            "hidden": hidden,
            "side": name,
            "characters/s": statistics.median(values),
            "over 1 x 1": statistics.median(a / b for a, b in zip(values, first, strict=True)),
        }
        for name, values in speeds.items()
    ]


def speed(processes: int, threads: int, hidden: int, text: Path, run: Path, arguments: argparse.Namespace) -> float:
    """Train once; return the characters a second."""
    settings = {
        "model.hidden_size": hidden, "model.dropout": 0, "training.batch_size": arguments.batch,
        "training.seq_length": arguments.time, "training.max_steps": arguments.steps,
        "training.eval_interval": 10**6, "logging.log_interval": 5, "logging.save_interval": 10**6,
        "logging.tensorboard": "false", "data.val_frac": 0, "data.train_frac": 1, "device.preferred": "cpu",
        "device.threads": threads, "data.cache_dir": text.parent / "cache",
    }  # fmt: skip
    words = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    start = [sys.executable, *(launcher if processes > 1 else []), "-m", "char_rnn", "train", str(text)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    command = [*start, "--out", str(run), "--quiet", *words]
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    speeds: list[float] = [record["characters_per_second"] for record in records[1:]]
    return statistics.median(speeds)


if __name__ == "__main__":
    main()
