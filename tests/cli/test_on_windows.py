"""The command line with what Windows has: see `without_posix`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cli_helpers import SMALL, TEXT

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).with_name("without_posix.py")
COMMANDS: list[list[str]] = [
    ["config", "show", "--recipe", "quickstart"],
    ["train", "poem.txt", "--out", "run", "--set", "training.max_steps=6", "--set", "training.eval_interval=3", *SMALL,
     "--set", "logging.save_interval=2"],
    ["train", "poem.txt", "--resume", "run", "--set", "training.max_steps=9", "--quiet"],
    ["sample", "run", "--length", "20", "--seed", "1", "--quiet"],
    ["eval", "run", "poem.txt", "--json", "--quiet"],
    ["inspect", "run", "--json"],
    ["runs", ".", "--json"],
    ["novelty", "run", "poem.txt", "--num-samples", "1", "--length", "50", "--json", "--quiet"],
    ["plot", "run", "--out", "loss.svg"],
    ["export", "run", "run.html"],
    ["sweep", "quickstart", "poem.txt", "--grid", "training.seed=1,2", "--out", "grid", *SMALL,
     "--set", "training.max_steps=2", "--quiet"],
]  # fmt: skip


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[tuple[int, str]]]:
    folder = tmp_path_factory.mktemp("windows")
    (folder / "poem.txt").write_bytes(TEXT.encode())
    (folder / "commands.json").write_text(json.dumps(COMMANDS), encoding="utf-8")
    environment = {**os.environ, "CHAR_RNN_DATA_DIR": str(folder / "data"), "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "commands.json"], cwd=folder, env=environment, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    print(done.stderr.decode())
    return folder, json.loads(done.stdout)


@pytest.mark.parametrize("number", range(len(COMMANDS)), ids=[command[0] for command in COMMANDS])
def test_a_command_works(outcomes: tuple[Path, list[tuple[int, str]]], number: int) -> None:
    assert outcomes[1][number][0] == 0


def test_files_are_the_same_as_elsewhere(outcomes: tuple[Path, list[tuple[int, str]]]) -> None:
    folder, _ = outcomes
    texts = [path for path in folder.rglob("*") if path.suffix in {".yaml", ".json", ".jsonl", ".svg", ".html"}]
    assert len(texts) > 8
    assert [path.name for path in texts if b"\r" in path.read_bytes()] == []
    records = (folder / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(records[-1])["step"] == 9
