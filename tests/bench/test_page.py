"""The page of benchmarks is what its figures make of it."""

from __future__ import annotations

import importlib
import re
import shutil
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import matplotlib as mpl
import pytest

from char_rnn.bench.suites import SUITES, ResultTable, SuiteResult

ROOT = Path(__file__).parents[2]
DOCS, PICTURES = ROOT / "docs", Path("images", "benchmarks")
DRAWN_WITH = "3.11.2"  # what the pictures of docs/ were written by: others set their lines in other words


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("page")


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    shutil.copytree(DOCS / "benchmarks", tmp_path / "benchmarks")
    return tmp_path


def report(question: str, table: str, *rows: dict[str, Any]) -> SuiteResult:
    return SuiteResult(
        question, "How?", [ResultTable(table, rows)], f"char-rnn bench {question}", machine={"load": None}
    )


def test_the_page_and_its_pictures_are_those_of_the_figures(page: ModuleType, docs: Path) -> None:
    (docs / PICTURES).mkdir(parents=True)
    (docs / PICTURES / "of-another-time.svg").touch()
    written = page.write(docs)
    assert (docs / "benchmarks.md").read_text(encoding="utf-8") == (DOCS / "benchmarks.md").read_text(encoding="utf-8")
    names = sorted(path.name for path in (docs / PICTURES).iterdir())
    assert names == sorted(path.name for path in (DOCS / PICTURES).iterdir())
    assert len(written) == 1 + len(names)
    assert all((docs / PICTURES / name).stat().st_size < 100_000 for name in names)
    shown = re.findall(r"\]\(images/benchmarks/(.+?)\)", (docs / "benchmarks.md").read_text(encoding="utf-8"))
    assert sorted(shown) == names


@pytest.mark.slow
@pytest.mark.skipif(mpl.__version__ != DRAWN_WITH, reason=f"the pictures were drawn with matplotlib {DRAWN_WITH}")
def test_the_pictures_are_those_of_the_figures(page: ModuleType, docs: Path) -> None:
    for path in page.write(docs)[1:]:
        assert path.read_bytes() == (DOCS / PICTURES / path.name).read_bytes(), path.name


@pytest.mark.slow
@pytest.mark.parametrize("question", SUITES)
def test_other_figures_make_another_page(
    page: ModuleType, docs: Path, question: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "draw", lambda bars, rows, path: path)
    file = docs / "benchmarks" / f"{question}.json"
    found = SuiteResult.read(file)
    table = found.tables[0]
    first = {name: cell * 1.5 if isinstance(cell, float) else cell for name, cell in table.rows[0].items()}
    replace(found, tables=[replace(table, rows=[first, *table.rows[1:]]), *found.tables[1:]]).write(file)
    page.write(docs)
    assert (docs / "benchmarks.md").read_text(encoding="utf-8") != (DOCS / "benchmarks.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_every_picture_follows_its_figures(page: ModuleType, tmp_path: Path) -> None:
    reports = [SuiteResult.read(DOCS / "benchmarks" / f"{question}.json") for question in SUITES]
    before = {path.name: path.read_bytes() for each in reports for path in page.pictures(each, tmp_path)}
    for each in reports:
        tables = [
            replace(table, rows=[{k: v * (1 + n) if isinstance(v, float) else v for k, v in row.items()}
                                 for n, row in enumerate(table.rows)])
            for table in each.tables
        ]  # fmt: skip
        for path in page.pictures(replace(each, tables=tables), tmp_path):
            assert path.read_bytes() != before.pop(path.name), path.name
    assert not before


def test_bars_are_grouped_by_columns_and_by_the_values_of_one(page: ModuleType) -> None:
    rows = [
        {"cell": "lstm", "hidden": hidden, "precision": precision, "loop": 2.0, "char-rnn": height}
        for hidden, precision, height in (
            (8, "float32", 5.0),
            (8, "int8", 6.0),
            (16, "float32", 7.0),
            (16, "int8", 8.0),
        )
    ]
    assert page.FIGURES["writing"].heights(rows) == {
        "loop": {"lstm\n8": 2.0, "lstm\n16": 2.0},
        "float32": {"lstm\n8": 5.0, "lstm\n16": 7.0},
        "int8": {"lstm\n8": 6.0, "lstm\n16": 8.0},
    }


def test_missed_aims_are_reported(page: ModuleType) -> None:
    slow, fast = (
        {"case": "2x128", "trainer": "float32", "threads": threads, "over K": ratio}
        for threads, ratio in ((1, 1.2), (2, 1.4))
    )
    words = page.aims(report("training", "over the bare loop", slow, fast))
    assert words.startswith("Aims, 1 missed, 11 not measured:\n")
    assert "| over the bare loop, over K | 2x128, float32, 1 | 1.2 | at least 1.25 | **missed** |" in words
    assert "| over the bare loop, over K | 2x128, float32, 2 | 1.4 | at least 1.35 | met |" in words
    assert page.aims(report("training", "over the bare loop", fast)).startswith("Aims, none missed, 12 not measured:\n")
    assert "| not measured |" in page.aims(report("training", "over the bare loop"))
    words = page.aims(report("generation", "start", {"hidden": 128, "first character, s": 0.5, "resident MB": 80.0}))
    assert "| start, first character, s | 128 | 0.5 | at most 0.4 | **missed** |" in words
    assert "| start, resident MB | 128 | 80 | at most 120 | met |" in words


def test_the_loss_is_compared_with_the_others(page: ModuleType) -> None:
    sides = [{"side": side, "loss": loss} for side, loss in (("char-rnn", 1.5), ("bare", 1.6), ("other", 1.4))]
    words = page.aims(report("quality", "equal time", *sides))
    assert "| equal time, loss | char-rnn | 1.5 | at most 1.6 | met |" in words
    assert "| equal time, loss | char-rnn | 1.5 | at most 1.4 | **missed** |" in words


def test_one_figure_is_found_by_its_row(page: ModuleType) -> None:
    found = report("ops", "layers", {"layer": "a", "hidden": 8, "x": 1.23456}, {"layer": "b", "hidden": 8, "x": 2.0})
    assert page.value(found, "layers", "x") == "1.235"
    assert page.value(found, "layers", "x", "layer=b", "hidden=8") == "2"
    assert page.value(found, "layers", "x", "layer=c") == page.value(found, "none", "x") == "(not measured)"


def test_cells_cannot_break_the_table(page: ModuleType) -> None:
    assert page.markdown([{"a": "x|y", "b": 1}]) == "| a | b |\n| --- | ---: |\n| x\\|y | 1 |"
    assert page.table(report("ops", "layers"), "layers") == "*layers: not measured.*"
