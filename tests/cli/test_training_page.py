"""``char-rnn train --open``: the page is served while the run trains, and never longer."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cli_helpers import PLAYGROUND, SMALL, WAIT, Command, ask
from processes import disposition

for needed in PLAYGROUND:
    pytest.importorskip(needed, reason="the extra playground is not installed")

LIMITS = ["--set", "training.max_steps=1000", "--set", "training.eval_interval=250"]
LINE = re.compile(r"the page of this run: (http://127\.0\.0\.1:\d+/)\n")
BY_SIGNAL = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")


def is_served(address: str) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", int(address.rstrip("/").rpartition(":")[2]))) == 0


def test_the_page_is_opened_and_ends_with_the_training(
    char_rnn: Command, poem: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[Any] = []
    monkeypatch.setenv("BROWSER", "any")
    monkeypatch.setattr(webbrowser, "open", lambda address: found.extend((address, ask(address, "api/models"))))
    with_page = char_rnn("train", poem, "--out", tmp_path / "run", *SMALL, *LIMITS, "--open")
    assert with_page.status == 0
    address = LINE.findall(with_page.err)[0]
    assert found[0] == address
    assert json.loads(found[1])["runs"] == ["run"]
    assert not is_served(address)


@pytest.mark.slow
def test_what_a_training_prints_and_samples_is_unchanged(char_rnn: Command, poem: Path, tmp_path: Path) -> None:
    done = {
        name: char_rnn("train", poem, "--out", tmp_path / name, *SMALL, *LIMITS, *more)
        for name, more in (("run", ["--open"]), ("other", []))
    }
    assert done["run"].out == done["other"].out
    assert lines_of(done["run"].err) == lines_of(done["other"].err)
    assert (tmp_path / "run" / "samples.jsonl").read_text() == (tmp_path / "other" / "samples.jsonl").read_text()


def lines_of(text: str) -> list[str]:
    """The lines of a training without speeds, memory, the name of the folder and the line about the page."""
    named = re.sub(r"\S*\brun\b|\S*\bother\b", "RUN", LINE.sub("", text))
    return [re.sub(r"  [\d,]+ characters/s.*| in [\d.]+ minutes", "", line) for line in named.splitlines()]


@pytest.mark.slow
def test_without_the_extra_nothing_is_begun(poem: Path, tmp_path: Path) -> None:
    words = ["train", str(poem), "--out", str(tmp_path / "run"), "--open"]
    script = f"import sys; sys.modules['uvicorn'] = None\nfrom char_rnn.cli import main; main({words!r})"
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True, timeout=WAIT)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        'error: the playground needs uvicorn, which is not installed; run: pip install "char-rnn-pytorch[playground]"\n'
    )
    assert not (tmp_path / "run").exists()


def test_training_continues_without_a_page_that_fails(
    char_rnn: Command, poem: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false" if Path("/bin/false").exists() else "/usr/bin/false")
    done = char_rnn("train", poem, "--out", tmp_path / "run", *SMALL, "--set", "training.max_steps=2", "--open")
    assert done.status == 0
    assert "warning: the page could not be opened; training continues without it\n" in done.err
    assert (tmp_path / "run" / "last.safetensors").exists()


@contextmanager
def endless(*arguments: object, **options: Any) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start a training with a page; yield the process and the address."""
    command = [sys.executable, "-m", "char_rnn", "train", *map(str, arguments), "--open"]
    environment = {name: value for name, value in os.environ.items() if name not in ("BROWSER", "DISPLAY")}
    with disposition(False, signal.SIGINT):
        process = subprocess.Popen(
            command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, **options
        )
    try:
        assert process.stderr is not None
        line = next((line for line in process.stderr if LINE.fullmatch(line)), "")
        assert line, "no address"
        yield process, LINE.findall(line)[0]
    finally:
        process.kill()
        process.communicate(timeout=WAIT)


@pytest.mark.slow
@BY_SIGNAL
@pytest.mark.parametrize(
    ("name", "to_all"), [("INT", False), ("TERM", False), ("HUP", False), ("KILL", False), ("INT", True), ("HUP", True)]
)
def test_no_signal_leaves_a_server(poem: Path, tmp_path: Path, name: str, to_all: bool) -> None:
    """Ctrl-C in a terminal, and the end of a session, signal the whole group."""
    number = signal.Signals[f"SIG{name}"]
    limits = ["--set", "training.max_steps=100000000", "--set", "training.max_epochs=100000000"]
    run = tmp_path / "run"
    with endless(poem, "--out", run, *SMALL, *limits, start_new_session=True) as (process, address):
        assert json.loads(ask(address, "api/models/run/training"))["state"] == "running"
        (os.killpg if to_all else os.kill)(process.pid, number)
        _, err = process.communicate(timeout=WAIT)
        assert process.returncode == (-number if number == signal.SIGKILL else 128 + number)
        assert ("continue with: char-rnn train --resume" in err) == (number != signal.SIGKILL)
        end = time.monotonic() + WAIT
        while is_served(address):
            assert time.monotonic() < end, "the server outlives the training"
            time.sleep(0.1)


@pytest.mark.slow
def test_the_lines_of_2015_are_unchanged(poem: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "input.txt").write_bytes(poem.read_bytes())
    command = [sys.executable, "-m", "char_rnn", "train", "--torch7", "-data_dir", str(folder), "-rnn_size", "8"]
    command += ["-num_layers", "1", "-batch_size", "4", "-seq_length", "10", "-max_epochs", "2", "-gpuid", "-1"]
    outputs = []
    for name, more in (("without", []), ("with", ["--open"])):
        words = [*command, "--out", str(tmp_path / name), *more]
        done = subprocess.run(words, capture_output=True, check=True, text=True, timeout=WAIT)
        outputs.append(re.sub(r"time/batch = [\d.]+s", "", done.stdout.replace(str(tmp_path / name), "RUN")))
        assert bool(LINE.search(done.stderr)) == bool(more)
    assert outputs[0] == outputs[1]
    assert "train_loss = " in outputs[0]


@pytest.mark.slow
@BY_SIGNAL
def test_on_a_terminal_the_page_stays_until_ctrl_c(poem: Path, tmp_path: Path) -> None:
    import pty

    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "char_rnn", "train", str(poem), "--out", str(tmp_path / "run"), *SMALL, "--open"]
    command += ["--set", "training.max_steps=5"]
    environment = {name: value for name, value in os.environ.items() if name not in ("BROWSER", "DISPLAY")}
    with disposition(False, signal.SIGINT):
        process = subprocess.Popen(
            command, stdin=theirs, stdout=subprocess.DEVNULL, stderr=theirs, env=environment, start_new_session=True
        )
    try:
        os.close(theirs)
        shown = b""
        while b"press Ctrl-C to close it" not in shown:
            shown += os.read(ours, 65536)
        found = re.search(rb"stays open at (http\S+);", shown)
        assert found
        address = found[1].decode()
        assert json.loads(ask(address, "api/models/run/training"))["state"] == "finished"
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(WAIT) == 0
        assert not is_served(address)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
