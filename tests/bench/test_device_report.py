"""The program that checks and times a GPU or a Mac, tried on the CPU."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from char_rnn.machine import describe_machine

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(BENCHMARKS)
    return import_module("device")


def found_by(device: Any, part: str, folder: Path) -> list[Any]:
    parts = import_module("device_parts")
    return list(device.PARTS[part].run(parts.Setup("cpu", True, folder, time.monotonic() + 60)))


@pytest.mark.parametrize(
    "part", ["scan", "matches", *(pytest.param(name, marks=pytest.mark.slow) for name in ("golden", "resume"))]
)
def test_the_checks_pass_on_the_cpu(device: Any, part: str, tmp_path: Path) -> None:
    checks = [each for each in found_by(device, part, tmp_path) if hasattr(each, "passed")]
    assert len(checks) >= 3
    assert [each for each in checks if not each.passed] == []


def test_a_wrong_result_fails_a_check(device: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checks = import_module("device_checks")
    right = checks.find_matches
    monkeypatch.setattr(checks, "find_matches", lambda *given: (right(*given)[0] + 1, right(*given)[1]))
    first, second, history, _ = found_by(device, "matches", tmp_path)
    # The second check compares the function on the device with the same function on the CPU.
    assert (first.passed, second.passed, history.passed) == (False, True, True)


def test_an_exception_is_a_failed_check(device: Any) -> None:
    def fails() -> Any:
        yield 1
        raise RuntimeError("no kernel image\nfor this device")

    first, check = import_module("device_parts").attempt("scan", fails)
    assert first == 1
    assert (check.name, check.passed) == ("scan runs to its end", False)
    assert check.words == "RuntimeError: no kernel image"


def test_the_page_names_the_reasons(device: Any) -> None:
    checks = [
        {"part": "scan", "name": "gradients", "passed": False, "words": "wrong", "off": 0.5, "allowed": 1e-4},
        {"part": "scan", "name": "speed", "passed": None, "words": "no time left", "off": None, "allowed": None},
    ]
    figures = [{"part": "scan", "table": "Times", "row": {"case": "a", "ms": 1234.5}}]
    about = {"name": "A GPU", "machine": describe_machine(), "date": "today", "command": "python device.py"}
    found = {"checks": checks, "figures": figures, "parts": [{"part": "scan", "seconds": 2.4, "allowed": 9.0}]}
    page = device.page(about, found)
    assert page.startswith("# A GPU\n")
    assert "0 checks passed, 1 failed, 1 not run" in page
    assert page.count("| gradients | **failed** | 5.0e-01 | 1e-04 | wrong |") == 2
    assert "| speed | not run |  |  | no time left |" in page
    assert "| a | 1,234 |" in page


@pytest.mark.slow  # it starts two processes, each of which loads PyTorch
def test_a_part_that_takes_too_long_does_not_stop_the_others(tmp_path: Path) -> None:
    program = "import sys, device; device.GRACE = -1; sys.exit(device.main())"  # each part has 1 s, less this second
    options = ["--device", "cpu", "--out", str(tmp_path), "--minutes", "0.001", "--parts", "doctor", "scan"]
    done = subprocess.run([sys.executable, "-c", program, *options], cwd=BENCHMARKS, capture_output=True, check=False)
    report = json.loads((tmp_path / "device.json").read_text(encoding="utf-8"))
    assert done.returncode == 1
    assert [check["name"] for check in report["checks"]] == ["doctor runs to its end", "scan runs to its end"]
    assert [part["part"] for part in report["parts"]] == ["doctor", "scan"]
    assert (tmp_path / "device.md").read_text(encoding="utf-8").count("\n## ") == 3
