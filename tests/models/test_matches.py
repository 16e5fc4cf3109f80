"""A model with matches: its state, its evaluation and its arguments."""

from __future__ import annotations

import pytest
import torch

from char_rnn.data.corpus import Corpus
from char_rnn.models import CharLSTM
from char_rnn.training.evaluation import evaluate


def model(vocab_size: int = 7, **options: float) -> CharLSTM:
    torch.manual_seed(1)
    return CharLSTM(vocab_size, 9, 1, match_lengths=[2, 1], **{"match_window": 12, **options}).eval()


def test_a_text_in_parts_has_the_same_predictions() -> None:
    ids = torch.randint(7, (3, 40), generator=torch.Generator().manual_seed(2))
    whole, last = model()(ids)
    hidden, parts = None, []
    for part in ids.split([1, 17, 22], 1):
        log_probs, hidden = model()(part, hidden)
        parts.append(log_probs)
    torch.testing.assert_close(torch.cat(parts, 1), whole)
    assert torch.equal(last[-1], (ids[:, -12:] + 1).int().unsqueeze(0))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_state_in_half_precision_has_every_symbol(dtype: torch.dtype) -> None:
    """bfloat16 has not every whole number above 256, float16 not every one above 2,048."""
    ids = torch.randint(2995, 3000, (2, 30), generator=torch.Generator().manual_seed(4))
    half = model(3000).to(dtype)
    whole, last = half(ids)
    _, hidden = half(ids[:, :20])
    rest, _ = half(ids[:, 20:], hidden)
    torch.testing.assert_close(rest, whole[:, 20:])
    assert torch.equal(last[-1][0], ids[:, -12:] + 1)
    assert hidden[-1].dtype == half.init_hidden(2)[-1].dtype == torch.int32


def test_streams_of_an_evaluation_know_the_symbols_before_them() -> None:
    """A split of two streams has the loss of one stream, if nothing but the matches carries over."""
    text = "".join(map(chr, torch.randint(97, 104, (5000,), generator=torch.Generator().manual_seed(3)).tolist()))
    split = Corpus.from_text(text).split("all")
    made = model(match_window=3000)
    with torch.no_grad():
        log_probs, _ = made(torch.from_numpy(split.ids[None, :-1].astype("int64")))
        picked = log_probs[0].gather(1, torch.from_numpy(split.ids[1:, None].astype("int64")))
    assert evaluate(made, split).loss == pytest.approx(-float(picked.double().mean()), abs=1e-6)


def test_dropout_hides_all_matches_of_a_sequence_in_training() -> None:
    ids = torch.randint(3, (64, 20), generator=torch.Generator().manual_seed(5))
    made = model(3, match_dropout=0.25)
    whole, _ = made(ids)
    assert made.matches is not None
    made.matches.lengths = (12, 12)  # there are no matches so long
    without, _ = made(ids)
    made.matches.lengths = (2, 1)
    trained, last = made.train()(ids)
    hidden = [torch.equal(trained[row], without[row]) for row in range(len(ids))]
    assert hidden == [not torch.equal(trained[row], whole[row]) for row in range(len(ids))]
    assert 6 <= sum(hidden) <= 28
    assert torch.equal(last[-1][0], ids[:, -12:] + 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"match_lengths": [0]}, r"match_lengths: must be a list of at most 8 whole numbers from 1 to 64; given \[0\]"),
        ({"match_lengths": [3], "match_window": 2}, "match_lengths has 3, more than model.match_window 2; lower it"),
        ({"match_lengths": [3], "match_window": 0}, "match_window: must be a whole number from 1 to 65,536; given 0"),
    ],
)
def test_bad_arguments(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CharLSTM(5, 4, 1, **options)  # type: ignore[arg-type]


def test_a_state_of_another_shape_is_refused() -> None:
    made = model()
    h, c, _ = made.init_hidden(2)
    with pytest.raises(ValueError, match=r"a history of shape \(1, batch, window\) = \(1, 2, 12\)"):
        made(torch.zeros(2, 3, dtype=torch.long), (h, c))
