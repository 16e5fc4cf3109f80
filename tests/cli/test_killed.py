"""A training process is killed at random moments, as by a failing power supply, and resumed until it is done."""

from __future__ import annotations

import pickle
import random
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from cli_helpers import Command
from processes import Forked

from char_rnn.model_file import ModelFile
from char_rnn.training.callbacks import MetricsWriter

STEPS, KILLS = 8000, 20
SETTINGS = [
    word
    for setting in (
        f"training.max_steps={STEPS}",
        "model.hidden_size=8", "model.num_layers=1", "model.dropout=0.2", "training.batch_size=4",
        "training.seq_length=8", "training.max_epochs=1000", "training.eval_interval=300",
        "training.schedule=plateau", "training.patience=1000", "training.averaging=polyak", "logging.log_interval=20",
        "logging.save_interval=70", "logging.sample_length=0", "device.preferred=cpu", "device.threads=1",
        "data.train_frac=0.8", "data.val_frac=0.1",
    )
    for word in ("--set", setting)
]  # fmt: skip


def records(run: Path) -> list[dict[str, Any]]:
    """What was measured, but for the time it took and the memory."""
    varying = ("seconds", "characters_per_second", "memory_")
    return [
        {k: v for k, v in record.items() if not k.startswith(varying)}
        for record in MetricsWriter(run / "metrics.jsonl").read()
    ]


@pytest.mark.slow
def test_killed_at_twenty_random_moments_a_run_ends_the_same(poem: Path, tmp_path: Path) -> None:
    """Final parameters equal to the bit, no temporary file left, every record there once."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    settings = [*SETTINGS, "--set", f"data.cache_dir={tmp_path / 'cache'}", "--quiet"]
    began = time.monotonic()
    undisturbed = Forked(["train", str(poem), "--out", str(whole), *settings])
    undisturbed.communicate(timeout=240)
    assert undisturbed.returncode == 0
    longest = time.monotonic() - began

    moments, kills, deaths = random.Random(2015), 0, []
    while True:
        begun = (parts / "training_state.safetensors").exists()
        words = ["--resume", str(parts), "--quiet"] if begun else [str(poem), "--out", str(parts), *settings]
        process = Forked(["train", *words])
        if kills < KILLS:
            wait_for_training(process, parts)
            time.sleep(moments.uniform(0, longest / KILLS / 2))
            process.send_signal(signal.SIGKILL)
            kills += 1
        _, err = process.communicate(timeout=240)
        deaths.append(process.returncode)
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, err
    assert deaths.count(-signal.SIGKILL) >= KILLS - 3, "the run was done before it could be killed"

    assert not [path.name for path in parts.rglob("*.tmp")]
    assert records(whole) == records(parts)
    assert {path.name for path in whole.iterdir()} == {path.name for path in parts.iterdir()}
    for name in ("last.safetensors", "best.safetensors"):
        expected, found = ModelFile.read(whole / name).tensors, ModelFile.read(parts / name).tensors
        assert all((found[key] == array).all() for key, array in expected.items()), name


def wait_for_training(process: Forked, run: Path) -> None:
    """Return once the process has written something since it started, so that the moments fall into the training."""
    metrics, deadline = run / "metrics.jsonl", time.time() + 60
    started = time.time()
    while process.returncode is None and time.time() < deadline:
        if metrics.exists() and metrics.stat().st_mtime > started:
            return
        time.sleep(0.005)


class Trap:
    """Pickled, it writes a file when it is loaded."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.write_text, (self.target, "run"))


@pytest.mark.parametrize(
    ("write", "says"),
    [
        (lambda trap, path: path.write_bytes(pickle.dumps(trap)), "not a model file, or cut short"),
        (torch.save, "a checkpoint of torch.save, not a model; it is not opened, because loading it can run code"),
    ],
)
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("training_state.safetensors", ("train", "--resume")),
        ("best.safetensors", ("sample",)),
        ("best.safetensors", ("inspect",)),
        ("best.safetensors", ("train", "TEXT", "--init-from")),
    ],
)
def test_no_file_of_a_run_can_run_code(
    char_rnn: Command,
    run_folder: Path,
    poem: Path,
    tmp_path: Path,
    name: str,
    arguments: tuple[str, ...],
    write: Any,
    says: str,
) -> None:
    """A pickle in the place of a checkpoint, as ``torch.save`` writes one, is refused and not loaded."""
    run, written = tmp_path / "run", tmp_path / "written"
    shutil.copytree(run_folder, run)
    write(Trap(written), run / name)
    done = char_rnn(*(str(poem) if word == "TEXT" else word for word in arguments), run)
    assert not written.exists()
    assert done.refused(1, f"{run / name}: {says}")


def test_a_resumed_run_replaces_a_pickle_in_the_place_of_its_last_model(
    char_rnn: Command, run_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run, written = tmp_path / "run", tmp_path / "written"
    shutil.copytree(run_folder, run)
    torch.save(Trap(written), run / "last.safetensors")
    assert char_rnn("train", "--resume", run).status == 0
    assert not written.exists()
    assert "last.safetensors: a checkpoint of torch.save, not a model" in caplog.text
    assert ModelFile.read(run / "last.safetensors").tensors
