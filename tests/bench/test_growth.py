from pathlib import Path

import pytest

from char_rnn.bench import growth_corpus, growth_training, texts
from char_rnn.bench.growth import Work, _table, measure_work
from char_rnn.bench.growth_corpus import those_that_fit
from char_rnn.bench.growth_training import flop_of, left_out, training_rows
from char_rnn.bench.growth_writing import write_many, write_one
from char_rnn.bench.questions import Settings
from char_rnn.bench.training_sides import Shape

SETTINGS = Settings(rounds=2)
PEAK = 1e11


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "SETTLED", 0)


@pytest.mark.slow
def test_training_reaches_what_its_rate_comes_to_and_a_larger_batch_takes_more_memory() -> None:
    shapes = [Shape(hidden=64, batch=batch, length=20) for batch in (4, 600)]
    (small, large), notes = training_rows(shapes, PEAK, SETTINGS, seconds=0.02, limit=60)
    assert notes == []
    for shape, row in zip(shapes, (small, large), strict=True):
        flop = row["FLOP a character"] * row["characters/s"]
        assert flop == pytest.approx(row["GFLOP/s"] * 1e9) == pytest.approx(row["share of peak"] * PEAK)
        assert flop_of(shape) == shape.characters * row["FLOP a character"]
    # 596 more sequences of 20 characters keep at least h, c and four gates in each of two layers
    assert large["of it grown, MB"] - small["of it grown, MB"] > 596 * 20 * 2 * 6 * 64 * 4 / 1e6


def test_what_takes_too_long_or_too_much_memory_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    assert left_out(Shape(), PEAK, limit=10) is None
    assert "s, 10 s are given to a shape" in str(left_out(Shape(hidden=4096), PEAK, limit=10))
    monkeypatch.setattr(growth_training, "SHARE_OF_MEMORY", 1e-9)
    assert "GB may be taken" in str(left_out(Shape(), PEAK, limit=10))
    rows, notes = training_rows([Shape()], PEAK, SETTINGS, 0.02, limit=10)
    assert rows == []
    assert _table("t", "What it is.", (rows, notes)).note.startswith("What it is. Left out: lstm 2x128, batch 50x50")


def test_one_text_reads_its_matrices_once_a_step() -> None:
    full, small = (write_one(64, precision, 1, 2, 0.02) for precision in ("float32", "int8"))
    assert full["read, MB"] == 4 * small["read, MB"] == (12 * 64 * 64 + 65 * 64) * 4 / 1e6
    for row in (full, small):
        assert row["GB/s"] == pytest.approx(row["steps/s"] * row["read, MB"] / 1e3)
        assert row["characters/s"] > 0
        assert row["share of reading"] > 0


def test_texts_side_by_side_multiply_as_many_times() -> None:
    for count in (1, 16):
        row = write_many(32, count, 1, 2, 0.02)
        assert row["texts"] == count
        assert row["GFLOP/s"] * 1e9 == pytest.approx(row["characters/s"] * 2 * (12 * 32 * 32 + 65 * 32))


def test_texts_that_the_disk_cannot_hold_are_left_out() -> None:
    free = growth_corpus.SPARE + int(2.1 * 111e6)
    assert those_that_fit([1, 10, 100], free) == ([1, 10, 100], [])
    fitting, notes = those_that_fit([1, 10, 100], free - 1)
    assert fitting == [1, 10]
    assert notes == ["100 MB: 1.2 GB of disk are needed, 1.2 are free"]


@pytest.mark.slow
def test_the_question_is_answered_and_nothing_is_left_behind(tmp_path: Path) -> None:
    told: list[str] = []
    work = Work((32,), (1,), (1, 2), (1, 4), (1, 2), steps=3, runs=1, seconds=0.01, limit=60)
    report = measure_work(Settings(rounds=2, quick=True, folder=tmp_path, progress=told.append), work)
    assert [len(table.rows) for table in report.tables[2:]] == [1, 2, 2, 2, 2]
    assert all("Left out" not in table.note for table in report.tables)
    first, second = report.rows("training by size of the text")
    assert second["memory, MB"] - first["memory, MB"] < 50
    assert list(tmp_path.iterdir()) == []
    assert "training on a text of 2 MB, 1 of 1" in told
