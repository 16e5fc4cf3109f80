import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest
from bench_growth_helpers import growth_report

from char_rnn.bench.report import Table

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "page_growth.py"
spec = importlib.util.spec_from_file_location("page_growth", SCRIPT)
assert spec is not None
assert spec.loader is not None
page_growth = importlib.util.module_from_spec(spec)
spec.loader.exec_module(page_growth)


def test_every_figure_is_drawn_and_the_same_report_gives_the_same_bytes(tmp_path: Path) -> None:
    paths = page_growth.draw(growth_report(), tmp_path)
    assert [path.stem for path in paths] == list(page_growth.FIGURES)
    first = [path.read_bytes() for path in paths]
    assert [path.read_bytes() for path in page_growth.draw(growth_report(), tmp_path)] == first
    assert all(len(drawn) < 100_000 and b"#ffffff" in drawn for drawn in first)


def test_a_table_without_rows_has_no_figure(tmp_path: Path) -> None:
    report = growth_report()
    tables = [Table(table.name, []) if table.name == "training by batch" else table for table in report.tables]
    paths = page_growth.draw(replace(report, tables=tables), tmp_path)
    assert "growth-training-batch" not in [path.stem for path in paths]
    assert len(paths) == len(page_growth.FIGURES) - 1


@pytest.mark.parametrize("count", [1, 2])
def test_few_points_can_be_drawn(count: int, tmp_path: Path) -> None:
    report = growth_report()
    tables = [Table(table.name, table.rows[:count]) for table in report.tables]
    assert len(page_growth.draw(replace(report, tables=tables), tmp_path)) == len(page_growth.FIGURES)
