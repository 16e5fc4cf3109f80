"""Dynamic evaluation: the paper's equations, every character once, and a model left as it was."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from pairwise import pairwise
from torch import Tensor

from char_rnn.cells import MinGRU
from char_rnn.data.corpus import Corpus
from char_rnn.models import CharGRU, CharLSTM, CharModel, CharRNN
from char_rnn.training import dynamic_evaluation, evaluate, learner
from char_rnn.training.dynamic_evaluation import evaluate_dynamically

WORDS = ["rose ", "thorn ", "leaf\n", "root, ", "bee. "]
CELLS: dict[str, Any] = {"lstm": CharLSTM, "gru": CharGRU, "rnn": CharRNN, "mingru": partial(CharModel, cell=MinGRU())}
PARTS: dict[str, dict[str, Any]] = {
    "plain": {"embedding_size": 4},
    "every part": {"tie_weights": True, "layer_norm": "between", "residual": True, "feed_forward_size": 5}
    | {
        "attention": "all",
        "attention_window": 9,
        "match_lengths": [2],
        "weight_dropout": 0.3,
        "zoneout": 0.1,
        "embedding_dropout": 0.1,
    },
}


@pytest.fixture(autouse=True)
def _little_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learner, "STREAMS", 3)
    monkeypatch.setattr(learner, "LENGTH", 28)
    monkeypatch.setattr(learner, "FEWEST", 2)


def garden(words: int = 120) -> Corpus:
    return Corpus.from_text("".join(np.random.default_rng(0).choice(WORDS, words)))


def small(cell: Callable[..., CharModel], corpus: Corpus, parts: str = "plain") -> CharModel:
    torch.manual_seed(1)
    return cell(corpus.vocabulary.size, 6, 2, 0.5, **PARTS[parts]).double()


def weights_of(model: CharModel) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in model.parameters()]


def gradients_of(model: CharModel, text: np.ndarray, hidden: object) -> tuple[float, list[Tensor], tuple[Tensor, ...]]:
    """Mean loss of the rows of a text, by the model's parameters, and the state after it."""
    ids = torch.from_numpy(text.astype(np.int64))
    log_probs, after = model(ids[:, :-1], hidden)
    loss = -log_probs.gather(-1, ids[:, 1:, None]).mean()
    gradients = list(torch.autograd.grad(loss, list(model.parameters())))
    return loss.item(), gradients, after


def detached(hidden: Tensor | tuple[Tensor, ...]) -> object:
    return hidden.detach() if isinstance(hidden, Tensor) else tuple(part.detach() for part in hidden)


def rms_by_hand(model: CharModel, train: np.ndarray, rows: int, segment: int, batches: int) -> list[Tensor]:
    """Root of B times the mean squared gradient of batches of B rows, each row a part of the training text."""
    length = (len(train) - 1) // (rows * segment) * segment
    squares = [torch.zeros_like(parameter) for parameter in model.parameters()]
    hidden: object = None
    count = min(batches, length // segment)
    for batch in range(count):
        begins = [row * length + batch * segment for row in range(rows)]
        text = np.stack([train[begin : begin + segment + 1] for begin in begins])
        _, gradients, after = gradients_of(model, text, hidden)
        hidden = detached(after)
        squares = [square + gradient**2 for square, gradient in zip(squares, gradients, strict=True)]
    return [torch.sqrt(rows * square / count) for square in squares]


def dynamic_by_hand(
    model: CharModel, ids: np.ndarray, rms: list[Tensor], rate: float, decay: float, segment: int
) -> float:
    """Equations 5 and 6 of arXiv 1709.07432, a parameter at a time; changes the model."""
    origin = weights_of(model)
    mean = torch.cat([r.flatten() for r in rms]).mean()
    hidden: object = None
    total = 0.0
    for start in range(0, len(ids) - 1, segment):
        text = ids[None, start : start + segment + 1]
        loss, gradients, after = gradients_of(model, text, hidden)
        hidden = detached(after)
        total += loss * (text.shape[1] - 1)
        with torch.no_grad():
            for theta, theta_0, gradient, r in zip(model.parameters(), origin, gradients, rms, strict=True):
                rms_norm = torch.clamp(r / mean, max=1 / decay)
                theta.add_(-rate * gradient / (r + learner.EPSILON) + decay * (theta_0 - theta) * rms_norm)
    return total / (len(ids) - 1)


@pytest.mark.parametrize(("cell", "parts", "decay"), pairwise([*CELLS], [*PARTS], [0.01, 0.4]))
def test_it_is_the_equations_of_the_paper(cell: str, parts: str, decay: float) -> None:
    corpus = garden(80)
    model = small(CELLS[cell], corpus, parts)
    train, val = corpus.split("train", 0.6, 0.4), corpus.split("val", 0.6, 0.4)
    found = evaluate_dynamically(model, val, train, rate=0.01, decay=decay, segment=7)
    model.eval()
    rms = rms_by_hand(model, train.ids, 3, 7, 4)
    assert max(float(r.max() / torch.cat([q.flatten() for q in rms]).mean()) for r in rms) > 1 / 0.4  # some are clipped
    expected = dynamic_by_hand(model, corpus.ids[len(train) - 1 :], rms, 0.01, decay, 7)
    assert found.loss == pytest.approx(expected, rel=1e-12)
    assert (found.characters, found.statistics) == (len(val), "train")


@pytest.mark.parametrize(
    ("cell", "parts", "segment"), [("gru", "every part", 1), *pairwise([*CELLS], [*PARTS], [7, 120])]
)
def test_without_a_rate_it_is_the_static_loss(cell: str, parts: str, segment: int) -> None:
    corpus = garden(20)
    model = small(CELLS[cell], corpus, parts)
    for split in (corpus.split("all"), corpus.split("val", 0.5, 0.4)):
        found = evaluate_dynamically(model, split, rate=0, segment=segment)
        static = evaluate(model, split)
        assert found.loss == pytest.approx(static.loss, rel=1e-12)
        assert found.characters == static.characters


def test_a_pattern_that_comes_again_is_learned() -> None:
    corpus = Corpus.from_text("bee leaf root. " + "zqxj kvwz! " * 60)
    model = CharLSTM(corpus.vocabulary.size, 16, 1).double()
    split = corpus.split("all")
    static = evaluate(model, split).loss
    assert evaluate_dynamically(model, split, rate=0.02).loss < static - 0.5
    assert evaluate_dynamically(model, split, corpus.split("train", 0.1, 0.1), rate=0.02, segment=5).loss < static - 0.5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_left_as_it_was(dtype: torch.dtype, training: bool) -> None:
    corpus = garden()
    model = small(CharLSTM, corpus).to(dtype).train(training)
    before, random = weights_of(model), torch.get_rng_state()
    results = {evaluate_dynamically(model, corpus.split("all"), rate=0.01).loss for _ in range(2)}
    assert len(results) == 1
    assert all(torch.equal(a, b) for a, b in zip(before, weights_of(model), strict=True))
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), random)
    assert model.training is training


def test_the_strongest_decay_remembers_one_segment_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """With every element's decay at its limit each update begins at theta_0."""
    corpus = garden(30)
    model = small(CharRNN, corpus).eval()
    ones = [torch.ones_like(parameter) for parameter in model.parameters()]
    monkeypatch.setattr(dynamic_evaluation, "gradient_scale", lambda *_: ones)
    split = corpus.split("all")
    found = evaluate_dynamically(model, split, rate=0.1, decay=1, segment=5)
    origin, ids, hidden, total = weights_of(model), split.ids, None, 0.0
    for start in range(0, len(ids) - 1, 5):
        text = ids[None, start : start + 6]
        loss, gradients, after = gradients_of(model, text, hidden)
        hidden, total = detached(after), total + loss * (text.shape[1] - 1)
        with torch.no_grad():
            for theta, theta_0, gradient in zip(model.parameters(), origin, gradients, strict=True):
                theta.copy_(theta_0 - 0.1 * gradient / (1 + learner.EPSILON))
    assert found.loss == pytest.approx(total / (len(ids) - 1), rel=1e-12)


def test_text_of_its_own_serves_where_the_training_split_is_not_known_or_too_short() -> None:
    corpus = garden(60)
    model = small(CharLSTM, corpus)
    val = corpus.split("val", 0.05, 0.9)
    unknown = evaluate_dynamically(model, val, rate=0.01)
    assert unknown.statistics == "own"
    assert evaluate_dynamically(model, val, corpus.split("train", 0.05, 0.9), rate=0.01) == unknown
    assert unknown.loss < evaluate(model, val).loss


def test_progress_comes_to_its_end() -> None:
    corpus = garden(300)
    told: list[tuple[str, int, int]] = []
    split = corpus.split("all")
    evaluate_dynamically(small(CharRNN, corpus), split, segment=10, progress=lambda *parts: told.append(parts))
    count = -(-split.predicted // 10)
    assert told[:2] == [("measuring gradients", done, 2) for done in range(1, 3)]
    assert told[2:] == [("learning from the text", done, count) for done in [*range(50, count, 50), count]]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"rate": -1e-3}, "rate: got -0.001"),
        ({"rate": math.inf}, "rate: got inf"),
        ({"decay": 1.5}, "decay: got 1.5"),
        ({"decay": math.nan}, "decay: got nan"),
        ({"segment": 0}, "segment: got 0"),
        ({"segment": 1001}, "segment: got 1001; give a whole number of characters from 1 to 1,000"),
        ({"rate": 1e300}, r"rate 1e\+300 ended in a loss of nan; give a lower rate"),
    ],
)
def test_what_cannot_be_is_refused(settings: dict[str, float], words: str) -> None:
    corpus = garden(30)
    with pytest.raises(ValueError, match=words):
        evaluate_dynamically(small(CharRNN, corpus), corpus.split("all"), **settings)  # type: ignore[arg-type]


def test_nothing_to_predict_is_an_error() -> None:
    corpus = garden(30)
    with pytest.raises(ValueError, match="the test split has 0 characters"):
        evaluate_dynamically(small(CharRNN, corpus), corpus.split("test", 0.9, 0.1))
