"""What the LSTM's kernels read by addresses, in whatever layout it comes: updates and gradients."""

from __future__ import annotations

import pytest
import torch
from ops_helpers import assert_all_close
from torch import Tensor

from char_rnn import ops
from char_rnn.kernels import load

B, T, H = 3, 4, 6
NUMBER = 0.4


@pytest.fixture(params=["kernels", "off"], autouse=True)
def kernels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "off":
        monkeypatch.setattr("char_rnn.ops.lstm_kernels.load", lambda: None)
    elif load() is None:
        pytest.skip("the kernels are not built, or do not run here")


def tensors(*shapes: tuple[int, ...]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(shape, generator=generator).requires_grad_() for shape in shapes]


def masks() -> dict[str, Tensor]:
    def drawn(*shape: int) -> Tensor:
        return (torch.rand(shape, generator=torch.Generator().manual_seed(4)) < 0.6).float()

    return {
        "whole": drawn(T, B, H),
        "one for all sequences": drawn(T, 1, H).expand(T, B, H),
        "one for all units": drawn(T, B, 1).expand(T, B, H),
        "one for all steps": drawn(1, B, H).expand(T, B, H),
        "batch first": drawn(B, T, H).transpose(0, 1),
        "units first": drawn(H, T, B).permute(1, 2, 0),
    }


def outputs_and_gradients(
    layer: object, zoneout: tuple[ops.Update, ops.Update] | None, *, normalizes: bool
) -> list[Tensor]:
    x, h, c, *weights = tensors((B, T, H), (B, H), (B, H), (4 * H, H), (4 * H, H), (4 * H,), (4 * H,))
    gains = tensors((4 * H,), (4 * H,), (H,), (H,)) if normalizes else []
    assert callable(layer)
    norm = ops.LSTMNorm(*gains) if gains else None
    output, (_, last) = layer(x, (h, c), *weights, norm=norm, zoneout=zoneout)
    of_output, of_last = tensors((T, B, H), (H, B))  # gradients whose units are no neighbours
    loss = (output.transpose(0, 1) * of_output).sum() + (last.t() * of_last).sum()
    return [output, last, *torch.autograd.grad(loss, [x, h, c, *weights, *gains])]


@pytest.mark.parametrize("normalizes", [False, True])
@pytest.mark.parametrize("of_c", [NUMBER, *masks()])
@pytest.mark.parametrize("of_h", [NUMBER, *masks()])
def test_each_update_has_a_layout_of_its_own(of_h: float | str, of_c: float | str, normalizes: bool) -> None:
    zoneout = tuple(masks()[k] if isinstance(k, str) else k for k in (of_h, of_c))
    fast, reference = (
        outputs_and_gradients(layer, zoneout, normalizes=normalizes)  # type: ignore[arg-type]
        for layer in (ops.lstm, ops.lstm_reference)
    )
    assert_all_close(fast, reference, torch.float32)


def test_a_gradient_of_the_state_in_another_order() -> None:
    fast, reference = (outputs_and_gradients(layer, None, normalizes=True) for layer in (ops.lstm, ops.lstm_reference))
    assert_all_close(fast, reference, torch.float32)
