"""``char-rnn doctor``: text and JSON, exit status, a device that is not there."""

from __future__ import annotations

import json
from functools import partial

import pytest
import torch
from cli_helpers import Command
from doctor_helpers import DrawsImpossible, Wrong, WrongGradient, examine_little

from char_rnn.doctor import examination
from char_rnn.utils.device import DeviceManager


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with a CPU alone, and little to compute on it."""
    monkeypatch.setattr(DeviceManager, "available", staticmethod(lambda: ["cpu"]))
    examine_little(monkeypatch)


@pytest.fixture
def one_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    """Examine a single cell."""
    monkeypatch.setattr(examination, "examine_backends", partial(examination.examine_backends, cells=["lstm"]))


def test_the_cpu_passes_and_the_report_is_the_output(char_rnn: Command) -> None:
    done = char_rnn("doctor")
    assert (done.status, done.err) == (0, "")
    assert "): all 25 checks passed\n" in done.out
    assert "Training speed in characters/s, by hidden size" in done.out
    assert "\nVerdict\n  Train on cpu: every check passed.\n" in done.out
    assert max(map(len, done.out.splitlines())) <= 120


def test_json_is_one_object_with_everything(char_rnn: Command, one_cell: None) -> None:
    done = char_rnn("doctor", "--json", "--quick", "--device", "cpu")
    assert (done.status, done.err) == (0, "")
    found = json.loads(done.out)
    assert {check["status"] for check in found["checks"]} == {"passed"}
    assert (found["speeds"], found["threads"]) == ([], [])
    assert list(found["devices"]) == ["cpu"]
    assert found["verdict"]["device"] == "cpu"
    assert found["machine"]["torch"] == torch.__version__


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (WrongGradient, "FAILED gradients, lstm: gradients are off by "),
        (DrawsImpossible, "FAILED drawing: items of probability zero are drawn: 1 of 64 (one per row)"),
    ],
)
def test_a_wrong_device_is_named_and_is_the_exit_status(
    char_rnn: Command, one_cell: None, monkeypatch: pytest.MonkeyPatch, wrong: type[Wrong], words: str
) -> None:
    monkeypatch.setattr(examination, "Backend", lambda _: wrong())
    done = char_rnn("doctor", "--quick")
    assert done.status == 1
    assert words in done.out
    assert done.err == ""


@pytest.mark.parametrize("name", ["mps", "cuda"])
def test_a_device_that_is_not_there_is_one_line(char_rnn: Command, name: str) -> None:
    message = f"error: Invalid value for --device: {name}: not available (this machine has cpu) (see"
    assert char_rnn("doctor", "--device", name).refused(2, message)
