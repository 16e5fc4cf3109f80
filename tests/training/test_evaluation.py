"""Honest numbers: every character once, with carried state."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from char_rnn.data.corpus import Corpus
from char_rnn.models import CharLSTM, CharModel, CharRNN
from char_rnn.training.evaluation import BURN_IN, CHUNK, MIN_STREAM, Evaluation, evaluate, evaluate_mean

WORDS = "It was the best of times, it was the worst of times.\n"


def corpus_of(length: int) -> Corpus:
    rng = np.random.default_rng(length)
    return Corpus.from_text("".join(rng.choice(list(WORDS), length)))


def loss_in_one_pass(model: CharModel, ids: np.ndarray) -> float:
    """One stream from a zero state, in one call, the plain way."""
    x = torch.from_numpy(ids.astype(np.int64))
    with torch.no_grad():
        log_probs, _ = model(x[None, :-1])
    return float(-log_probs[0].double().gather(-1, x[1:, None]).mean())


@settings(deadline=None, max_examples=25)
@given(st.integers(2, 2 * CHUNK + 3))
def test_a_short_text_is_read_in_one_stream(length: int) -> None:
    torch.manual_seed(1)
    corpus = corpus_of(length)
    model = CharLSTM(corpus.vocabulary.size, 7, 2).double()
    split = corpus.split("all")
    result = evaluate(model, split)
    assert result.characters == length - 1
    assert result.loss == pytest.approx(loss_in_one_pass(model, split.ids), rel=1e-12)


def test_the_character_before_the_split_predicts_its_first() -> None:
    torch.manual_seed(2)
    corpus = corpus_of(400)
    model = CharRNN(corpus.vocabulary.size, 5, 1).double()
    split = corpus.split("val", 0.5, 0.25)
    result = evaluate(model, split)
    assert result.characters == len(split) == 100
    assert result.loss == pytest.approx(loss_in_one_pass(model, corpus.ids[199:300]), rel=1e-12)


@pytest.mark.parametrize("cell", [CharLSTM, CharRNN])
def test_streams_side_by_side_start_warm(cell: type[CharModel]) -> None:
    """Three streams: each equals a pass of its own over its burn-in and its part."""
    torch.manual_seed(3)
    corpus = corpus_of(3 * MIN_STREAM + 101)
    model = cell(corpus.vocabulary.size, 6, 1).double()
    ids = corpus.split("all").ids
    part = -(-(len(ids) - 1) // 3)
    total = 0.0
    for start in range(0, len(ids) - 1, part):
        warm = min(start, BURN_IN)
        x = torch.from_numpy(ids[start - warm : start + part + 1].astype(np.int64))
        with torch.no_grad():
            log_probs, _ = model(x[None, :-1])
        total -= float(log_probs[0, warm:].gather(-1, x[warm + 1 :, None]).sum())
    result = evaluate(model, corpus.split("all"))
    assert result.characters == len(ids) - 1
    assert result.loss == pytest.approx(total / (len(ids) - 1), rel=1e-12)


def test_a_part_is_spread_evenly_over_the_split() -> None:
    """Two streams where a text of that length has two, from the beginning and from the middle, the second one warm."""
    torch.manual_seed(4)
    corpus = corpus_of(5 * MIN_STREAM + 1)
    model = CharLSTM(corpus.vocabulary.size, 6, 1).double()
    split, reach = corpus.split("all"), MIN_STREAM + 50
    total = 0.0
    for start in (0, 5 * MIN_STREAM // 2):
        warm = min(start, BURN_IN)
        x = torch.from_numpy(split.ids[start - warm : start + reach + 1].astype(np.int64))
        with torch.no_grad():
            log_probs, _ = model(x[None, :-1])
        total -= float(log_probs[0, warm:].gather(-1, x[warm + 1 :, None]).sum())
    result = evaluate(model, split, characters=2 * reach)
    assert (result.characters, result.of) == (2 * reach, 5 * MIN_STREAM)
    assert result.loss == pytest.approx(total / (2 * reach), rel=1e-12)
    told: list[tuple[int, int]] = []
    evaluate(model, split, characters=2 * reach, progress=lambda done, total: told.append((done, total)))
    assert told[0] == (2 * CHUNK, 2 * reach)
    assert told[-1] == (2 * reach, 2 * reach)
    whole = evaluate(model, split, characters=5 * MIN_STREAM)
    assert (whole, whole.of) == (evaluate(model, split), None)


def test_evaluation_draws_nothing_and_leaves_the_mode_alone() -> None:
    corpus = corpus_of(300)
    model = CharLSTM(corpus.vocabulary.size, 5, 2, dropout=0.5).train()
    before = torch.get_rng_state()
    first = evaluate(model, corpus.split("all"))
    assert model.training
    assert evaluate(model, corpus.split("all")) == first
    assert torch.equal(torch.get_rng_state(), before)


def test_units() -> None:
    evaluation = Evaluation(math.log(8), 10)
    assert evaluation.bits_per_character == pytest.approx(3)
    assert evaluation.perplexity == pytest.approx(8)
    assert Evaluation(1e6, 1).perplexity == math.inf


def test_nothing_to_predict_is_an_error() -> None:
    corpus = corpus_of(10)
    with pytest.raises(ValueError, match="the test split has 0 characters"):
        evaluate(CharRNN(corpus.vocabulary.size, 3, 1), corpus.split("test", 0.9, 0.1))
    with pytest.raises(ValueError, match=r"the all split has 1 character, .*; give a longer text"):
        evaluate(CharRNN(1, 3, 1), corpus_of(1).split("all"))


def test_a_large_vocabulary_is_evaluated_in_smaller_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(4)
    corpus = corpus_of(2 * MIN_STREAM + 7)
    model = CharLSTM(corpus.vocabulary.size, 6, 2).double()
    whole = evaluate(model, corpus.split("all"))
    monkeypatch.setattr("char_rnn.training.evaluation.MAX_OUTPUTS", 2 * corpus.vocabulary.size * 37)
    assert evaluate(model, corpus.split("all")).loss == pytest.approx(whole.loss, rel=1e-12)


def test_the_mean_of_models_is_that_of_their_probabilities() -> None:
    """In one pass, with each model's own state and burn-in: its result is that of an evaluation on its own."""
    torch.manual_seed(1)
    corpus = corpus_of(2 * MIN_STREAM + 77)
    symbols, split = corpus.vocabulary.size, corpus.split("all")
    models = [
        CharLSTM(symbols, 7, 1, 0.5, initialization="xavier"),
        CharRNN(symbols, 9, 2, attention="top", attention_window=20),
    ]
    mean, each = evaluate_mean(models, split)
    assert each == [evaluate(model, split) for model in models]
    assert all(model.training for model in models)
    short = corpus.split("val", 0.9, 0.1)
    x = torch.from_numpy(np.concatenate([[short.context], short.ids]).astype(np.int64))[None]
    with torch.no_grad():
        probabilities = torch.stack([model.eval().double()(x[:, :-1])[0].exp() for model in models]).mean(0)
    expected = -probabilities.log()[0].gather(-1, x[0, 1:, None]).mean()
    assert evaluate_mean(models, short)[0].loss == pytest.approx(float(expected), rel=1e-10)
    assert mean.loss < max(result.loss for result in each)
    assert evaluate_mean(models[:1], short)[0] == evaluate(models[0], short)


def test_models_of_other_vocabularies_have_no_mean() -> None:
    with pytest.raises(ValueError, match=r"need the same vocabulary, got sizes \[5, 6\]"):
        evaluate_mean([CharLSTM(5, 3, 1), CharLSTM(6, 3, 1)], corpus_of(50).split("all"))
