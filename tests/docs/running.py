"""Runs the commands of a page as a reader would, in a folder of its own, with trainings cut to a few steps.

A command of this program alone runs in this process, which has PyTorch loaded already; whatever else, and what is
joined by pipes, in a shell where the same stand-ins for the texts are found.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import torch
from made_checkpoints import simple_checkpoint
from pages import ROOT
from processes import disposition
from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput
from t7_writer import dump

from char_rnn.cli import main
from char_rnn.cli.process import INTERRUPTED

SHELL = re.compile(r"[|<>;&*?$`]")
STEPS = 3
CUT = (
    f"training.max_steps={STEPS}",
    "training.minutes=null",
    "logging.sample_length=20",
    "device.preferred=cpu",
    "device.threads=1",
)
SMALL = (
    "model.hidden_size=8", "model.embedding_size=null", "model.num_layers=1", "training.batch_size=4",
    "training.seq_length=8", "training.warmup_steps=1", "data.train_frac=0.8", "data.val_frac=0.1",
)  # fmt: skip
SMALL_2015 = ("model.hidden_size=8", "training.batch_size=4", "training.seq_length=8")
WAIT = 120.0
LEAVE = "\x11"  # Ctrl-Q

PHRASE = "the sun was low and it was late when she came home with a lamp in her hand and said nothing"
WORDS = PHRASE.split()
LETTERS = "".join(map(chr, range(32, 127)))


def book(seed: int, sentences: int = 400) -> str:
    """Return a text with every character that has a key of its own."""
    lines = []
    for number in range(sentences):
        words = [WORDS[(seed + number * 7 + place * place) % len(WORDS)] for place in range(5 + number % 7)]
        lines.append(" ".join(words).capitalize() + ("." if number % 5 else ', "yes": no!\n'))
    return "\n".join([LETTERS, *lines]) + "\n"


def write_texts(folder: Path) -> None:
    """Write the texts that pages speak of."""
    (folder / "my-book.txt").write_text(book(0), encoding="utf-8")
    (folder / "another-book.txt").write_text(book(3), encoding="utf-8")
    (folder / "data" / "mine").mkdir(parents=True)
    (folder / "data" / "mine" / "input.txt").write_text(book(0), encoding="utf-8")
    (folder / "names.txt").write_text("".join(f"{word}{other}\n" for word in WORDS for other in WORDS))


def write_checkpoints(folder: Path, page: str) -> None:
    """Write the checkpoints of 2015 that a page names, of networks that have learnt nothing."""
    for name in set(re.findall(r"[\w./-]+\.t7\b", page)):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(dump(simple_checkpoint("lstm", LETTERS.encode() + b"\n")))


def stand_ins(folder: Path) -> str:
    """Write small texts for those with a name; return the program that puts them in their places."""
    shakespeare = folder / "data" / "tinyshakespeare" / "input.txt"
    shakespeare.parent.mkdir(parents=True)
    shakespeare.write_text("ROMEO:\nWhat, KING RICHARD III:\n" + book(5), encoding="utf-8")
    library = folder / "library"
    library.mkdir()
    for name in ("abc", "ast", "io"):
        (library / f"{name}.py").write_text(
            f"import {name}\n\n" + f"def {name}(self):\n    return '{LETTERS}'\n\n\n" * 50
        )
    return (
        "import hashlib, os, pathlib\n"
        f"os.environ['CHAR_RNN_DATA_DIR'] = {str(folder / 'data')!r}\n"
        "from char_rnn.data import datasets\n"
        f"_content = pathlib.Path({str(shakespeare)!r}).read_bytes()\n"
        "_old = datasets.DOWNLOADS['tinyshakespeare']\n"
        "datasets.DOWNLOADS['tinyshakespeare'] = datasets.Download(\n"
        "    _old.url, _old.description, len(_content), hashlib.sha256(_content).hexdigest())\n"
        f"datasets.stdlib_folder = lambda: pathlib.Path({str(library)!r})\n"
    )


class Desk:
    """A folder in which a page is tried from its top to its end.

    Args:
        folder: to work in; it is the present one while commands run.
        prepared: with the texts and runs that are ready for every page.
        programs: with the programs of this package that find the stand-ins.
    """

    def __init__(self, folder: Path, prepared: Path, programs: Path) -> None:
        shutil.copytree(prepared, folder)
        shutil.copytree(ROOT / "scripts", folder / "scripts")
        self.folder, self.programs = folder, programs
        self.names: dict[str, object] = {"__name__": "page"}

    def run(self, command: str, fails: bool = False) -> None:
        """Run a command of a page.

        Raises:
            AssertionError: it ended with another status than 0, or with 0 where it ``fails``.
        """
        for part in command.split(" && "):
            words = shlex.split(part, comments=True)
            plain = not SHELL.search(" ".join(words))
            cut = shlex.join(shortened(words, self.folder)) if plain else part
            if words[:2] == ["char-rnn", "serve"]:
                status, said = self.served(words)
            elif words[0] == "char-rnn" and plain:
                status, said = in_this_process(shlex.split(cut)[1:])
            else:
                status, said = self.in_a_shell(cut)
            assert (status != 0) == fails, f"{cut}\nended with status {status}:\n{said[-2000:]}"

    def python(self, lines: Sequence[str]) -> None:
        """Run a program of a page, after those before it."""
        with contextlib.redirect_stdout(io.StringIO()):
            exec(compile("\n".join(lines), "page", "exec"), self.names)

    @property
    def environment(self) -> dict[str, str]:
        """That of a shell."""
        path = f"{self.programs}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}

    def in_a_shell(self, command: str) -> tuple[int, str]:
        """Return the status of a command and what it said."""
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=WAIT,
            check=False,
        )
        return done.returncode, done.stdout.decode(errors="replace")

    def served(self, words: Sequence[str]) -> tuple[int, str]:
        """Start a server on a port that is free, ask it how it is, and end it as a reader would, with Ctrl-C."""
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            port = found.getsockname()[1]
        command = [word for word in words if word != "--open"] + ["--port", str(port)]
        with disposition(False, signal.SIGINT):
            process = subprocess.Popen(
                command, cwd=self.folder, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )
        with process:
            assert process.stdout is not None
            said = process.stdout.readline()
            with contextlib.suppress(urllib.error.URLError):
                assert urllib.request.urlopen(f"http://127.0.0.1:{port}/api/health", timeout=WAIT).status == 200
            process.send_signal(signal.SIGINT)
            said += process.stdout.read()
            status = process.wait(WAIT)
            return (0 if status == INTERRUPTED else status), said.decode(errors="replace")


def shortened(words: Sequence[str], folder: Path) -> list[str]:
    """Return a command that trains for a few steps only, a tiny model if it makes one; any other as it is.

    What it writes a new run to is removed from the folder.
    """
    words = list(words)
    ours = words[0] == "char-rnn" or "char_rnn" in words
    trains = "scripts/train.py" in words or (ours and {"train", "sweep"} & set(words))
    if not trains or {"--help", "-h"} & set(words):
        return words
    if "--minutes" in words:
        at = words.index("--minutes")
        del words[at : at + 2]
    if "--resume" in words:
        run = folder / words[words.index("--resume") + 1]
        steps = STEPS + max((record["step"] for record in records(run)), default=0)
        return words + (["--set", f"training.max_steps={steps}"] if "sweep" not in words else [])
    if "--out" in words:
        shutil.rmtree(folder / words[words.index("--out") + 1], ignore_errors=True)
    small = SMALL_2015 if {"--torch7", "scripts/train.py"} & set(words) else SMALL
    sets = CUT if {"--init-from", "-init_from"} & set(words) else CUT + small
    return words + [word for each in sets for word in ("--set", each)]


def records(run: Path) -> list[dict[str, int]]:
    """Return the records of a run."""
    path = run / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def in_this_process(words: Sequence[str]) -> tuple[int, str]:
    """Run the command line here; return its status and what it said on standard error."""
    said, threads = io.StringIO(), torch.get_num_threads()
    output = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    with contextlib.ExitStack() as during:
        during.enter_context(contextlib.redirect_stdout(output))
        during.enter_context(contextlib.redirect_stderr(said))
        if words[0] == "interact":
            keys = during.enter_context(create_pipe_input())
            keys.send_text(LEAVE)
            during.enter_context(create_app_session(input=keys, output=DummyOutput()))
        try:
            main(list(words))
        except SystemExit as end:
            return int(end.code or 0), said.getvalue()
        finally:
            torch.set_num_threads(threads)
    raise AssertionError("the command line did not exit")


def write_programs(folder: Path, preparation: str) -> None:
    """Write the command, and this package's module, as programs of a shell."""
    folder.mkdir()
    program = folder / "char-rnn"
    program.write_text(f"#!{sys.executable}\n{preparation}\nfrom char_rnn.cli import main\nmain()\n")
    program.chmod(0o755)


@contextlib.contextmanager
def at(folder: Path) -> Iterator[None]:
    """Make a folder the present one for the while."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


Make = Callable[[], Desk]


def fresh_process_state(monkeypatch: pytest.MonkeyPatch, preparation: str) -> None:
    """Put the stand-ins in place for the commands that run here."""
    import char_rnn.data.datasets as datasets

    for name in ("DOWNLOADS", "stdlib_folder"):
        value = getattr(datasets, name)
        monkeypatch.setattr(datasets, name, dict(value) if isinstance(value, dict) else value)
    monkeypatch.setenv("CHAR_RNN_DATA_DIR", "")
    monkeypatch.setattr("char_rnn.cli.interact._is_terminal", lambda: True)
    exec(preparation, {})
