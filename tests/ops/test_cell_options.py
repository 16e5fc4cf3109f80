"""Normalization inside the cells, zoneout and mogrifier gates: by hand, and every fast path against its reference."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from ops_helpers import (
    LAYERS,
    Layer,
    arguments,
    assert_all_close,
    assert_keeps_openly,
    outputs_and_gradients,
    with_gaps,
)
from torch import Tensor

from char_rnn import ops
from char_rnn.kernels import load

NORMS = {"lstm": ops.LSTMNorm, "gru-after": ops.GRUNorm, "gru-before": ops.GRUNorm, "rnn": ops.RNNNorm}
BLOCKS = {"lstm": (4, 4, 1, 1), "gru-after": (3, 3), "gru-before": (3, 3), "rnn": (1,)}
FUNCTIONS = {"lstm": "lstm", "gru-after": "gru", "gru-before": "gru", "rnn": "rnn"}


@pytest.fixture(params=["kernels", "off"])
def kernels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The LSTM's float32 steps by the kernels in C, and by PyTorch's operations."""
    if request.param == "off":
        monkeypatch.setattr("char_rnn.ops.lstm_kernels.load", lambda: None)
    elif load() is None:
        pytest.skip("the kernels are not built, or do not run here")


@dataclass(frozen=True)
class Case:
    """A cell with options."""

    cell: str
    norm: bool = False
    zoneout: str = ""
    rounds: int = 0

    def __str__(self) -> str:
        return (
            " ".join([self.cell, *["norm"] * self.norm, self.zoneout, *[f"mogrifier{self.rounds}"] * bool(self.rounds)])
            .replace("  ", " ")
            .strip()
        )

    def tensors(
        self, sizes: tuple[int, int, int, int] = (3, 5, 4, 6), dtype: torch.dtype = torch.float64
    ) -> list[Tensor]:
        """Those of the plain layer, then the norm's parameters, then the mogrifier's matrices."""
        *_, inputs, hidden = sizes
        shapes = [(blocks * hidden,) for blocks in BLOCKS[self.cell]] if self.norm else []
        matrices = [(hidden, inputs) if number % 2 else (inputs, hidden) for number in range(self.rounds)]
        generator = torch.Generator().manual_seed(8)
        more = [torch.rand(shape, generator=generator, dtype=dtype) for shape in [*shapes, *matrices]]
        return arguments(self.cell, sizes, dtype) + [tensor.requires_grad_() for tensor in more]

    def layer(self, *, fast: bool = True, first: int = 0) -> Layer:
        """The layer as a function of these tensors; its zoneout masks are those of the steps from `first` on."""

        def run(*tensors: Tensor) -> tuple[Tensor, Tensor]:
            x, hidden, *weights = tensors
            options = {}
            if self.norm:
                options["norm"] = NORMS[self.cell](*weights[4 : 4 + len(BLOCKS[self.cell])])
            if self.rounds:
                options["mogrifier"] = weights[-self.rounds :]
            if self.zoneout:
                options["zoneout"] = self.updates(first, x.shape[1], hidden.chunk(LAYERS[self.cell][3], 1)[0])
            function = getattr(ops, FUNCTIONS[self.cell] + ("" if fast else "_reference"))
            if self.cell == "lstm":
                output, state = function(x, hidden.chunk(2, 1), *weights[:4], **options)
                return output, torch.cat(state, 1)
            if self.cell == "gru-before":
                options["reset"] = "before"
            return function(x, hidden, *weights[:4], **options)

        return run

    def updates(self, first: int, time: int, h: Tensor) -> object:
        masks = torch.rand((first + time, 2, *h.shape), generator=torch.Generator().manual_seed(9)) < 0.7
        updates = {"mask": masks[first:].to(h.dtype).unbind(1), "number": (0.7, 0.9), "one": (1.0, 1.0)}[self.zoneout]
        return updates if self.cell == "lstm" else updates[0]


CASES = [
    *[Case(cell, True, zoneout) for cell in LAYERS for zoneout in ("", "mask", "number")],
    *[Case(cell, False, zoneout) for cell in LAYERS for zoneout in ("mask", "number")],
    *[Case("lstm", norm, zoneout, rounds) for norm in (0, 1) for zoneout in ("", "mask") for rounds in (1, 2, 5)],
]
ALL_OPTIONS = [Case("lstm", True, "mask", 3), *[Case(cell, True, "mask") for cell in LAYERS]]
each_cell = pytest.mark.parametrize("cell", LAYERS)
each_case = pytest.mark.parametrize("case", CASES, ids=str)
each_type = pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
each_with_all = pytest.mark.parametrize("case", ALL_OPTIONS, ids=str)


@each_case
@pytest.mark.parametrize("sizes", [(1, 1, 1, 2), (3, 1, 2, 4), (2, 13, 9, 17)], ids=str)
@each_type
@pytest.mark.usefixtures("kernels")
def test_fast_path_agrees_with_the_reference(case: Case, sizes: tuple[int, int, int, int], dtype: torch.dtype) -> None:
    fast, reference = (
        outputs_and_gradients(case.layer(fast=fast), case.tensors(sizes, dtype)) for fast in (True, False)
    )
    assert_all_close(fast, reference, dtype)


@each_case
def test_gradients_agree_with_finite_differences(case: Case) -> None:
    assert torch.autograd.gradcheck(case.layer(), case.tensors((2, 3, 2, 3)))


@each_case
def test_a_sequence_in_two_pieces_is_the_sequence(case: Case) -> None:
    x, hidden, *weights = case.tensors((2, 9, 3, 5))
    whole, last = case.layer()(x, hidden, *weights)
    first_piece, state = case.layer()(x[:, :4], hidden, *weights)
    second_piece, state = case.layer(first=4)(x[:, 4:], state, *weights)
    assert_all_close([torch.cat([first_piece, second_piece], 1), state], [whole, last], torch.float64)


@each_case
@pytest.mark.parametrize("time", [1, 6])
def test_without_gradients_the_values_are_the_same(case: Case, time: int) -> None:
    tensors = case.tensors((2, time, 3, 5))
    expected = case.layer(fast=False)(*tensors)
    with torch.no_grad():
        assert_all_close(list(case.layer()(*tensors)), list(expected), torch.float64)


@each_case
def test_autocast_changes_nothing(case: Case) -> None:
    tensors = case.tensors(dtype=torch.float32)

    def in_autocast(*tensors: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return case.layer()(*tensors)

    pairs = zip(outputs_and_gradients(in_autocast, tensors), outputs_and_gradients(case.layer(), tensors), strict=True)
    assert all(torch.equal(left, right) for left, right in pairs)


@each_with_all
def test_low_precision_input_under_autocast_gets_a_gradient_of_its_type(case: Case) -> None:
    x, *others = case.tensors(dtype=torch.float32)
    x = x.detach().bfloat16().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output, _ = case.layer()(x, *others)
    (gradient,) = torch.autograd.grad(output.sum(), x)
    assert (output.dtype, gradient.dtype) == (torch.float32, torch.bfloat16)


@each_with_all
@each_type
@pytest.mark.usefixtures("kernels")
def test_non_contiguous_tensors_give_the_same(case: Case, dtype: torch.dtype) -> None:
    tensors = case.tensors(dtype=dtype)
    strided = [with_gaps(tensor) for tensor in tensors]
    assert_all_close(outputs_and_gradients(case.layer(), strided), outputs_and_gradients(case.layer(), tensors), dtype)


@each_with_all
@each_type
@pytest.mark.usefixtures("kernels")
def test_one_gradient_alone_is_the_same_as_among_all(case: Case, dtype: torch.dtype) -> None:
    tensors = case.tensors(dtype=dtype)
    expected = outputs_and_gradients(case.layer(), tensors)[2:]
    for wanted in range(len(tensors)):
        for position, tensor in enumerate(tensors):
            tensor.requires_grad_(position == wanted)
        assert_all_close([outputs_and_gradients(case.layer(), tensors)[2]], [expected[wanted]], dtype)


@each_with_all
@each_type
@pytest.mark.usefixtures("kernels")
def test_a_gradient_of_the_output_or_of_the_state_alone(case: Case, dtype: torch.dtype) -> None:
    tensors = case.tensors(dtype=dtype)
    for part in range(2):
        gradients = [
            torch.autograd.grad(case.layer(fast=fast)(*tensors)[part].sum(), tensors) for fast in (True, False)
        ]
        assert_all_close(list(gradients[0]), list(gradients[1]), dtype)


@each_with_all
def test_going_back_twice_gives_the_same_twice_and_changes_no_argument(case: Case) -> None:
    tensors = case.tensors()
    copies = [tensor.detach().clone() for tensor in tensors]
    output, _ = case.layer()(*tensors)
    first, second = (torch.autograd.grad(output.sum(), tensors, retain_graph=True) for _ in range(2))
    assert all(torch.equal(left, right) for left, right in zip(first, second, strict=True))
    assert all(torch.equal(left, right) for left, right in zip(tensors, copies, strict=True))


@each_case
def test_all_that_is_kept_can_be_counted_and_is_freed(case: Case) -> None:
    assert_keeps_openly(case.layer(), case.tensors())


@each_with_all
def test_second_derivatives_are_refused_not_wrong(case: Case) -> None:
    tensors = case.tensors()
    (gradient,) = torch.autograd.grad(case.layer()(*tensors)[0].square().sum(), tensors[:1], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


@each_with_all
def test_output_changed_in_place_is_noticed(case: Case) -> None:
    output, _ = case.layer()(*case.tensors())
    with pytest.raises(RuntimeError, match="modified inplace"):
        output.mul_(2).sum().backward()


@each_cell
def test_zoneout_that_updates_everything_is_none(cell: str) -> None:
    tensors = arguments(cell, (3, 5, 4, 6))
    expected = outputs_and_gradients(LAYERS[cell][0], tensors)
    assert_all_close(outputs_and_gradients(Case(cell, zoneout="one").layer(), tensors), expected, torch.float64)


@each_cell
def test_zoneout_keeps_what_its_mask_says_and_no_more(cell: str) -> None:
    x, hidden, *weights = arguments(cell, (2, 1, 3, 5))
    h, *_ = hidden.chunk(LAYERS[cell][3], 1)
    case = Case(cell, zoneout="mask")
    updates = case.updates(0, 1, h)
    mask = updates[0] if isinstance(updates, tuple) else updates
    assert isinstance(mask, Tensor)
    assert 0 < mask.mean() < 1
    plain, _ = LAYERS[cell][0](x, hidden, *weights)
    output, _ = case.layer()(x, hidden, *weights)
    assert_all_close([output[:, 0]], [torch.where(mask[0] == 1, plain[:, 0], h)], torch.float64)


def test_a_cell_that_zoneout_keeps_still_shows_the_new_one() -> None:
    """As in the paper's equations 4 and 5: h~ = o tanh(f c + i g), whatever becomes of c."""
    x, hidden, *weights = arguments("lstm", (2, 1, 3, 5))
    h, c = hidden.chunk(2, 1)
    _, (plain, _) = ops.lstm(x, (h, c), *weights)
    _, (shown, kept) = ops.lstm(x, (h, c), *weights, zoneout=(1.0, 0.0))
    assert_all_close([shown, kept], [plain, c], torch.float64)


def standardized(rows: Tensor) -> Tensor:
    """Without PyTorch's own layer normalization."""
    centred = rows - rows.mean(1, keepdim=True)
    return centred / (centred.square().mean(1, keepdim=True) + 1e-5).sqrt()


def test_lstm_norm_by_hand() -> None:
    x, hidden, w, u, b_ih, b_hh, gain_ih, gain_hh, gain_c, bias_c = tensors = Case("lstm", norm=True).tensors(
        (2, 1, 3, 5)
    )
    h, c = hidden.chunk(2, 1)
    i, f, g, o = (standardized(x[:, 0] @ w.t()) * gain_ih + standardized(h @ u.t()) * gain_hh + b_ih + b_hh).chunk(4, 1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    h = o.sigmoid() * (standardized(c) * gain_c + bias_c).tanh()
    assert_all_close([Case("lstm", norm=True).layer()(*tensors)[1]], [torch.cat([h, c], 1)], torch.float64)


@pytest.mark.parametrize("cell", ["gru-after", "gru-before"])
def test_gru_norm_by_hand(cell: str) -> None:
    x, h, w, u, b_ih, b_hh, gain_ih, gain_hh = tensors = Case(cell, norm=True).tensors((2, 1, 3, 5))
    from_x, from_h = x[:, 0] @ w.t(), h @ u.t()
    gates = standardized(from_x[:, :10]) * gain_ih[:10] + standardized(from_h[:, :10]) * gain_hh[:10]
    r, z = (gates + b_ih[:10] + b_hh[:10]).sigmoid().chunk(2, 1)
    from_h = (r * h) @ u[10:].t() if cell == "gru-before" else from_h[:, 10:]
    from_h = standardized(from_h) * gain_hh[10:] + b_hh[10:]
    n = standardized(from_x[:, 10:]) * gain_ih[10:] + b_ih[10:] + (from_h if cell == "gru-before" else r * from_h)
    assert_all_close([Case(cell, norm=True).layer()(*tensors)[1]], [(1 - z) * n.tanh() + z * h], torch.float64)


def test_rnn_norm_by_hand() -> None:
    x, h, w, u, b_ih, b_hh, gain = tensors = Case("rnn", norm=True).tensors((2, 1, 3, 5))
    expected = (standardized(x[:, 0] @ w.t() + h @ u.t()) * gain + b_ih + b_hh).tanh()
    assert_all_close([Case("rnn", norm=True).layer()(*tensors)[1]], [expected], torch.float64)


def test_mogrifier_by_hand() -> None:
    """Two rounds before a step: x = 2 sigmoid(Q h) x, then h = 2 sigmoid(R x) h."""
    x, hidden, *weights, q, r = Case("lstm", rounds=2).tensors((2, 1, 3, 5))
    h, c = hidden.chunk(2, 1)
    gated_x = 2 * (h @ q.t()).sigmoid() * x[:, 0]
    gated_h = 2 * (gated_x @ r.t()).sigmoid() * h
    expected, _ = ops.lstm(gated_x[:, None], (gated_h, c), *weights)
    assert_all_close([Case("lstm", rounds=2).layer()(x, hidden, *weights, q, r)[0]], [expected], torch.float64)
