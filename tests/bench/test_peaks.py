from pathlib import Path

import pytest

from char_rnn.bench import peaks
from char_rnn.bench.growth import peak_of


def test_products_run_at_some_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peaks, "SQUARE", (16, 32))
    monkeypatch.setattr(peaks, "HIDDEN", (4, 8))
    monkeypatch.setattr(peaks, "BATCH", 2)
    monkeypatch.setattr(peaks, "TIME", 3)
    rows = peaks.product_rates([1], rounds=2, seconds=0.01)
    assert [row["shape"] for row in rows] == [
        "16 x 16 by 16 x 16", "32 x 32 by 32 x 32", "2 x 4 by 4 x 16", "2 x 8 by 8 x 32", "6 x 4 by 4 x 16",
        "6 x 8 by 8 x 32",
    ]  # fmt: skip
    assert all(0 < row["GFLOP/s"] < 1e5 for row in rows)
    assert peak_of(rows, 1) == 1e9 * max(row["GFLOP/s"] for row in rows)


def test_sizes_are_read_at_some_rate_and_small_ones_by_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peaks, "MOST_READ", 1 << 22)
    rows = peaks.read_rates([1, 2], rounds=2, seconds=0.01)
    assert [(row["read, MB"], row["threads"]) for row in rows] == [
        (0.262144, 1), (0.524288, 1), (1.048576, 1), (2.097152, 1), (2.097152, 2), (4.194304, 1), (4.194304, 2)
    ]  # fmt: skip
    assert all(0 < row["GB/s"] < 1e5 for row in rows)


@pytest.mark.skipif(peaks.platform.system() != "Linux", reason="the system tells of its caches in another way")
def test_caches_are_read_from_the_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = [("Data", "1", "32K", "0"), ("Instruction", "1", "32K", "0"), ("Unified", "2", "1M", "0"),
            ("Unified", "3", "8M", "0-3")]  # fmt: skip
    for number, values in enumerate(told):
        folder = tmp_path / f"index{number}"
        folder.mkdir()
        for name, value in zip(("type", "level", "size", "shared_cpu_list"), values, strict=True):
            (folder / name).write_text(value + "\n")
    monkeypatch.setattr(peaks, "CACHES", tmp_path)
    assert peaks.caches() == [("L1", 1 << 15, False), ("L2", 1 << 20, False), ("L3", 1 << 23, True)]
    assert peaks.level_of(1 << 15) == "L1"
    assert peaks.level_of(1 << 21) == "L3"
    assert peaks.level_of(1 << 21, threads=2) == "L2"
    assert peaks.level_of(1 << 24, threads=2) == "memory"
    monkeypatch.setattr(peaks, "CACHES", tmp_path / "nowhere")
    assert peaks.level_of(1) == "not known"
