"""Equations by hand: layer normalization inside the cells, zoneout, mogrifier gates, and a user's own cells."""

from __future__ import annotations

import pytest
import torch
from ops_helpers import OURS, Case, assert_all_close, outputs_and_gradients
from torch import Tensor
from torch.nn import functional as F

each_cell = pytest.mark.parametrize("cell", OURS)
ONE_STEP = (2, 1, 3, 5)


@each_cell
def test_zoneout_that_updates_everything_is_none(cell: str) -> None:
    found, expected = (
        outputs_and_gradients(case.layer(), case.tensors()) for case in (Case(cell, zoneout="one"), Case(cell))
    )
    assert_all_close(found, expected)


@each_cell
def test_zoneout_keeps_what_its_mask_says_and_no_more(cell: str) -> None:
    case = Case(cell, zoneout="mask", sizes=ONE_STEP)
    x, h, *others = case.tensors()
    plain, *_ = Case(cell, sizes=ONE_STEP).layer()(x, h, *others)
    mask = case.masks()[0][0]
    assert 0 < mask.double().mean() < 1
    assert_all_close([case.layer()(x, h, *others)[0]], [torch.where(mask[:, None], plain, h[:, None])])


def test_a_cell_that_zoneout_keeps_still_shows_the_new_one() -> None:
    """As in the paper's equations 4 and 5: h~ = o tanh(f c + i g), whatever becomes of c."""
    tensors = Case("lstm", sizes=ONE_STEP).tensors()
    _, plain, _ = Case("lstm", sizes=ONE_STEP).layer()(*tensors)
    _, shown, kept = Case("lstm", zoneout="h alone", sizes=ONE_STEP).layer()(*tensors)
    assert_all_close([shown, kept], [plain, tensors[2]])


def standardized(rows: Tensor) -> Tensor:
    """Without PyTorch's own layer normalization."""
    centred = rows - rows.mean(1, keepdim=True)
    return centred / (centred.square().mean(1, keepdim=True) + 1e-5).sqrt()


def test_lstm_norm_by_hand() -> None:
    case = Case("lstm", norm=True, sizes=ONE_STEP)
    x, h, c, w, u, b_ih, b_hh, gain_ih, gain_hh, gain_c, bias_c = tensors = case.tensors()
    i, f, g, o = (standardized(x[:, 0] @ w.t()) * gain_ih + standardized(h @ u.t()) * gain_hh + b_ih + b_hh).chunk(4, 1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    h = o.sigmoid() * (standardized(c) * gain_c + bias_c).tanh()
    assert_all_close(case.layer()(*tensors)[1:], [h, c])


@pytest.mark.parametrize("cell", ["gru-after", "gru-before"])
def test_gru_norm_by_hand(cell: str) -> None:
    case = Case(cell, norm=True, sizes=ONE_STEP)
    x, h, w, u, b_ih, b_hh, gain_ih, gain_hh = tensors = case.tensors()
    from_x, from_h = x[:, 0] @ w.t(), h @ u.t()
    gates = standardized(from_x[:, :10]) * gain_ih[:10] + standardized(from_h[:, :10]) * gain_hh[:10]
    r, z = (gates + b_ih[:10] + b_hh[:10]).sigmoid().chunk(2, 1)
    from_h = (r * h) @ u[10:].t() if cell == "gru-before" else from_h[:, 10:]
    from_h = standardized(from_h) * gain_hh[10:] + b_hh[10:]
    n = standardized(from_x[:, 10:]) * gain_ih[10:] + b_ih[10:] + (from_h if cell == "gru-before" else r * from_h)
    assert_all_close(case.layer()(*tensors)[1:], [(1 - z) * n.tanh() + z * h])


def test_rnn_norm_by_hand() -> None:
    case = Case("rnn", norm=True, sizes=ONE_STEP)
    x, h, w, u, b_ih, b_hh, gain = tensors = case.tensors()
    expected = (standardized(x[:, 0] @ w.t() + h @ u.t()) * gain + b_ih + b_hh).tanh()
    assert_all_close(case.layer()(*tensors)[1:], [expected])


def test_mogrifier_by_hand() -> None:
    """Two rounds before a step: x = 2 sigmoid(Q h) x, then h = 2 sigmoid(R x) h."""
    x, h, c, *weights, q, r = tensors = Case("lstm", rounds=2, sizes=ONE_STEP).tensors()
    gated_x = 2 * (h @ q.t()).sigmoid() * x[:, 0]
    gated_h = 2 * (gated_x @ r.t()).sigmoid() * h
    expected = Case("lstm", sizes=ONE_STEP).layer()(gated_x[:, None], gated_h, c, *weights)
    assert_all_close(Case("lstm", rounds=2, sizes=ONE_STEP).layer()(*tensors), expected)


def test_peepholes_by_hand() -> None:
    case = Case("peephole", sizes=ONE_STEP)
    x, h, c, w, u, b_ih, b_hh, peephole_i, peephole_f, peephole_o = tensors = case.tensors()
    i, f, g, o = (x[:, 0] @ w.t() + h @ u.t() + b_ih + b_hh).chunk(4, 1)
    new = (f + peephole_f * c).sigmoid() * c + (i + peephole_i * c).sigmoid() * g.tanh()
    assert_all_close(case.layer()(*tensors)[1:], [(o + peephole_o * new).sigmoid() * new.tanh(), new])


@pytest.mark.parametrize("gates", [1.0, 1000.0])
def test_slstm_has_the_numbers_of_its_paper(gates: float) -> None:
    """Its state c, n and the stabilizer m, also where exp(i) overflows."""
    case = Case("slstm", sizes=(3, 7, 4, 6))
    tensors = case.tensors()
    with torch.no_grad():
        tensors[6].mul_(gates)
    x, h, mean, log_n, w, u, b_ih, b_hh = tensors
    c, n, m, outputs = mean, torch.ones_like(mean), log_n, []
    for x_t in x.unbind(1):
        i, f, z, o = (x_t @ w.t() + h @ u.t() + b_ih + b_hh).chunk(4, 1)
        old, m = F.logsigmoid(f) + m, torch.maximum(F.logsigmoid(f) + m, i)
        c = (old - m).exp() * c + (i - m).exp() * z.tanh()
        n = (old - m).exp() * n + (i - m).exp()
        h = o.sigmoid() * c / n
        outputs.append(h)
    assert_all_close(case.layer()(*tensors), [torch.stack(outputs, 1), h, c / n, n.log() + m])


def test_the_whole_language_by_hand() -> None:
    case = Case("mixture", sizes=ONE_STEP)
    x, h, c, w, u, b_ih, b_hh = tensors = case.tensors()
    both = (x[:, 0] @ w.t() + b_ih + 0.5).relu() - b_hh
    left, right = both.tanh().chunk(2, 1)
    inner = ((left + h) @ u[:5].t()).sigmoid()
    after = [(inner @ u[5:].t() + c @ u[:5].t() + right * right).tanh(), 0.3 * c + inner * h * h]
    assert_all_close(case.layer()(*tensors)[1:], after)
