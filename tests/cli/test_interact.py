"""``char-rnn interact``: what it begins with and what it leaves behind; and once in a real terminal."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cli_helpers import Command
from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from char_rnn.cli import interact
from char_rnn.model_file import ModelFile

Type = Callable[[str], None]


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> Iterator[Type]:
    """A function that presses keys, in a terminal that is none."""
    monkeypatch.setattr(interact, "_is_terminal", lambda: True)
    with create_pipe_input() as pipe, create_app_session(input=pipe, output=DummyOutput()):
        yield pipe.send_text


LEAVE = "\x11"


def test_the_text_is_printed_at_the_end(char_rnn: Command, run_folder: Path, keys: Type) -> None:
    keys("red\x7fs" + LEAVE)
    done = char_rnn("interact", run_folder, "--prime", "The ")
    assert (done.status, done.out, done.err) == (0, "The res\n", "")


def test_the_text_goes_to_a_file(char_rnn: Command, run_folder: Path, keys: Type, tmp_path: Path) -> None:
    path, story = tmp_path / "out.txt", tmp_path / "story.txt"
    story.write_bytes(b"The rose\r\n")
    keys("is" + LEAVE)
    done = char_rnn("interact", run_folder, "--prime-file", story, "--out", path, "--seed", 1, "--temperature", 0.5)
    assert (done.status, done.out, done.err) == (0, "", f"the text is in {path}\n")
    assert path.read_text(encoding="utf-8") == "The rose\nis"


def model_bytes(run_folder: Path) -> bytes:
    return (run_folder / "best.safetensors").read_bytes()


def test_nothing_written_leaves_nothing(char_rnn: Command, run_folder: Path, keys: Type, tmp_path: Path) -> None:
    keys(LEAVE)
    done = char_rnn("interact", run_folder, "--out", tmp_path / "out.txt")
    assert (done.status, done.out) == (0, "")
    assert not (tmp_path / "out.txt").exists()


def test_a_file_that_cannot_be_written_loses_nothing(
    char_rnn: Command, run_folder: Path, keys: Type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from char_rnn.interact import draft

    def save(text: str, path: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(draft, "save", save)
    keys("rose" + LEAVE)
    done = char_rnn("interact", run_folder, "--out", "out.txt")
    assert done.status == 1
    kept = list(tmp_path.glob("char-rnn-draft-*.txt"))
    assert [path.read_text(encoding="utf-8") for path in kept] == ["rose"]
    assert done.err == f"the text is in {kept[0]}\nerror: out.txt: permission denied\n"


def test_what_breaks_loses_nothing(
    char_rnn: Command, run_folder: Path, keys: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    from char_rnn.interact.draft import Draft

    monkeypatch.setattr(Draft, "undo", lambda _: 1 / 0)
    keys("rose\x1a")
    done = char_rnn("interact", run_folder)
    assert (done.status, done.out) == (1, "rose\n")
    assert done.err.count("\n") == 1


def test_the_model_learns_from_what_is_written(char_rnn: Command, run_folder: Path, keys: Type, tmp_path: Path) -> None:
    """The model file stays the same; the learned copy is a model that can be sampled and learns on."""
    story, learned, before = tmp_path / "story.txt", tmp_path / "learned.safetensors", model_bytes(run_folder)
    story.write_text("The rose is red, the rose is red.\n" * 3)
    keys("the rose is red, the rose is red" + LEAVE)
    done = char_rnn("interact", run_folder, "--prime-file", story, "--learn", "--save-learned", learned)
    assert done.status == 0, done.err
    assert done.err.endswith(f"wrote the learned model to {learned}\n")
    assert model_bytes(run_folder) == before
    first, second = ModelFile.read(run_folder), ModelFile.read(learned)
    assert first.tensors.keys() == second.tensors.keys()
    assert not all(np.array_equal(first.tensors[name], second.tensors[name]) for name in first.tensors)
    assert second.training["init_from"] == str(run_folder)
    assert "best_val_loss" not in second.training
    keys(LEAVE)
    again = char_rnn("interact", learned, "--prime-file", story, "--learn", "--learn-rate", 0.01)
    assert (again.status, again.out) == (0, story.read_text() + "\n")


def test_a_model_in_8_bits_learns_too(char_rnn: Command, run_folder: Path, keys: Type, tmp_path: Path) -> None:
    small, learned = tmp_path / "small.safetensors", tmp_path / "learned.safetensors"
    replace(ModelFile.read(run_folder), in_8_bits=True).write(small)
    keys("the rose is red, the rose" + LEAVE)
    done = char_rnn("interact", small, "--learn", "--save-learned", learned)
    assert (done.status, done.out) == (0, "the rose is red, the rose\n"), done.err
    assert ModelFile.read(learned).number_types == ["float32"]
    before = learned.read_bytes()
    done = char_rnn("interact", learned, "--learn", "--save-learned", learned)
    assert done.refused(2, f"{learned}: exists already; give another name (")
    assert learned.read_bytes() == before


def test_learning_without_torch_is_one_line(
    char_rnn: Command, run_folder: Path, keys: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    message = "--learn needs PyTorch, which is not installed; run: pip install torch"
    assert char_rnn("interact", run_folder, "--learn").refused(1, message)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--learn-rate", "0.1"], "--learn-rate has no effect without --learn"),
        (["--save-learned", "new.safetensors"], "--save-learned has no effect without --learn"),
        (["--learn", "--learn-rate", "0"], "--learn-rate"),
        (["--learn", "--learn-rate", "nan"], "nan is not a finite number"),
        (["--learn", "--save-learned", "new.txt"], "new.txt: must end in .safetensors"),
        (["--learn", "--save-learned", "no/new.safetensors"], "no: no such folder"),
        (["--prime", "a", "--prime-file", __file__], "not both"),
        (["--prime-file", "nowhere.txt"], "nowhere.txt"),
        (["--length", "0"], "--length"),
        (["--out", "no/story.txt"], "--out: no: no such folder"),
        (["--temperature", "-1"], "--temperature"),
        (["--temperature", "inf"], "temperature: must be a number, 0 or more"),
    ],
)
def test_a_false_command_line_is_one_line(
    char_rnn: Command, run_folder: Path, keys: Type, options: list[str], message: str
) -> None:
    assert char_rnn("interact", run_folder, *options).refused(2, message)


def test_a_prime_file_that_is_not_utf8_is_one_line(
    char_rnn: Command, run_folder: Path, keys: Type, tmp_path: Path
) -> None:
    (tmp_path / "story.txt").write_bytes(b"a\xff")
    done = char_rnn("interact", run_folder, "--prime-file", tmp_path / "story.txt")
    assert done.refused(1, "story.txt: not utf-8 (byte 0xFF at offset 1); give its encoding")


def test_without_a_terminal_there_is_one_line(char_rnn: Command, run_folder: Path) -> None:
    assert char_rnn("interact", run_folder).refused(2, "needs a terminal")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals of this kind")
def test_in_a_real_terminal(run_folder: Path) -> None:
    import pty

    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "char_rnn", "interact", str(run_folder), "--prime", "The "]
    environment = {**os.environ, "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"}
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, env=environment, start_new_session=True
    ) as process:
        os.close(theirs)
        _read_until(ours, b"next, at")
        os.write(ours, b"rose" + LEAVE.encode())
        left = _read_until(ours, b"\x1b[?1049l").partition(b"\x1b[?1049l")[2]
        if b"The rose" not in left:
            _read_until(ours, b"The rose")
        assert process.wait(60) == 0
        assert process.stderr is not None
        assert process.stderr.read() == b""
    os.close(ours)


def _read_until(terminal: int, expected: bytes) -> bytes:
    found, end = b"", time.monotonic() + 60
    while expected not in found and time.monotonic() < end:
        found += os.read(terminal, 4096)
    assert expected in found
    return found
