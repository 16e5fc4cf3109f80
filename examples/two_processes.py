"""Trains the same model in one process and in two, and compares the losses.

    python examples/two_processes.py
    python examples/two_processes.py my-book.txt --steps 500

Two processes each compute half of every batch and sum their gradients, so their steps equal those of one process except
for rounding: no loss may differ by more than 0.0001. On the cores of one machine this is not faster than threads; with
one GPU or machine per process it is.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from char_rnn.data.datasets import NAMES

Record = dict[str, Any]
TOLERANCE = 1e-4  # nats per character


def train(processes: int, text: str, steps: int, folder: Path) -> list[Record]:
    """Train on the CPU with this number of processes; return the training and validation records."""
    settings = {
        "training.max_steps": steps, "training.eval_interval": steps, "logging.log_interval": max(1, steps // 10),
        "logging.sample_length": 0, "device.preferred": "cpu", "device.threads": 1, "model.dropout": 0,
        "data.train_frac": 0.98, "data.val_frac": 0.02,
    }  # fmt: skip
    start = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
    words = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    run = folder / f"{processes}"
    subprocess.run(
        [sys.executable, *start, "-m", "char_rnn", "train", text, "--out", str(run), "--quiet", *words],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def main() -> None:
    """Train twice and print the losses side by side."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("text", nargs="?", default="python-stdlib", help="file, folder or named data set")
    options.add_argument("--steps", type=int, default=200)
    arguments = options.parse_args()
    if arguments.text not in NAMES and not Path(arguments.text).exists():
        options.error(f"{arguments.text}: no such file")
    with TemporaryDirectory() as folder:
        try:
            one, two = (train(processes, arguments.text, arguments.steps, Path(folder)) for processes in (1, 2))
        except subprocess.CalledProcessError as error:
            sys.exit(error.returncode)
    print(f"{'step':>6}  {'split':<5}  {'one process':>12}  {'two':>12}  difference")
    differences = [abs(mine["loss"] - theirs["loss"]) for mine, theirs in zip(one, two, strict=True)]
    for mine, theirs, difference in zip(one, two, differences, strict=True):
        print(
            f"{mine['step']:>6}  {mine['split']:<5}  {mine['loss']:>12.7f}  {theirs['loss']:>12.7f}  {difference:.1e}"
        )
    speeds = [
        max(record["characters_per_second"] for record in records if record["split"] == "train")
        for records in (one, two)
    ]
    print(f"{speeds[0]:,.0f} characters/s in one process, {speeds[1]:,.0f} in two: {speeds[1] / speeds[0]:.2f} times")
    if not max(differences) <= TOLERANCE:
        sys.exit(f"the losses differ by up to {max(differences):.1e}, more than {TOLERANCE:g}")
    print(f"the same losses: they differ by {max(differences):.1e} at most, less than {TOLERANCE:g}")


if __name__ == "__main__":
    main()
