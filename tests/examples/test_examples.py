"""Each example runs as a reader would run it, and keeps what it promises; a short while each."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from made_checkpoints import simple_checkpoint
from t7_writer import dump

from char_rnn.model_file import ModelFile

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.py"))


def run(folder: Path, name: str, *words: object) -> subprocess.CompletedProcess[str]:
    """Run an example in a folder."""
    command = [sys.executable, str(EXAMPLES / f"{name}.py"), *map(str, words)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, encoding="utf-8", check=False)


@pytest.fixture
def book(tmp_path: Path) -> Path:
    path = tmp_path / "my-book.txt"
    path.write_text("def rose(leaf):\n    return 'the (rose) is red'\n\n\nThe violet is blue, she said.\n\n" * 150)
    return path


def test_help_is_quick_and_shows_a_command() -> None:
    script = (
        "import sys, runpy, contextlib, io\n"
        f"for name in {NAMES!r}:\n"
        "    said = io.StringIO()\n"
        "    sys.argv = [name, '--help']\n"
        "    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):\n"
        f"        runpy.run_path({str(EXAMPLES)!r} + f'/{{name}}.py', run_name='__main__')\n"
        "    assert f'python examples/{name}.py' in said.getvalue()\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    assert len(NAMES) == 5


@pytest.mark.parametrize(
    ("name", "words", "message"),
    [
        ("name_generator", ["none.txt"], "none.txt: no such file"),
        ("poet", ["one.txt"], "give two texts, or none"),
        ("poet", ["--dial", "2"], "--dial: must be from 0 to 1"),
        ("reading_a_mind", ["--text", "none.txt"], "none.txt: no such file or folder"),
        ("continue_2015", ["none.t7", "none.txt"], "none.t7: no such file"),
        ("name_generator", ["--begin", "Ж"], "--begin: no name in the list contains Ж"),
        ("name_generator", ["--count", "0"], "--count: must be 1 or more, and --temperature 0 or more"),
        ("reading_a_mind", ["--picture", "none/cells.png"], "none: no such folder"),
        ("reading_a_mind", ["--picture", "cells.xyz"], "a picture's name must end in one of .png, .svg, .pdf"),
        ("reading_a_mind", ["--cells", "0"], "invalid choice: 0 (choose from 1, 2, 3, 4, 5, 6)"),
        (
            "continue_2015",
            [__file__, __file__, "--out", "none/a.safetensors"],
            "must be a file in an existing folder",
        ),
        ("two_processes", ["none.txt"], "none.txt: no such file"),
    ],
)
def test_bad_input(
    tmp_path: Path, name: str, words: list[str], message: str,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [name, *words])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    assert stop.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1].endswith(message)


@pytest.mark.slow
def test_names_are_new(tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    parts = ("an", "be", "cor", "di", "el", "fa", "gun"), ("na", "ra", "lia"), ("", "do", "min", "tha", "s", "rik")
    known = ["".join(name) for name in product(*parts)]
    names.write_text("\n".join(known))
    done = run(tmp_path, "name_generator", names, "--minutes", 0.1, "--count", 5, "--begin", "a", "--temperature", 2)
    assert done.returncode == 0, done.stderr
    invented = done.stdout.splitlines()
    assert len(invented) == len(set(invented)) == 5
    assert all(name.startswith("a") and name not in known for name in invented)
    assert f"training on {len(known)} names" in done.stderr
    names.write_text("ann\n")
    short = run(tmp_path, "name_generator", names)
    assert (short.returncode, len(short.stderr.splitlines())) == (1, 2)
    assert "give more text" in short.stderr


@pytest.mark.slow
def test_the_poet_stands_between_two_voices(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("aba abba baab " * 1500)
    (tmp_path / "two.txt").write_text("ACA ACCA CAAC " * 1500)
    words = ("one.txt", "two.txt", "--minutes", 0.1, "--dial", 0, 0.5, 1, "--length", 300, "--prime", " ")
    done = run(tmp_path, "poet", *words)
    assert done.returncode == 0, done.stderr
    small, between, large = re.split(r"--- [\d.]+ ---\n", done.stdout)[1:]
    assert set("abAC") & set(small) == set("ab")
    assert set("abAC") & set(large) == set("AC")
    assert set("abAC") <= set(between)


@pytest.mark.slow
def test_a_mind_is_read(tmp_path: Path, book: Path) -> None:
    words = ("--text", book, "--minutes", 0.1, "--picture", "cells.svg", "--cells", 2)
    done = run(tmp_path, "reading_a_mind", *words)
    assert done.returncode == 0, done.stderr
    found = re.findall(r"^(.+): layer 0, cell (\d+), correlation (-?[\d.]+)$", done.stdout, re.MULTILINE)
    assert len(found) == 2
    assert abs(float(found[0][2])) >= abs(float(found[1][2])) > 0.2
    plain = re.sub(r"\x1b\[[\d;]*m", "", done.stdout)
    assert "return 'the (rose) is red'" in plain
    assert (tmp_path / "cells.svg").read_text().count(f"{found[0][0]}: layer") == 1


@pytest.mark.slow
def test_a_checkpoint_of_2015_goes_on(tmp_path: Path, book: Path) -> None:
    checkpoint = tmp_path / "lm_lstm_epoch50.00_1.3656.t7"
    checkpoint.write_bytes(dump(simple_checkpoint("lstm", book.read_bytes())))
    done = run(tmp_path, "continue_2015", checkpoint, book, "--minutes", 0.1)
    assert done.returncode == 0, done.stderr
    assert "--- as in 2015 ---\ncreating an lstm..." in done.stdout
    before, now = map(float, re.findall(r"([\d.]+) before, ([\d.]+) now", done.stdout)[0])
    assert now < before
    new = ModelFile.read(tmp_path / "continued.safetensors")
    assert new.config.model.num_layers == 2
    (tmp_path / "bad.t7").write_bytes(b"no checkpoint")
    (tmp_path / "short.txt").write_text("a rose")
    for words in (("bad.t7", book), (checkpoint, "short.txt")):
        refused = run(tmp_path, "continue_2015", *words)
        assert (refused.returncode, len(refused.stderr.splitlines())) == (1, 1)


@pytest.mark.slow
def test_two_processes_make_the_steps_of_one(tmp_path: Path, book: Path) -> None:
    done = run(tmp_path, "two_processes", book, "--steps", 20)
    assert done.returncode == 0, done.stderr
    lines = re.findall(r"^ +(\d+)  (train|val) +([\d.]+) +([\d.]+)  (\S+)$", done.stdout, re.MULTILINE)
    assert [int(line[0]) for line in lines] == [*range(2, 21, 2), 20]
    one, two = np.array([line[2:4] for line in lines], float).T
    np.testing.assert_allclose(one, two, rtol=0, atol=1e-5)
    assert re.search(r"the same losses: they differ by \S+ at most, less than 0.0001$", done.stdout)
    assert re.search(r"characters/s in one process, [\d,]+ in two: [\d.]+ times", done.stdout)
