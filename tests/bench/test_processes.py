import pytest

from char_rnn.bench.processes import ProcessError, in_own_process, peak_mb


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
