"""Faults that the checks catch by name, and what counts as a leak."""

from __future__ import annotations

import platform
import re

import pytest
from doctor_helpers import (
    LARGE,
    SMALL,
    DependsOnTheBatch,
    DrawsAlwaysTheSame,
    DrawsImpossible,
    DrawsNothingThatThereIs,
    DropsInEvaluation,
    ForgetsToLearn,
    LacksAnOperation,
    Leaks,
    LeaksOnItsOwn,
    SameMask,
    UnmaskedGradient,
    Wrong,
    WrongAfterBatchChange,
    WrongForward,
    WrongGradient,
    examined,
    statuses,
)

from char_rnn.doctor.checks import CHECKS, growth_per_step
from char_rnn.doctor.problem import CELLS

NAMES = [check.name for check in CHECKS]
BUILT_ON_GRADIENTS = ["training", "dropout", "batch change"]

FAULTS = [
    (WrongForward, "rnn", "forward", NAMES[1:], r"^log-probabilities are off by 1\.0e-03 nats \(tolerance 5e-05\)$"),
    (WrongGradient, "lstm", "gradients", BUILT_ON_GRADIENTS, r"are off by 5% \(lstm\.weight_hh_l0\); tolerance"),
    (WrongGradient, "gru-before", "gradients", BUILT_ON_GRADIENTS, r"are off by 5% \(gru\.weight_hh_l0\); "),
    (ForgetsToLearn, "rnn", "training", [], r"^after 20 steps "),
    (SameMask, "gru", "dropout", [], r"^after layer 1 the same units are dropped at every call \(100% agree\)$"),
    (DropsInEvaluation, "rnn", "dropout", [], r"^units are dropped in evaluation$"),
    (DependsOnTheBatch, "rnn", "dropout", [], r"^evaluation depends on the batch size: off by 1\.0e-03 nats"),
    (UnmaskedGradient, "lstm", "dropout", [], r"^gradients are off by .*% \(lstm\.weight_.h_l0\), .* more"),
    (WrongAfterBatchChange, "rnn", "batch change", [], r"^with a batch of 8,194 x 4 .*99,900% \(output_proj\.weight\)"),
    (LeaksOnItsOwn, "rnn", "memory", [], r"^over 40 steps memory \(allocated\) grows by 4 KiB per step .tolerance 1\)"),
]  # fmt: skip


@pytest.mark.parametrize(("device", "cell", "caught", "not_run", "words"), FAULTS)
def test_a_fault_is_caught_by_name(device: type[Wrong], cell: str, caught: str, not_run: list[str], words: str) -> None:
    report = examined(device(), cell, sizes=LARGE if caught == "batch change" else SMALL)
    expected = dict.fromkeys(NAMES, "passed") | dict.fromkeys(not_run, "not run") | {caught: "failed"}
    assert statuses(report, cell) == expected
    assert statuses(report, None) == {"drawing": "passed"}
    (failure,) = report.failures()
    assert re.search(words, failure.words), failure.words
    assert report.verdict.device is None
    assert not report.verdict.sound
    assert report.verdict.words[0].startswith(f"Do not train on wrong: wrong {caught} of {cell}.")


@pytest.mark.parametrize(
    ("device", "words"),
    [
        (DrawsImpossible, "items of probability zero are drawn: 1 of 64 (one per row)"),
        (DrawsNothingThatThereIs, "items of probability zero are drawn: 1 of 100,000 (many per row)"),
        (DrawsAlwaysTheSame, "an item of probability 0.5 is drawn with frequency 1.000 (one per row)"),
    ],
)
def test_wrong_drawing_is_caught_and_does_not_keep_from_training(device: type[Wrong], words: str) -> None:
    report = examined(device(), "rnn")
    assert statuses(report, "rnn") == dict.fromkeys(NAMES, "passed")
    (failure,) = report.failures()
    assert (failure.check, failure.words, failure.issues) == ("drawing", words, (136623, 192577))
    assert report.verdict.device == "wrong"
    assert not report.verdict.sound
    assert "Do not draw random numbers on wrong in your own programs" in report.verdict.words[-1]


@pytest.mark.skipif(platform.system() not in {"Linux", "Darwin"}, reason="the system does not tell the memory in use")
def test_a_leak_of_the_process_is_caught() -> None:
    report = examined(Leaks(), "rnn")
    (failure,) = report.failures()
    assert (failure.check, failure.cell, failure.issues) == ("memory", "rnn", (145374, 164299))
    assert "memory (rss) grows by" in failure.words
    assert failure.off is not None
    assert 0.9 * (1 << 20) < failure.off < 1.5 * (1 << 20)


def test_a_device_without_an_operation_fails_for_the_cell_that_needs_it() -> None:
    report = examined(LacksAnOperation(), "rnn", "gru")
    assert statuses(report, "rnn") == dict.fromkeys(NAMES, "passed")
    assert statuses(report, "gru") == {"forward": "failed"} | dict.fromkeys(NAMES[1:], "not run")
    (failure,) = report.failures()
    assert failure.words == "NotImplementedError: aten::gru is not implemented for this device."


def test_a_device_that_cannot_even_draw_is_reported() -> None:
    class Broken(Wrong):
        def draw(self, *_: object, **__: object) -> None:  # type: ignore[override]
            raise RuntimeError

    (failure,) = examined(Broken(), "rnn").failures()
    assert (failure.check, failure.words) == ("drawing", "RuntimeError: RuntimeError")


def test_not_a_number_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    class Undefined(Wrong):
        def place(self, model):  # type: ignore[no-untyped-def]
            model.register_forward_hook(lambda _, __, output: (output[0] * float("nan"), output[1]))
            return model

    report = examined(Undefined(), *list(CELLS)[-1:])
    (failure,) = report.failures()
    assert (failure.check, failure.words[:34]) == ("forward", "log-probabilities are off by nan n")
    assert next(check for check in report.to_dict()["checks"] if check["check"] == "forward")["off"] is None


MIB = 1 << 20


@pytest.mark.parametrize(
    ("floors", "growth"),
    [
        ([5, 5, 5, 5, 5], 0),
        ([5, 25, 25, 25, 25], 0),  # a pool, filled once
        ([5, 13, 4, 12, 5], 0),  # a heap that is trimmed now and then
        ([5, 6, 7, 8, 9], 1),
        ([5, 5, 5, 7, 9], 2),  # a leak that first filled what was free
        ([9, 8, 7, 6, 5], -2),
    ],
)
def test_growth_is_what_goes_on(floors: list[int], growth: float) -> None:
    looks = [look for floor in floors for look in (floor * MIB + 3000, floor * MIB)]
    assert growth_per_step(looks, 2) == growth * MIB / 2
