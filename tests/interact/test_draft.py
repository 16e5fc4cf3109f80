"""A text that a person and a model write in turn: what is undone is undone to the bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from char_rnn.data.vocabulary import Vocabulary
from char_rnn.generation.engine import Engine
from char_rnn.interact.draft import Draft, save
from char_rnn.models.parameters import parameter_shapes
from char_rnn.sampling.options import Strategy
from char_rnn.utils.config import ModelConfig

LETTERS = Vocabulary.from_text("abcde \n'e.")
BYTES = Vocabulary("bytes", [*b"ab \n", *"é€😀".encode()])
ATTENTIVE = {"type": "gru", "attention": "all", "attention_window": 5, "match_lengths": [2], "match_window": 9}


def engine(vocabulary: Vocabulary = LETTERS, **options: Any) -> Engine:
    config = ModelConfig.model_validate({"hidden_size": 6, "num_layers": 2, **options})
    rng = np.random.default_rng(1)
    shapes = dict(parameter_shapes(config, vocabulary.size))
    return Engine(config, {name: 0.5 * rng.normal(size=shape) for name, shape in shapes.items()})


ENGINES = {"lstm": engine(), "attention": engine(**ATTENTIVE), "bytes": engine(BYTES)}


def draft(kind: str = "lstm", strategy: Strategy | None = None, **options: Any) -> Draft:
    vocabulary = BYTES if kind == "bytes" else LETTERS
    return Draft(ENGINES[kind], vocabulary, strategy or Strategy(), **{"seed": 3, **options})


def predictions(written: Draft) -> bytes:
    return written._live.log_probs.tobytes()


def stands(written: Draft) -> tuple[str, list[bytes], bytes]:
    """The text and all that the model knows of it."""
    state = written._live.streams.state(0)
    return written.text, [np.asarray(part).tobytes() for part in state], predictions(written)


def write(written: Draft, until: Any) -> str:
    return "".join(written.proceed(until))


def test_typing_is_read_as_it_comes() -> None:
    written = draft()
    assert written.type("abc d") == []
    streams = ENGINES["lstm"].begin()
    for symbol in LETTERS.encode("abc d"):
        expected = streams.step([symbol])[0]
    assert predictions(written) == expected.tobytes()
    assert (written.text, len(written)) == ("abc d", 5)
    assert written.stretches() == [("abc d", False)]


@pytest.mark.parametrize(
    ("text", "read", "notes"),
    [
        ("é", "e", ["'é' (U+00E9) written as 'e'"]),
        ("A", "a", ["'A' (U+0041) written as 'a'"]),
        ("’", "'", ["'’' (U+2019) written as \"'\""]),
        ("…", "...", ["'…' (U+2026) written as '...'"]),
        ("a漢漢b", "ab", ["'漢' (U+6F22) left out"]),
        ("a\r\nb", "a\nb", ["'\\r\\n' (U+000D U+000A) written as '\\n'"]),
        ("e\u0301", "e", ["'\u0301' (U+0301) left out"]),
    ],
)
def test_unknown_characters_are_near_ones_or_left_out(text: str, read: str, notes: list[str]) -> None:
    written = draft()
    assert written.type(text) == notes
    assert written.text == read
    assert draft(prime=text).notes == notes


def test_the_model_writes_words_lines_and_lengths() -> None:
    written = draft(strategy=Strategy(temperature=1.5))
    written.type("ab")
    word = write(written, "word")
    assert word.strip()
    assert word[-1].isspace()
    assert not any(character.isspace() for character in word.strip())
    line = write(written, "line")
    assert line.count("\n") == 1
    assert line[-1] == "\n"
    assert len(write(written, 37)) == 37
    assert written.text == "ab" + word + line + written.text[-37:]
    assert written.stretches() == [("ab", False), (written.text[2:], True)]


def test_a_word_that_does_not_end_ends() -> None:
    written = draft(strategy=Strategy(allowed="ab"))
    assert len(write(written, "word")) == 80
    assert len(write(written, "line")) == 1000


def test_the_first_symbol_of_nothing_is_drawn_from_all_alike() -> None:
    assert {round(candidate.probability, 6) for candidate in draft().likeliest(20)} == {round(1 / LETTERS.size, 6)}
    firsts = {write(draft(seed=seed), 1) for seed in range(60)}
    assert len(firsts) == LETTERS.size


def test_stopped_writing_stays_and_is_one_step() -> None:
    written = draft(prime="abc ")
    before = stands(written)
    pieces = written.proceed(100)
    for _ in range(7):
        next(pieces)
    pieces.close()
    assert len(written) == 11
    assert written.undo()
    assert stands(written) == before
    assert not written.undo()


def test_typing_is_undone_word_by_word() -> None:
    written = draft()
    for character in "ab cd  e":
        written.type(character)
    texts = []
    while written.undo():
        texts.append(written.text)
    assert texts == ["ab cd  ", "ab ", ""]
    assert written.redo()
    assert written.text == "ab "
    written.type("b")
    assert not written.redo()


@pytest.mark.parametrize(
    ("text", "word", "left"),
    [
        ("ab cd", False, "ab c"),
        ("ab cd", True, "ab "),
        ("ab cd \n", True, "ab "),
        ("abc", True, ""),
        ("  ", True, ""),
    ],
)
def test_erasing(text: str, word: bool, left: str) -> None:
    written = draft(prime=text)
    assert written.erase(word=word)
    assert written.text == left
    assert stands(written) == stands(draft(prime=left))
    assert written.undo()
    assert stands(written) == stands(draft(prime=text))


def test_nothing_is_erased_from_nothing() -> None:
    written = draft()
    assert not written.erase()
    assert not written.erase(word=True)
    assert not written.undo()


def test_bytes_are_shown_and_erased_as_characters() -> None:
    written = draft("bytes")
    written.type("aé€😀b")
    assert len(written) == 1 + 2 + 3 + 4 + 1
    texts = []
    while written.erase():
        texts.append(written.text)
    assert texts == ["aé€😀", "aé€", "aé", "a", ""]
    assert next(iter(written.likeliest(1))).text.startswith(("\\x", "a", "b", " ", "\n"))


def test_bytes_that_are_no_character_yet_wait_and_go_with_the_one_before() -> None:
    written = draft("bytes", prime="aé")
    written.choose(BYTES.char_to_idx["\xe2"])
    assert written.text == "aé"
    assert written.waiting() == [(r"\xE2", True)]
    written.choose(BYTES.char_to_idx["\x82"])
    alternative = next(iter(written.alternatives(3)))
    assert alternative.text == written._live.decoder().decode([letter.symbol for letter in alternative.letters])
    written.choose(BYTES.char_to_idx["\xac"])
    assert written.text == "aé€"
    assert written.waiting() == []
    assert written.undo()
    assert written.text == "aé"
    assert written.erase()
    assert written.text == "a"


@pytest.mark.parametrize("kind", ["lstm", "attention", "bytes"])
def test_alternatives_are_different_and_accepted_as_shown(kind: str) -> None:
    written = draft(kind, prime="ab ")
    before = stands(written)
    found = written.alternatives(12)
    assert stands(written) == before
    assert len({tuple(letter.symbol for letter in one.letters) for one in found}) == len(found) == 5
    written.accept(found[3])
    assert written.text == "ab " + found[3].text
    typed = draft(kind, prime="ab ")
    for letter in found[3].letters:
        typed.choose(letter.symbol)
    assert stands(written) == stands(typed)
    assert written.undo()
    assert stands(written) == before
    assert written.redo()
    assert stands(written) == stands(typed)


def test_alternatives_at_temperature_0_begin_with_the_likeliest() -> None:
    written = draft(strategy=Strategy(temperature=0), prime="ab ")
    best = np.argsort(-written._live.log_probs, kind="stable")[:5]
    assert [one.letters[0].symbol for one in written.alternatives(6)] == best.tolist()
    assert write(written, 6) == draft(strategy=Strategy(temperature=0), prime="ab ").alternatives(6)[0].text


def test_equal_alternatives_are_shown_once() -> None:
    assert len(draft(strategy=Strategy(allowed="a")).alternatives(4)) == 1


def test_temperature_sharpens_what_is_likeliest() -> None:
    written = draft(prime="ab")
    plain = written.likeliest(3)
    assert [one.probability for one in plain] == sorted((one.probability for one in plain), reverse=True)
    assert sum(one.probability for one in written.likeliest(100)) == pytest.approx(1)
    written.temperature = 0.25
    assert written.likeliest(1)[0].probability > plain[0].probability
    written.temperature = -3
    assert written.temperature == 0
    assert [(one.symbol, one.probability) for one in written.likeliest(5)] == [(plain[0].symbol, 1.0)]
    written.temperature = 99
    assert written.temperature == 5


def test_the_repetition_penalty_looks_at_the_text() -> None:
    written = draft(strategy=Strategy(repetition_penalty=50, repetition_window=2), prime="aaab")
    shares = {one.text: one.probability for one in written.likeliest(100)}
    plain = {one.text: one.probability for one in draft(prime="aaab").likeliest(100)}
    assert shares.get("a", 0) < plain["a"] / 10
    assert shares["c"] >= plain["c"]


def test_the_same_keys_write_the_same_text() -> None:
    texts = []
    for _ in range(2):
        written = draft(prime="ab")
        write(written, "word")
        written.accept(written.alternatives(9)[1])
        texts.append(written.text)
    assert texts[0] == texts[1]
    other = draft(prime="ab", seed=4)
    write(other, len(texts[0]) - 2)
    assert other.text != texts[0]


def test_saving_replaces_a_file_in_one_step(tmp_path: Path) -> None:
    path = tmp_path / "draft.txt"
    path.write_text("older", encoding="utf-8")
    save("é\n", path)
    assert path.read_bytes() == "é\n".encode()
    with pytest.raises(FileNotFoundError):
        save("x", tmp_path / "no" / "draft.txt")
    assert list(tmp_path.iterdir()) == [path]
