"""A whole examination: the CPU passes, nothing of the caller's is changed, and the report has everything."""

from __future__ import annotations

import json

import pytest
import torch
from doctor_helpers import SMALL, Wrong, WrongGradient, examine_little, examined

from char_rnn.doctor import Backend, examination, examine, examine_backends
from char_rnn.doctor.checks import CHECKS
from char_rnn.doctor.problem import CELLS, Problem
from char_rnn.utils.device import DeviceManager

PARTS = len(CELLS) * len(CHECKS) + 1


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    examine_little(monkeypatch)


def test_the_cpu_passes_every_check() -> None:
    report = examined(Backend("cpu"), *CELLS)
    assert [(check.check, check.cell) for check in report.checks if check.status != "passed"] == []
    assert len(report.checks) == PARTS
    errors = {
        check.check: (check.off or 0) / (check.allowed or 1) for check in report.checks if check.check != "memory"
    }
    assert errors.keys() == {"forward", "gradients", "training", "dropout", "batch change", "drawing"}
    assert 0 < max(errors.values()) < 0.05
    assert report.verdict.device == "cpu"
    assert report.verdict.sound


@pytest.mark.slow
def test_the_cpu_passes_at_full_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examination, "SECONDS", 0.02)
    report = examine(["cpu"])
    assert report.failures() == []
    assert len(report.speeds) == 3 * len(CELLS)


@pytest.mark.parametrize("kind", ["cuda", "mps"])
def test_an_accelerator_passes_but_for_its_drawing(kind: str) -> None:
    if kind not in DeviceManager.available():
        pytest.skip(f"this machine has no {kind}; the same checks run on wrong devices made of the CPU")
    assert [check for check in examine([kind], speed=False).failures() if check.check != "drawing"] == []


def test_a_device_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DeviceManager, "available", staticmethod(lambda: ["cpu"]))
    with pytest.raises(ValueError, match=r"^device mps: not available \(this machine has cpu\)$"):
        examine(["mps"])


def test_generators_and_threads_are_left_as_they_were() -> None:
    torch.set_num_threads(2)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    examined(Backend("cpu"), "rnn")
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == 2


def test_it_repeats_exactly_and_works_where_gradients_are_off() -> None:
    torch.manual_seed(1)
    first = examined(Backend("cpu"), "gru")
    torch.manual_seed(2)
    with torch.no_grad():
        second = examined(Backend("cpu"), "gru")
    assert [check.off for check in first.checks if check.check != "memory"] == [
        check.off for check in second.checks if check.check != "memory"
    ]


def test_tf32_is_off_during_the_checks() -> None:
    class Asked(Wrong):
        def draw(self, *_: object, **__: object) -> None:  # type: ignore[override]
            raise RuntimeError(f"TF32 {torch.backends.cudnn.allow_tf32}")

    before = torch.backends.cudnn.allow_tf32
    (failure,) = examined(Asked(), "rnn").failures()
    assert failure.words == "RuntimeError: TF32 False"
    assert torch.backends.cudnn.allow_tf32 == before


def test_progress_counts_every_part(small: None) -> None:
    torch.set_num_threads(2)
    told: list[tuple[str, int, int]] = []
    report = examine_backends([Backend("cpu")], cells=["gru", "rnn"], progress=lambda *news: told.append(news))
    total = 2 * len(CHECKS) + 1 + 2 * 2 + 1  # checks, drawing, speeds and threads
    assert [(done, of) for _, done, of in told] == [(done, total) for done in range(total)]
    assert told[0][0] == "cpu: forward, gru"
    assert told[-1][0] == "cpu: speed of rnn at hidden size 16"
    (compared,) = report.threads
    assert (compared.hidden_size, compared.threads) == (8, 2)
    assert {speed.threads for speed in report.speeds} == {compared.best}
    assert all(speed.characters_per_second > 0 for speed in report.speeds)


def test_json_has_everything(small: None) -> None:
    report = examine_backends([Wrong(), WrongGradient()], cells=["rnn"], sizes=SMALL)
    found = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert found.keys() == {"machine", "devices", "checks", "speeds", "threads", "verdict", "seconds"}
    assert found["machine"]["torch"] == torch.__version__
    assert {"char_rnn", "python", "numpy", "system", "processor", "cores", "cpu_capability"} < found["machine"].keys()
    assert len(found["checks"]) == 2 * (len(CHECKS) + 1)
    assert found["checks"][0].keys() == {
        *("device", "check", "cell", "status", "words"),
        *("off", "allowed", "issues", "seconds"),
    }
    assert {tuple(speed) for speed in found["speeds"]} == {
        ("device", "cell", "hidden_size", "characters_per_second", "threads")
    }
    assert len(found["speeds"]) == 4
    assert found["verdict"].keys() == {"device", "settings", "words", "sound"}


def test_a_device_that_fails_at_speed_is_left_out_of_the_table(small: None) -> None:
    class Small(Wrong):
        def place(self, model):  # type: ignore[no-untyped-def]
            if model.hidden_size == 8:
                raise torch.OutOfMemoryError("out of memory")
            return model

    report = examine_backends([Small()], cells=["rnn"], sizes=SMALL)
    assert [speed.hidden_size for speed in report.speeds] == [16]
    assert report.failures() == []


def test_the_problem_is_the_same_for_every_device() -> None:
    """The starting weights and symbols, whatever was drawn before; the float64 model has the float32 one's weights."""
    first = Problem("lstm", SMALL)
    torch.rand(7)
    second = Problem("lstm", SMALL)
    assert torch.equal(first.ids(3, 5), second.ids(3, 5))
    for one, other, exact in zip(
        first.model().parameters(), second.model().parameters(), first.model(torch.float64).parameters(), strict=True
    ):
        assert torch.equal(one, other)
        assert torch.equal(one.double(), exact)
