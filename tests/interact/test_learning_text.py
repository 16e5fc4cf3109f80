"""A text whose model learns from what the person wrote: undo is exact, and only the person's letters are learned."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from test_screen import PASTE, plain, play

from char_rnn.data.vocabulary import Vocabulary
from char_rnn.generation.engine import Engine
from char_rnn.generation.learning import SEGMENT, Learning
from char_rnn.interact import view
from char_rnn.interact.draft import Draft
from char_rnn.interact.screen import Screen
from char_rnn.models import build_model
from char_rnn.sampling.options import Strategy
from char_rnn.training.learner import Learner
from char_rnn.utils.config import ModelConfig

LETTERS = Vocabulary.from_text("abcde \n'e.")
TEXT = "a bee. a bead. abba ade "  # more than a segment
KINDS: dict[str, dict[str, Any]] = {
    "lstm": {"tie_weights": True},
    "slstm": {"type": "slstm"},
    "minlstm": {"type": "minlstm"},
    "attention": {"type": "gru", "attention": "all", "attention_window": 5, "match_lengths": [2], "match_window": 30},
}


def learning(kind: str = "lstm", rate: float = 0.05) -> Learning:
    config = ModelConfig.model_validate({"hidden_size": 6, "num_layers": 2, **KINDS[kind]})
    torch.manual_seed(1)
    model = build_model(config, LETTERS.size).eval()
    scale = [torch.full_like(parameter, 0.1) for parameter in model.parameters()]
    return Learning(Learner(model, scale, rate), lambda tensors: Engine(config, tensors))


def draft(kind: str = "lstm", **options: Any) -> Draft:
    return Draft(learning(kind, **options), LETTERS, Strategy(), seed=3)


def weights(written: Draft) -> bytes:
    tensors = written._live._learning.learner.tensors()  # type: ignore[attr-defined]
    return b"".join(tensors[name].tobytes() for name in sorted(tensors))


def all_of(steps: Iterator[Any]) -> list[Any]:
    return list(steps)


def everything(written: Draft) -> tuple[str, bytes, bytes, list[bytes]]:
    """The text, and all that the model knows of it."""
    all_of(written.catch_up())
    state = written._live.streams.state(0)
    return written.text, weights(written), written._live.log_probs.tobytes(), [np.asarray(p).tobytes() for p in state]


def test_typed_text_is_learned_a_segment_at_a_time() -> None:
    written = draft()
    begin = weights(written)
    written.type(TEXT[:SEGMENT])
    assert not written.is_behind
    written.type(TEXT[SEGMENT])
    assert written.is_behind
    assert weights(written) == begin
    assert all_of(written.catch_up()) == [1]
    assert weights(written) != begin
    assert not written.is_behind
    assert written.learns


def test_it_predicts_text_that_comes_again_better() -> None:
    losses = []
    for rate in (1e-9, 0.02):
        written = draft(rate=rate)
        written.type(TEXT * 10)
        all_of(written.catch_up())
        total = 0.0
        for character in TEXT:
            (symbol,) = LETTERS.encode(character)
            total -= float(written._live.log_probs[symbol])
            written.type(character)
        losses.append(total / len(TEXT))
    assert losses[1] < losses[0] - 0.15


@pytest.mark.parametrize("kind", KINDS)
def test_the_state_is_that_of_dynamic_evaluation(kind: str) -> None:
    """The learner's own predictions after the same text, with its state carried along."""
    written = draft(kind)
    written.type(TEXT * 3)
    all_of(written.catch_up())
    known = learning(kind).learner
    ids = LETTERS.encode(TEXT * 3).astype(np.int64)
    for start in range(0, len(ids) - 1 - SEGMENT, SEGMENT):
        known.learn_symbols(ids[start : start + SEGMENT + 1], np.ones(SEGMENT, np.bool_))
    assert isinstance(known, Learner)
    rest = torch.from_numpy(ids[(len(ids) - 1) // SEGMENT * SEGMENT :])[None]
    with torch.no_grad():
        expected = known.model(rest, known.hidden)[0][0, -1].numpy()
    np.testing.assert_allclose(written._live.log_probs, expected, atol=2e-6)


def test_text_that_the_model_writes_is_not_learned() -> None:
    written = draft()
    begin = weights(written)
    all_of(written.proceed(3 * SEGMENT))
    assert weights(written) == begin
    assert not written.is_behind
    written.choose(written.likeliest(1)[0].symbol)
    for _ in range(SEGMENT):
        all_of(written.proceed(1))
    assert weights(written) != begin


def test_accepted_choices_are_learned() -> None:
    written = draft()
    begin = weights(written)
    written.accept(written.alternatives(SEGMENT + 1)[0])
    all_of(written.catch_up())
    assert weights(written) != begin


@pytest.mark.parametrize(("kind", "memory"), [("lstm", 0), ("attention", 1 << 20)])
def test_undo_and_redo_restore_everything_bit_for_bit(kind: str, memory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("char_rnn.generation.learning.MEMORY", memory)
    written, rng = draft(kind), np.random.default_rng(0)
    known = [everything(written)]
    for step in range(12):
        if step % 4 == 1:
            all_of(written.proceed(25))
        elif step % 4 == 2:
            written.accept(written.alternatives(12)[0])
        else:
            written.type("".join(rng.choice(list("abcde."), 45)) + "\n")  # one word, so one step
        known.append(everything(written))
    for expected in known[-2::-1]:
        assert written.undo()
        assert everything(written) == expected
    assert not written.undo()
    for expected in known[1:]:
        assert written.redo()
        assert everything(written) == expected


def test_the_same_text_is_the_same_model_however_it_was_written() -> None:
    pasted, typed = draft(), draft()
    pasted.type(TEXT * 4)
    for character in TEXT * 4 + "bc":
        typed.type(character)
        all_of(typed.catch_up())
    typed.erase()
    typed.erase()
    assert everything(pasted) == everything(typed)


def test_the_same_keys_write_the_same_text() -> None:
    def write() -> str:
        written = draft()
        written.type(TEXT * 2)
        all_of(written.proceed(50))
        written.type(TEXT)
        written.accept(written.alternatives(30)[1])
        all_of(written.proceed("line"))
        return written.text

    assert write() == write()


def test_saved_weights_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("char_rnn.generation.learning.MEMORY", 0)
    written = draft()
    written.type(TEXT * 20)
    all_of(written.catch_up())
    assert len(written._live._learning._saved) == 8  # type: ignore[attr-defined]


def test_the_states_of_attention_count_among_the_saved_bytes() -> None:
    known = learning("attention").learner
    weights, hidden = known.snapshot()
    assert known.nbytes == sum(part.nbytes for part in (*weights, *hidden))


def test_the_terminal_learns_between_two_keys() -> None:
    def has_learned(screen: Screen) -> bool:
        return len(screen.draft) == 10 * len(TEXT) + 1 and not screen.draft.is_behind

    pasted, written = PASTE.format(TEXT * 10), draft()
    screen = play((pasted, lambda screen: len(screen.draft) > SEGMENT), ("b", has_learned), begin=written)
    assert plain(view.status_of(screen)).endswith("241 characters  model  learns")
    screen.left = 3
    assert plain(view.status_of(screen)).endswith("241 characters  model  learning, 3 steps left")
    expected = draft()
    expected.type(TEXT * 10 + "b")
    assert everything(written) == everything(expected)


def test_an_error_while_learning_ends_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    written = draft()
    monkeypatch.setattr(written._live._learning.learner, "learn_symbols", lambda *_: 1 / 0)  # type: ignore[attr-defined]
    with pytest.raises(ZeroDivisionError):
        play((PASTE.format(TEXT), lambda _: False), begin=written)
    assert written.text == TEXT
