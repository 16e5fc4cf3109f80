"""Other programs, timed as whole processes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from char_rnn.bench import generation, training
from char_rnn.bench.peers import Peer, PeerError, itself, rates_of
from char_rnn.bench.questions import Settings, measure
from char_rnn.bench.training_sides import SHAPES, Shape


def test_a_peer_is_read() -> None:
    assert Peer.parse("mine=python 'my train.py' --text {text}") == Peer(
        "mine", ("python", "my train.py", "--text", "{text}")
    )
    assert Peer.parse("generation: mine =./write {characters}") == Peer(
        "mine", ("./write", "{characters}"), "generation"
    )
    assert Peer.parse("a=b x={steps}").command == ("b", "x={steps}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mine", 'must read NAME=COMMAND, for example "mine=python mine.py {text} {steps}"'),
        ("=python", "must read NAME=COMMAND"),
        ("mine=", "must read NAME=COMMAND"),
        ("mine='python", "No closing quotation"),
        ("mine=python {", "'{'"),
        ("nothing:mine=python", "nothing must be one of training, generation"),
        ("mine=python {characters} {x}", "{characters}, {x}: the places for training are {text}, {steps}"),
    ],
)
def test_what_is_no_peer(text: str, message: str) -> None:
    with pytest.raises(PeerError) as error:
        Peer.parse(text)
    assert message in str(error.value)


def test_a_peer_that_fails() -> None:
    with pytest.raises(PeerError, match=r"^a: nowhere/nothing: No such file"):
        Peer.parse("a=nowhere/nothing").run({})
    failing = Peer("a", (sys.executable, "-c", "import sys; print('1', file=sys.stderr); sys.exit('sorry')"))
    with pytest.raises(PeerError, match=r"^a: .* ended with status 1: sorry$"):
        failing.run({})


def test_rate_and_start_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Peer, "run", lambda self, values: 3.0 + values["steps"] * float(self.command[0]))
    peers = [Peer("slow", ("0.5",)), Peer("fast", ("0.25",))]
    rates = rates_of(peers, [{"steps": 10}, {"steps": 30}], "steps", 2)
    assert {name: (rate.per_second, rate.start) for name, rate in rates.items()} == {
        "slow": (2.0, 3.0),
        "fast": (4.0, 3.0),
    }
    with pytest.raises(PeerError, match="30 steps took no longer than 10"):
        rates_of([Peer("same", ("0",))], [{"steps": 10}, {"steps": 30}], "steps", 1)


@pytest.mark.slow
def test_a_peer_beside_this_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The peer does a number of things in a time of its own."""
    for name in SHAPES:
        monkeypatch.setitem(SHAPES, name, Shape("lstm", 8, 1, 4, 8))
    monkeypatch.setattr(training, "QUICK_STEPS", 2)
    monkeypatch.setattr(training, "EPOCH_OF", 20_000)
    monkeypatch.setattr(training, "PEER_STEPS", (50, 800))
    monkeypatch.setattr(generation, "QUICK_HIDDEN", (8,))
    monkeypatch.setattr(generation, "PEER_CHARACTERS", (1000, 60_000))
    program = "import time, sys; assert open(sys.argv[1]).read(); time.sleep({steps} / 800)"
    sleep = f"{sys.executable} -c '{program}' {{text}}"
    writes = f"{sys.executable} -c 'import time; time.sleep({{characters}} / 60000)'"
    peers = (Peer.parse(f"sleep={sleep}"), Peer.parse(f"generation:writes={writes}"))
    settings = Settings(rounds=1, quick=True, peers=peers, folder=tmp_path)
    own, other = measure("training", settings).rows("whole processes")
    assert (own["program"], other["program"]) == ("char-rnn", "sleep")
    assert 800 * 32 * 0.3 < other["characters/s"] < 800 * 32 * 1.5
    assert other["char-rnn / it"] == pytest.approx(own["characters/s"] / other["characters/s"])
    own, other = measure("generation", settings).rows("whole processes")
    assert (own["program"], other["program"]) == ("char-rnn", "writes")
    assert 60_000 * 0.3 < other["characters/s"] < 60_000 * 1.5


def test_this_program_is_run_by_its_own_command_line() -> None:
    values = dict.fromkeys(("text", "steps", "batch", "length", "hidden", "layers", "out", "model", "characters"), 7)
    words = [word.format(**values) for question in ("training", "generation") for word in itself(question, 1).command]
    assert "training.max_steps=7" in words
    assert "{" not in " ".join(words)
