"""How large gradients are: the same for any number of streams, and of text that a model writes."""

from __future__ import annotations

from itertools import islice, pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from char_rnn.data.corpus import Split
from char_rnn.models import CharModel, CharRNN
from char_rnn.training import learner

CHANCES = (0.1, 0.3, 0.6)


@pytest.fixture(scope="module")
def split() -> Split:
    """Symbols drawn one by one."""
    return Split("train", np.random.default_rng(0).choice(3, 40_001, p=CHANCES))


@pytest.fixture(scope="module")
def model(split: Split) -> CharModel:
    """What describes them best: it sees nothing but its output bias."""
    torch.manual_seed(1)
    model = CharRNN(3, 2, 1).double()
    with torch.no_grad():
        model.output_proj.weight.zero_()
        model.output_proj.bias.copy_(torch.tensor(CHANCES).log())
    return model


def scale_of_bias(model: CharModel, text: Split | None) -> Tensor:
    names = [name for name, _ in model.named_parameters()]
    scale = learner.gradient_scale(model, text, 10, lambda *_: None)
    return scale[names.index("output_proj.bias")]


@pytest.mark.parametrize(("streams", "length"), [(1, 8000), (20, 2000)])
def test_it_is_that_of_one_segment_however_many_are_read_at_once(
    model: CharModel, split: Split, monkeypatch: pytest.MonkeyPatch, streams: int, length: int
) -> None:
    """The bias's gradient is the mean of n draws of p - 1 or p, whose variance is p (1 - p)."""
    monkeypatch.setattr(learner, "STREAMS", streams)
    monkeypatch.setattr(learner, "LENGTH", length)
    expected = [(p * (1 - p) / 10) ** 0.5 for p in CHANCES]
    assert scale_of_bias(model, split).tolist() == pytest.approx(expected, rel=0.25)


def test_text_of_its_own_gives_the_same_to_a_model_that_knows_its_text(model: CharModel, split: Split) -> None:
    own = scale_of_bias(model, None)
    assert own.tolist() == pytest.approx([(p * (1 - p) / 10) ** 0.5 for p in CHANCES], rel=0.25)
    assert torch.equal(own, scale_of_bias(model, None))


def test_a_model_writes_what_it_believes(model: CharModel) -> None:
    batches = list(islice(learner.own_text(model, 100, 20), 10))
    symbols = torch.cat([y.flatten() for _, y in batches])
    assert (torch.bincount(symbols) / len(symbols)).tolist() == pytest.approx(CHANCES, abs=0.01)
    assert all(torch.equal(x[:, 1:], y[:, :-1]) for x, y in batches)
    assert all(torch.equal(before[1][:, -1], after[0][:, 0]) for before, after in pairwise(batches))


@pytest.mark.parametrize("length", [11, 60, 500])
def test_a_short_text_is_enough(model: CharModel, split: Split, length: int) -> None:
    assert bool((scale_of_bias(model, Split("train", split.ids[:length])) > 0).all())
