import json
import sys
from pathlib import Path

import pytest

from char_rnn.bench import peers
from char_rnn.bench.peers import Peer, PeerError, compare_programs, itself, parse_peers


def python(script: str, *words: str) -> Peer:
    return Peer("mine", (sys.executable, "-c", script, *words))


def test_a_peer_is_read_as_a_shell_would_split_it() -> None:
    peer = Peer.parse("""mine=python "my file.py" --of='{text}' {steps}""")
    assert peer == Peer("mine", ("python", "my file.py", "--of={text}", "{steps}"), "training")
    assert Peer.parse("generation: it =write {characters}") == Peer("it", ("write", "{characters}"), "generation")
    assert Peer.parse("a=run {{x}} {steps}").command == ("run", "{{x}}", "{steps}")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("python mine.py", "must be NAME=COMMAND"),
        ("=python", "must be NAME=COMMAND"),
        ("mine=", "must be NAME=COMMAND"),
        ("mine='python", "No closing quotation"),
        ("mine=python {steps", "expected '}'"),
        ("writing:mine=python", "writing must be one of training, generation"),
        ("mine=python {characters}", r"\{characters\}: the placeholders for training are \{text\}"),
        ("generation:mine=python {text}", r"\{text\}: the placeholders for generation are \{characters\}"),
        ("mine=python {}", r"mine: \{\}: the placeholders"),
        ("mine=python {steps:{x}}", r"mine: \{steps:\{x\}\}: the placeholders"),
        ("mine=python {steps.real}", r"mine: \{steps.real\}: the placeholders"),
        ("char-rnn=python", "the name is taken"),
    ],
)
def test_what_is_no_peer_is_refused_in_a_line(text: str, says: str) -> None:
    with pytest.raises(PeerError, match=says):
        parse_peers([text])


def test_names_differ_where_they_answer_the_same() -> None:
    assert len(parse_peers(["a=x", "b=x", "generation:a=x"])) == 3
    with pytest.raises(PeerError, match="a: the name is taken"):
        parse_peers(["a=x", "a=y"])


def test_places_are_filled_in_and_threads_are_told(tmp_path: Path) -> None:
    out = tmp_path / "a b.json"
    script = "import json, os, sys; json.dump([sys.argv[2:], os.environ['OMP_NUM_THREADS']], open(sys.argv[1], 'w'))"
    assert python(script, "{out}", "{steps}", "$HOME; {text}").run({"out": out, "steps": 7, "text": "x y"}, 3) > 0
    assert json.loads(out.read_text()) == [["7", "$HOME; x y"], "3"]


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("import sys; print('first', file=sys.stderr); sys.exit('the reason')", "ended with status 1: the reason"),
        ("raise SystemExit(3)", "ended with status 3: nothing on standard error"),
        pytest.param(
            "import os; os.kill(os.getpid(), 9)",
            "ended with status -9",
            marks=pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals"),
        ),
        ("input()", "EOFError"),
    ],
)
def test_one_that_fails_is_named_with_its_last_line(script: str, says: str) -> None:
    with pytest.raises(PeerError, match=says) as error:
        python(script).run({})
    assert str(error.value).startswith("mine: ")
    assert "\n" not in str(error.value)


def test_one_that_is_not_there_is_named() -> None:
    with pytest.raises(PeerError, match="mine: /no/such/program: No such file or directory"):
        Peer("mine", ("/no/such/program",)).run({})


def test_the_start_is_told_from_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    order = []

    def run(self: Peer, values: dict[str, int], threads: int) -> float:
        order.append((self.name, values["steps"]))
        start, each = {"char-rnn": (1.0, 0.01), "slow": (5.0, 0.1)}[self.name]
        return start + each * values["steps"]

    monkeypatch.setattr(Peer, "run", run)
    ours, slow = compare_programs([Peer("slow", ("x",))], [{"steps": 10}, {"steps": 50}], "steps", 7, 3, 1)
    assert order == [("char-rnn", 10), ("slow", 10), ("char-rnn", 50), ("slow", 50)] * 2  # half of three rounds
    assert (ours["program"], slow["program"]) == ("char-rnn", "slow")
    assert (ours["characters/s"], slow["characters/s"]) == (pytest.approx(700), pytest.approx(70))
    assert (ours["start, s"], slow["start, s"]) == (pytest.approx(1), pytest.approx(5))
    assert (ours["char-rnn / it"], slow["char-rnn / it"]) == (pytest.approx(1), pytest.approx(10))


def test_one_that_takes_no_longer_for_more_has_no_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = {"char-rnn": 0.1, "mine": 0.0}
    monkeypatch.setattr(Peer, "run", lambda self, values, _: 1.0 + steps[self.name] * values["steps"])
    with pytest.raises(PeerError, match=r"mine: 50 steps took no longer than 10; does its command use \{steps\}"):
        compare_programs([Peer("mine", ("x",))], [{"steps": 10}, {"steps": 50}], "steps", 1, 1, 1)


@pytest.mark.parametrize("suite", peers.PLACEHOLDERS)
def test_this_package_uses_only_places_that_are_filled(suite: str) -> None:
    values = dict.fromkeys(peers.PLACEHOLDERS[suite], "1")
    assert all(word.format(**values) for word in itself(suite, 1).command)
