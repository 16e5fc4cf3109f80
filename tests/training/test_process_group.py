"""Process groups: the numbers of one process, stopping and resuming, and the death of a process."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from processes import Forked
from training_helpers import REGULARIZED, timeless

from char_rnn.cli import main
from char_rnn.model_file import ModelFile
from char_rnn.training.callbacks import MetricsWriter
from char_rnn.training.process_group import ProcessGroup

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals, and gloo over sockets")

TEXT = "The rose is red, the violet blue; the honey's sweet, and so are you.\n" * 90
SETTINGS = (
    "model.hidden_size=8", "model.num_layers=2", "model.match_lengths=[2, 5]", "model.match_window=40",
    "training.batch_size=5", "training.seq_length=10",
    "training.precision=float64", "training.schedule=constant", "training.learning_rate=0.01",
    "training.eval_interval=15", "training.max_epochs=100", "logging.log_interval=5", "logging.save_interval=10",
    "logging.tensorboard=false", "data.train_frac=0.8", "data.val_frac=0.1", "device.preferred=cpu",
    "device.threads=1",
)  # fmt: skip


def command(folder: Path, *arguments: object) -> list[str]:
    settings = [*SETTINGS, f"data.cache_dir={folder / 'cache'}"]
    words = [word for setting in settings for word in ("--set", setting)]
    return ["train", *words, *map(str, arguments)]


def start(count: int, arguments: list[str]) -> list[Forked]:
    """Start the processes with the environment that torchrun sets."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    return [Forked(arguments, {**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}) for rank in range(count)]


def finish(processes: list[Forked]) -> list[tuple[int, str, str]]:
    outputs = [process.communicate(timeout=120) for process in processes]
    return [(process.returncode or 0, *output) for process, output in zip(processes, outputs, strict=True)]


def train(count: int, arguments: list[str]) -> list[tuple[int, str, str]]:
    outcomes = finish(start(count, arguments))
    assert [status for status, _, _ in outcomes] == [0] * count, outcomes
    return outcomes


def saved_step(run: Path) -> int:
    path = run / "last.safetensors"
    return int(ModelFile.read(path).training["step"]) if path.exists() else 0


def weights(run: Path) -> dict[str, Any]:
    return dict(ModelFile.read(run / "last.safetensors").tensors)


@pytest.fixture(scope="module")
def poem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ranks") / "poem.txt"
    path.write_text(TEXT)
    return path


@pytest.fixture(scope="module")
def teacher(poem: Path) -> Path:
    """The folder of a run to learn from."""
    run = poem.parent / "teacher"
    train(1, command(poem.parent, poem, "--out", run, "--quiet", "--set", "training.max_steps=5"))
    return run


@pytest.fixture(scope="module")
def one_and_two(poem: Path) -> tuple[Path, Path]:
    """The same run of 40 steps in one process and in two, which share 5 streams as 2 and 3, in parts of two."""
    runs = poem.parent / "one", poem.parent / "two"
    plain = ["--set", "model.dropout=0", "--set", "training.max_steps=40", "--quiet"]
    with pytest.raises(SystemExit, match="0"):
        main(command(poem.parent, poem, "--out", runs[0], *plain))
    outcomes = train(2, command(poem.parent, poem, "--out", runs[1], *plain, "--set", "training.micro_batch_size=2"))
    assert outcomes[0][1]
    out, err = outcomes[1][1:]
    assert [line for line in out.splitlines() if not line.startswith("[Gloo]")] == []  # PyTorch 2.8 prints those
    assert err == ""
    return runs


@pytest.mark.slow
def test_two_processes_equal_one(one_and_two: tuple[Path, Path]) -> None:
    one, two = map(weights, one_and_two)
    for name, expected in one.items():
        np.testing.assert_allclose(two[name], expected, rtol=0, atol=1e-12, err_msg=name)
    records = [timeless(run) for run in one_and_two]
    assert [(r["step"], r["split"]) for r in records[0]] == [(r["step"], r["split"]) for r in records[1]]
    for first, second in zip(*records, strict=True):
        assert first["loss"] == pytest.approx(second["loss"], rel=1e-12)
    assert {record["split"] for record in records[0]} == {"train", "val", "test"}


@pytest.mark.slow
def test_only_the_first_process_writes(one_and_two: tuple[Path, Path]) -> None:
    files = [sorted(path.name for path in run.iterdir()) for run in one_and_two]
    assert files[0] == files[1]
    steps = [r["step"] for r in MetricsWriter(one_and_two[1] / "metrics.jsonl").read() if r["split"] == "train"]
    assert steps == [*range(5, 41, 5)]


@pytest.mark.slow
def test_resuming_with_another_number_of_processes(poem: Path, one_and_two: tuple[Path, Path]) -> None:
    """Two processes for 20 steps, then one: the carried state of all streams is restored."""
    run = poem.parent / "fewer"
    plain = ["--set", "model.dropout=0", "--quiet"]
    train(2, command(poem.parent, poem, "--out", run, *plain, "--set", "training.max_steps=20"))
    train(1, ["train", "--resume", str(run), "--set", "training.max_steps=40", "--quiet"])
    for name, expected in weights(one_and_two[0]).items():
        np.testing.assert_allclose(weights(run)[name], expected, rtol=0, atol=1e-12, err_msg=name)


@pytest.mark.slow
def test_too_many_processes_are_refused_once(poem: Path) -> None:
    arguments = command(poem.parent, poem, "--out", poem.parent / "none", "--set", "training.batch_size=1")
    outcomes = finish(start(2, arguments))
    assert outcomes[0][0] != 0
    assert "training.batch_size 1 cannot be shared among 2 processes" in outcomes[0][2]
    assert outcomes[0][2].count("error") == 1
    assert "Traceback" not in "".join(err for _, _, err in outcomes)


@pytest.mark.slow
def test_stopped_and_resumed_with_dropout_is_exact(poem: Path, teacher: Path) -> None:
    """Every process continues with its own dropout masks and states of a teacher; the result is bit-identical."""
    whole, parts = poem.parent / "whole", poem.parent / "parts"
    dropout = ["--set", "model.dropout=0.3", "--set", f"training.teacher={teacher}", "--quiet"]
    train(2, command(poem.parent, poem, "--out", whole, *dropout, "--set", "training.max_steps=30"))
    train(2, command(poem.parent, poem, "--out", parts, *dropout, "--set", "training.max_steps=12"))
    train(2, ["train", "--resume", str(parts), "--set", "training.max_steps=30", "--quiet"])
    for name, expected in weights(whole).items():
        assert (weights(parts)[name] == expected).all(), name


@pytest.mark.slow
def test_two_regularized_processes_equal_one(poem: Path, teacher: Path) -> None:
    """Regularizers, a teacher, and an average of the parameters."""
    training = {
        **REGULARIZED,
        "teacher": teacher,
        "averaging": "ema",
        "averaging_decay": 0.9,
        "learning_rate": 1.0,
        "max_steps": 40,
    }
    options = [word for name, value in training.items() for word in ("--set", f"training.{name}={value}")]
    runs = [poem.parent / f"regularized{count}" for count in (1, 2)]
    for count, run in enumerate(runs, 1):
        train(count, command(poem.parent, poem, "--out", run, *options, "--set", "model.dropout=0", "--quiet"))
    one, two = map(timeless, runs)
    assert [r["loss"] for r in one if "split" in r] == pytest.approx([r["loss"] for r in two if "split" in r], rel=1e-6)


@pytest.mark.slow
def test_all_processes_test_the_best_model_of_an_earlier_part(poem: Path) -> None:
    """Resumed with a rate that ruins the model: the best is that of step 15, which is only in a file."""
    run = poem.parent / "ruined"
    train(2, command(poem.parent, poem, "--out", run, "--set", "training.max_steps=15", "--quiet"))
    ruin = [
        "--set",
        "training.max_steps=20",
        "--set",
        "training.learning_rate=9",
        "--set",
        "training.explosion_factor=0",
    ]
    train(2, ["train", "--resume", str(run), *ruin, "--quiet"])
    best = ModelFile.read(run / "best.safetensors").training
    tests = [r for r in MetricsWriter(run / "metrics.jsonl").read() if r["split"] == "test"]
    assert best["step"] == 15
    assert len(tests) == 2
    assert tests[0]["loss"] == pytest.approx(tests[1]["loss"], rel=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_the_death_of_one_process_ends_the_others_with_a_message(poem: Path, victim: int) -> None:
    run = poem.parent / f"death{victim}"
    processes = start(2, command(poem.parent, poem, "--out", run, "--set", "training.max_steps=1000000"))
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and saved_step(run) < 20:
        time.sleep(0.05)
    processes[victim].send_signal(signal.SIGKILL)
    status, _, err = finish(processes)[1 - victim]
    assert status == 1, err
    assert "another process of this run has ended" in err
    assert "--resume" in err
    assert "Traceback" not in err
    assert saved_step(run) >= 20
    reached = MetricsWriter(run / "metrics.jsonl").read()[-1]["step"] // 10 * 10 + 20
    train(2, ["train", "--resume", str(run), "--set", f"training.max_steps={reached}", "--quiet"])
    steps = [r["step"] for r in MetricsWriter(run / "metrics.jsonl").read() if r["split"] == "train"]
    assert steps == [*range(5, reached + 1, 5)]


@pytest.mark.slow
def test_a_signal_stops_all_after_the_same_step(poem: Path) -> None:
    run = poem.parent / "stopped"
    processes = start(2, command(poem.parent, poem, "--out", run, "--set", "training.max_steps=1000000"))
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not list(run.glob("step-*")):
        time.sleep(0.05)
    processes[1].send_signal(signal.SIGTERM)
    outcomes = finish(processes)
    assert outcomes[1][0] == 143
    assert "continue with: char-rnn train" in outcomes[0][2]
    assert ModelFile.read(run / "last.safetensors").training["step"] > 0


@pytest.mark.slow
def test_torchrun_starts_a_run(poem: Path, one_and_two: tuple[Path, Path]) -> None:
    run = poem.parent / "torchrun"
    plain = ["--set", "model.dropout=0", "--set", "training.max_steps=40", "--quiet"]
    arguments = command(poem.parent, poem, "--out", run, *plain)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*launcher, "-m", "char_rnn", *arguments], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    for name, expected in weights(one_and_two[0]).items():
        np.testing.assert_allclose(weights(run)[name], expected, rtol=0, atol=1e-12, err_msg=name)


@pytest.mark.parametrize(("total", "count"), [(5, 2), (64, 3), (2, 4), (7, 7)])
def test_rows_are_divided_evenly_without_gaps(total: int, count: int) -> None:
    shares = [ProcessGroup(rank, count).rows(total) for rank in range(count)]
    assert [row for share in shares for row in range(total)[share]] == list(range(total))
    sizes = [share.stop - share.start for share in shares]
    assert max(sizes) - min(sizes) <= 1


def test_a_single_process_needs_no_communication() -> None:
    alone, tensor = ProcessGroup(), torch.ones(2)
    assert (alone.sum(2.5), alone.any(True), alone.broadcast(3.0), alone.min(4.0)) == (2.5, True, 3.0, 4.0)
    assert alone.gather(tensor)[0] is tensor
    assert alone.in_turn(lambda: 7) == 7
