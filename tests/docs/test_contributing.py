"""The changes that CONTRIBUTING.md shows: each applies to the tree as it is, and gives what the page says."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
SECTIONS = {section.partition("\n")[0]: section for section in PAGE.split("\n## ")[1:]}
CHANGES = [name for name, section in SECTIONS.items() if "```diff" in section]
TINY = (
    "model.hidden_size=8",
    "training.max_steps=2",
    "training.batch_size=4",
    "training.seq_length=10",
    "device.threads=1",
)
ENGINE_AGREES = """
import numpy as np, torch
from char_rnn.generation.engine import Engine
from char_rnn.models import build_model
from char_rnn.utils.config import ModelConfig
for options in ({}, {"zoneout": 0.2, "num_layers": 1}, {"layer_norm": "between", "residual": True}):
    config = ModelConfig(type="mgu", hidden_size=7, **options)
    model = build_model(config, 5, dtype="float64").eval()
    ids = np.array([0, 3, 1, 4, 4, 2])
    expected = model(torch.tensor(ids)[None])[0][0].detach().numpy()
    streams = Engine(config, {name: part.numpy() for name, part in model.state_dict().items()}, "float64").begin()
    assert np.allclose([streams.step([symbol])[0] for symbol in ids], expected, rtol=0, atol=1e-12)
"""
EPSILON_FILTERS = """
import numpy as np
from char_rnn.sampling.strategies import probabilities
log_probs = np.log([0.6, 0.3, 0.06, 0.04])
assert np.allclose(probabilities(log_probs, epsilon=0.05), np.array([0.6, 0.3, 0.06, 0]) / 0.96)
assert probabilities(log_probs, epsilon=1).tolist() == [1, 0, 0, 0]
"""

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Tree:
    """A copy of the sources, and an empty folder to work in."""

    folder: Path
    desk: Path

    def apply(self, change: str) -> list[str]:
        """Apply a change; return the modules that it touches."""
        [diff] = re.findall(r"^```diff\n(.*?)^```", SECTIONS[change], re.M | re.S)
        subprocess.run(["git", "apply", "-"], cwd=self.folder, input=diff, text=True, check=True)
        return re.findall(r"^\+\+\+ b/(.*\.py)$", diff, re.M)

    def python(self, *arguments: str, where: Path | None = None) -> str:
        """Run Python on the copy; return what it printed."""
        environment = {**os.environ, "PYTHONPATH": str(self.folder / "src")}
        command = [sys.executable, *arguments]
        where = where or self.desk
        done = subprocess.run(command, check=False, cwd=where, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def run(self, command: str) -> str:
        """Run a command of the page, with training cut to two steps of a tiny model."""
        program, *arguments = shlex.split(command)
        if program == "pytest":
            return self.python("-m", "pytest", "-q", *arguments, where=self.folder)
        if program == "python":
            return self.python(*arguments, where=self.folder)
        assert program == "char-rnn"
        if arguments[0] == "train":
            arguments += [word for setting in TINY for word in ("--set", setting)]
        return self.python("-m", "char_rnn", *arguments)

    def follow(self, change: str) -> list[str]:
        """Apply a change and run what the page has below it."""
        self.apply(change)
        _, _, after = SECTIONS[change].partition("```diff")
        blocks = re.findall(r"^```\n(.*?)^```", after.partition("```\n")[2], re.M | re.S)
        return [self.run(line) for block in blocks for line in block.splitlines()]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    if shutil.which("git") is None:
        pytest.skip("needs git, which applies the changes")
    folder, desk = tmp_path / "tree", tmp_path / "desk"
    for part in ("src", "tests", "docs", ".ci"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    desk.mkdir()
    (desk / "my-book.txt").write_text("The rose is red, the violet blue; the honey's sweet, and so are you.\n" * 40)
    return Tree(folder, desk)


def test_a_recipe(tree: Tree) -> None:
    tree.follow("A recipe")
    assert "A minute, to see whether a text is worth more: a small GRU\n" in tree.run("char-rnn config list")
    assert '"model": "gru 1x8"' in tree.run("char-rnn runs --json")


def test_a_strategy(tree: Tree) -> None:
    tree.run("char-rnn train my-book.txt --out runs/my-book --quiet")
    _, text = tree.follow("A strategy")
    assert len(text) > 100
    tree.python("-c", EPSILON_FILTERS)
    assert "| `--epsilon` | `epsilon` |" in (tree.folder / "docs" / "sampling.md").read_text("utf-8")
    tree.run("pytest tests/sampling tests/cli/test_help.py tests/utils/test_config.py tests/playground/test_openapi.py")


def test_a_cell(tree: Tree) -> None:
    _, tests, _, text = tree.follow("A cell")
    assert " passed" in tests
    assert len(text) > 100
    tree.python("-c", ENGINE_AGREES)
    tree.run("pytest tests/utils/test_config.py tests/test_public_api.py")
    for name in ("mgu.html", "mgu.pt"):
        tree.run(f"char-rnn export runs/mgu {name}")
        assert (tree.desk / name).stat().st_size > 1000


def test_all_of_them_together_are_good_style(tree: Tree) -> None:
    modules = {module for change in CHANGES for module in tree.apply(change)}
    assert len(CHANGES) == 3
    pytest.importorskip("ruff", reason="ruff is not installed")
    tree.python("-m", "ruff", "check", *modules, where=tree.folder)
    tree.python("-m", "ruff", "format", "--check", *modules, where=tree.folder)
