import json
from pathlib import Path

import pytest

from char_rnn.bench.report import Report, Table, counted, describe, shown
from char_rnn.machine import describe_machine


def test_a_report_is_read_as_it_was_written(tmp_path: Path) -> None:
    report = Report("data", "How?", [Table("a", [{"x": 1, "y": 0.1 + 0.2, "z": "é|"}], "a note"), Table("b", [])], "c")
    report.write(tmp_path / "report.json")
    read = Report.read(tmp_path / "report.json")
    assert read == report
    assert read.rows("a")[0]["y"] == 0.1 + 0.2
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8")) == json.loads(json.dumps(read.to_dict()))


def test_a_table_that_is_not_there() -> None:
    with pytest.raises(KeyError, match="b"):
        Report("data", "How?", [Table("a", [])]).rows("b")


def test_what_is_no_number_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        Report("data", "How?", [Table("a", [{"x": float("nan")}])]).write(tmp_path / "report.json")


@pytest.mark.parametrize(
    ("value", "words"),
    [(0.123456, "0.1235"), (12345.6, "12,346"), (-12345.6, "-12,346"), (1234567, "1,234,567"), ("lstm", "lstm")],
)
def test_figures_are_rounded_for_people(value: object, words: str) -> None:
    assert shown(value) == words


def test_things_are_counted() -> None:
    assert [counted(number, "thread") for number in (1, 2)] == ["1 thread", "2 threads"]


def test_the_machine_is_named_in_a_line() -> None:
    machine = {**describe_machine(), "processor": None, "load": None, "threads": 1}
    line = describe(machine)
    assert line.startswith("a processor without a name, ")
    assert ", 1 thread; " in line
    assert f"PyTorch {machine['torch']}" in line
    assert "load" not in line
    assert describe({**machine, "load": 0.25}).endswith("; load 0.2 before")
