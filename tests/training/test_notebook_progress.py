"""The progress display of a notebook: two outputs with the last state. tests/examples runs a real kernel."""

from __future__ import annotations

import sys
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from training_helpers import small_config

from char_rnn.training import CharRNNTrainer
from char_rnn.training.notebook_progress import NotebookProgress

MakeTrainer = Callable[..., CharRNNTrainer]


class Frontend:
    """A notebook that stores its outputs, as ``IPython.display.display`` with ``raw`` fills them."""

    def __init__(self) -> None:
        self.outputs: dict[str, dict[str, str]] = {}
        self.calls = 0

    def display(self, data: dict[str, str], *, raw: bool, display_id: str, update: bool, metadata: Any) -> None:
        assert raw
        assert update == (display_id in self.outputs)
        self.outputs[display_id] = data
        self.calls += 1


@pytest.fixture
def frontend(monkeypatch: pytest.MonkeyPatch) -> Frontend:
    made = Frontend()
    monkeypatch.setitem(sys.modules, "IPython.display", made)
    return made


def test_the_outputs_have_the_last_state(make_trainer: MakeTrainer, frontend: Frontend, tmp_path: Path) -> None:
    config = small_config(training={"max_steps": 40, "eval_interval": 4}, logging={"sample_length": 5})
    make_trainer(
        config, callbacks=[NotebookProgress()], sample=lambda model: "<b>a rose\nis \x1b[2J", run_dir=tmp_path
    ).train()
    text, curve = frontend.outputs.values()
    lines = text["text/plain"].splitlines()
    assert [line.split("  ")[0] for line in lines[:8]] == [f"step {step}/40" for step in (*range(16, 41, 4), 40)]
    assert lines[8:10] == ["    <b>a rose", r"    is \x1b[2J"]
    assert lines[10].startswith("finished after 40 steps, 0.")
    assert len(lines) == 11
    assert b64decode(curve["image/png"]).startswith(b"\x89PNG")
    assert frontend.calls < 40  # not one for each step: the line is drawn twice a second, the curve at times


def test_a_stopped_run_without_a_folder(make_trainer: MakeTrainer, frontend: Frontend) -> None:
    trainer = make_trainer(small_config(training={"max_steps": 40}), callbacks=[NotebookProgress()])
    trainer.request_stop()
    trainer.train()
    (text,) = frontend.outputs.values()
    assert text["text/plain"].splitlines()[-1] == "stopped after 0 steps, 0.0 minutes"
