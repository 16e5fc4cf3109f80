"""The parts of ``device.py`` that are whole runs: the recipe of 2015, resuming, processes, and ``large``."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from device_parts import TESTS, Check, Figure, Found, Part, Setup, attempt, within
from harness import records, train_command

from char_rnn.bench.data import write_text
from char_rnn.torch7.trainer import Torch7Backend
from char_rnn.training.callbacks import Callback
from char_rnn.training.run import RunContext, resume_run, start_run
from char_rnn.training.trainer import CharRNNTrainer
from char_rnn.utils.config import compose_config
from char_rnn.utils.model_files import read_tensors

Losses = Sequence[float]
STEPS = 40  # of the runs that are resumed


def golden(setup: Setup) -> Found:
    """The recipe torch7 on the device: every loss of its runs against the recordings.

    MPS has no float64, so its runs are in float32.
    """
    precision = "float32" if setup.device == "mps" else "float64"
    allowed = 1e-4 if precision == "float32" else 1e-10
    for name, text, settings, recorded in recordings():
        overrides = [*settings, f"data.data_dir={text}", "data.vocabulary=bytes", f"training.precision={precision}"]
        overrides += [*device_settings(setup), "logging.log_interval=1", f"data.cache_dir={setup.folder}"]
        config, run = compose_config("torch7", overrides=overrides), setup.folder / name
        start_run(config, run, context=RunContext(setup.device), backend=Torch7Backend()).train()
        losses = [record["loss"] for record in records(run, "train")]
        off = float(np.max(np.abs(np.array(losses) / recorded - 1))) if len(losses) == len(recorded) else math.inf
        yield within(f"{name}, {precision}, {len(recorded)} steps", off, allowed, "largest relative error of a loss")


def recordings() -> Iterator[tuple[str, Path, Sequence[str], Losses]]:
    """Yield name, text, settings and losses of each recording; those of the 2015 program if they are here."""
    sys.path[:0] = [str(TESTS), str(TESTS / "equivalence")]
    if folder := os.environ.get("CHAR_RNN_GOLDEN_DIR"):
        golden = import_module("test_golden_training")
        for name in golden.RUNS:
            losses = np.load(Path(folder, name, "golden.npz"))["train_losses"]
            yield name, Path(folder, "corpus", "input.txt"), golden.settings_of(Path(folder, name)), losses
        return
    own = import_module("record")
    for name, settings in own.CASES.items():
        losses = json.loads((own.FOLDER / f"{name}.json").read_text(encoding="utf-8"))["losses"]
        yield name, own.TEXT, [*own.COMMON, *settings], losses


def device_settings(setup: Setup) -> list[str]:
    """Return the settings that select the device alone."""
    return [f"device.preferred={setup.device}", "device.auto_detect=false", "device.fallback=false"]


def trained(setup: Setup, text: Path, run: Path, settings: Mapping[str, Any], *options: str, processes: int = 1) -> str:
    """Run a training to its end; return its last message if it fails or takes too long, else an empty text."""
    common = {"data.cache_dir": setup.folder / "cache", "logging.tensorboard": "false"}
    given = {**settings, **common, **dict(setting.split("=") for setting in device_settings(setup))}
    command, seconds = train_command(text, run, given, *options, processes=processes), max(1.0, setup.left - 2)
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds)
    except subprocess.TimeoutExpired:
        return f"not finished after {seconds:.0f} s"
    return ([*done.stderr.strip().splitlines()] or [f"status {done.returncode}"])[-1] if done.returncode else ""


CASES = {
    "lstm": ("model.type=lstm", "model.dropout=0.2"),
    "slstm, matches": ("model.type=slstm", "model.dropout=0.2", "model.match_lengths=[4, 7]"),
    "minlstm, bfloat16": ("model.type=minlstm", "training.precision=bfloat16"),
}


def resume(setup: Setup) -> Found:
    """A run that is resumed from a checkpoint ends with the parameters of an uninterrupted one, bit for bit."""
    text = setup.folder / "text.txt"
    write_text(text, 300_000)
    for number, (name, model) in enumerate(CASES.items()):
        if setup.left < 5:
            yield Check("resuming the other models", None, f"no time left for {name}")
            return
        yield from attempt(name, partial(resume_of, setup, name, text, model, setup.folder / f"{number}"))


def resume_of(setup: Setup, name: str, text: Path, model: Sequence[str], folder: Path) -> Found:
    """Train twice, and continue a copy of the run folder that the first training left half way."""
    hidden = 32 if setup.small else 256
    settings = [*model, f"model.hidden_size={hidden}", "training.batch_size=16", f"training.max_steps={STEPS}",
                f"training.eval_interval={STEPS // 4}", "data.train_frac=0.9", "data.val_frac=0.02",
                "logging.log_interval=1", "logging.tensorboard=false", f"data.data_dir={text}",
                f"data.cache_dir={setup.folder}", *device_settings(setup)]  # fmt: skip
    config, context = compose_config(overrides=settings), RunContext(setup.device)
    half = replace(context, callbacks=[CopyHalfWay(folder / "half")])
    start_run(config, folder / "whole", context=half).train()
    start_run(config, folder / "again", context=context).train()
    resume_run(config, folder / "half", context=context).train()
    whole, again, resumed = (parameters(folder / each) for each in ("whole", "again", "half"))
    yield Check(f"{name}: the same run twice, the same bits", again == whole)
    yield Check(f"{name}: resumed, the same bits", resumed == whole)


class CopyHalfWay(Callback):
    """Copies the run folder between two checkpoints, as a kill would leave it."""

    def __init__(self, target: Path) -> None:
        self._target = target

    def on_step(self, trainer: CharRNNTrainer, loss: float) -> None:
        """Copy the folder a few steps after a checkpoint."""
        if trainer.step == STEPS // 2 + 3 and trainer.run_dir is not None:
            shutil.copytree(trainer.run_dir, self._target)


def parameters(run: Path) -> dict[str, bytes]:
    """Return the bits of the last parameters of a run."""
    return {name: tensor.tobytes() for name, tensor in read_tensors(run / "last.safetensors")[0].items()}


def ranks(setup: Setup) -> Found:
    """Two processes of torchrun against one: the same losses, and their speed."""
    devices = torch.cuda.device_count() if setup.device == "cuda" else 2 if setup.device == "cpu" else 1
    if devices < 2:
        yield Check("two processes", None, f"needs two devices; {devices} found")
        return
    text = setup.folder / "text.txt"
    write_text(text, 300_000)
    settings = {
        "model.hidden_size": 32 if setup.small else 1024, "model.dropout": 0, "training.batch_size": 64,
        "training.max_steps": 30, "training.eval_interval": 1000, "logging.log_interval": 1,
        "logging.sample_length": 0, "device.threads": 1,
    }  # fmt: skip
    found = {}
    for count in (1, 2):
        if problem := trained(setup, text, setup.folder / str(count), settings, processes=count):
            yield Check("one process" if count == 1 else "two processes", False, problem)
            return
        found[count] = records(setup.folder / str(count), "train")
        speed = median(record["characters_per_second"] for record in found[count][10:])
        yield Figure("Processes", {"processes": count, "characters/s": speed})
    one, two = (np.array([record["loss"] for record in found[count]]) for count in (1, 2))
    yield within("losses of 30 steps", float(np.max(np.abs(two / one - 1))), 1e-3, "largest relative difference")


def large(setup: Setup) -> Found:
    """The recipe `large` on 100 MB of random words."""
    began, text = time.monotonic(), setup.folder / "text.txt"
    size = write_text(text, 2_000_000 if setup.small else 100_000_000)
    yield Figure("The text", {"MB": size / 1e6, "seconds": time.monotonic() - began})
    minutes = min(5.0, max(0.1, (setup.left - (10 if setup.small else 40)) / 60))
    small = {
        "model.hidden_size": 32, "model.num_layers": 2, "model.attention_window": 16, "training.batch_size": 8,
        "training.seq_length": 32, "training.warmup_steps": 10, "training.precision": "float32",
    }  # fmt: skip
    run = setup.folder / "run"
    settings = {"logging.log_interval": 10, **(small if setup.small else {})}
    problem = trained(setup, text, run, settings, "--recipe", "large", "--minutes", f"{minutes:.3f}")
    yield Check("the run ends in time", not problem, problem)
    train, val = records(run, "train"), records(run, "val")
    if len(train) < 4 or not val:
        yield Check("progress", False, f"{len(train)} records of the training, {len(val)} evaluations")
        return
    speeds = [record["characters_per_second"] for record in train[1:]]
    half = len(speeds) // 2
    memory = [record.get("memory_allocated", record["memory_rss"]) for record in train]
    yield Figure("Training", {
        "minutes": minutes, "steps": train[-1]["step"], "characters/s": median(speeds),
        "first loss": train[0]["loss"], "last loss": train[-1]["loss"], "validation loss": val[-1]["loss"],
        "memory, MB": memory[-1] / 1e6,
    })  # fmt: skip
    yield Check("the loss is finite and falls", val[-1]["loss"] < train[0]["loss"])
    change = median(speeds[half:]) / median(speeds[:half]) - 1
    yield Check("the speed does not fall", change > -0.2, f"{change:+.1%} in the second half")
    grown = memory[-1] / memory[len(memory) // 2] - 1
    yield Check("the memory does not grow", grown < 0.05, f"{grown:+.1%} in the second half")


PARTS = {
    "golden": Part(golden, 8),
    "resume": Part(resume, 10),
    "ranks": Part(ranks, 8),
    "large": Part(large, 50),
}
