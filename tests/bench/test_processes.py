import mmap
import sys

import pytest

from char_rnn.bench.processes import ProcessError, in_own_process, page_faults, peak_mb


def take(megabytes: int) -> list[float]:
    before = peak_mb()
    taken = bytes(bytearray(b"x") * (megabytes * 10**6))
    return [len(taken), before, peak_mb()]


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    monkeypatch.setenv("PYTHONPATH", str(request.path.parent))


def test_the_memory_is_that_of_the_process_alone() -> None:
    here = bytearray(b"x") * 300_000_000
    size, before, after = in_own_process("test_processes:take", megabytes=100)
    assert size == 100_000_000
    assert before < len(here) / 1e6
    assert 95 < after - before < 300


def test_what_fails_says_why() -> None:
    with pytest.raises(ProcessError, match="test_processes:take ended with exit status 1: TypeError"):
        in_own_process("test_processes:take")


def test_what_is_killed_says_so() -> None:
    with pytest.raises(ProcessError, match="signal"):
        in_own_process("os:abort")


@pytest.mark.slow
@pytest.mark.parametrize("kept", [False, True])
def test_the_loops_are_measured_with_memory_kept_or_given_back(kept: bool) -> None:
    arguments = {"case": "tiny", "threads": [1], "rounds": 1, "kept": kept}
    (found,) = in_own_process("char_rnn.bench.training_sides:speeds", **arguments)
    assert (found["trainer"], found["threads"]) == ("float32", 1)
    assert 0.02 < found["char-rnn"] / found["bare"] < 50
    assert found["peak"] > 50


@pytest.mark.skipif(sys.platform == "win32", reason="not counted there")
def test_pages_are_counted_as_they_are_touched() -> None:
    before = page_faults()
    with mmap.mmap(-1, 32 << 20) as touched:  # the allocator might hand out pages that were touched before
        for page in range(0, len(touched), mmap.PAGESIZE):
            touched[page] = 1
        assert page_faults() - before >= len(touched) >> 21  # of 2 MB, the largest
