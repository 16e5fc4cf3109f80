"""The exact recipe's network: its gradients against autograd's, and the two surprises of 2015."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from char_rnn import CharGRU, CharLSTM, CharRNN
from char_rnn.models import CharModel
from char_rnn.torch7.cells import MANUAL, FusedLayer, ManualLayer, make_layer
from char_rnn.torch7.network import UnrolledNetwork

V, H, L, B, T = 7, 6, 2, 3, 5


def make(cell: str, dtype: torch.dtype = torch.float64) -> CharModel:
    torch.manual_seed(1)
    kinds = {"lstm": CharLSTM, "gru": CharGRU, "rnn": CharRNN}
    options = {"reset": "before"} if cell == "gru" else {}
    return kinds[cell](V, H, L, embedding="one-hot", **options).to(dtype)


def windows(count: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(2)
    ids = torch.randint(V, (count, 2, B, T), generator=generator)
    return [(x, y) for x, y in ids]


def gradients(model: CharModel) -> dict[str, torch.Tensor]:
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


def by_autograd(model: CharModel, x: torch.Tensor, y: torch.Tensor, hidden: object = None) -> dict[str, torch.Tensor]:
    """The gradient of T times the mean loss, without any aliasing."""
    model.zero_grad()
    log_probs, _ = model(x, hidden)
    (F.nll_loss(log_probs.flatten(0, 1), y.flatten()) * T).backward()
    return gradients(model)


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_the_first_window_has_the_gradients_of_autograd(cell: str) -> None:
    model = make(cell)
    [(x, y)] = windows(1)
    expected = by_autograd(model, x, y)
    model.zero_grad()
    loss = UnrolledNetwork(model, T, B).train(x, y)
    with torch.no_grad():
        reference = F.nll_loss(model(x)[0].flatten(0, 1), y.flatten())
    torch.testing.assert_close(loss, reference, rtol=1e-14, atol=0)
    for name, grad in gradients(model).items():
        torch.testing.assert_close(grad, expected[name], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_dropout_masks_stand_after_every_layer(cell: str) -> None:
    model = make(cell)
    [(x, y)] = windows(1)
    masks = torch.rand(T, L, B, H, dtype=torch.float64)
    output = F.one_hot(x, V).double()
    for number in range(L):
        zeros = tuple(torch.zeros(B, H, dtype=torch.float64) for _ in model.cell.state)
        output, _ = model.run_layer(output, zeros, model.layers.named(number))
        output = output * masks[:, number].transpose(0, 1)
    (F.cross_entropy(model.output_proj(output).flatten(0, 1), y.flatten()) * T).backward()
    expected = gradients(model)
    model.zero_grad()
    UnrolledNetwork(model, T, B).train(x, y, masks)
    for name, grad in gradients(model).items():
        torch.testing.assert_close(grad, expected[name], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_later_windows_read_the_state_after_them_for_the_one_before(cell: str) -> None:
    model, (first, second) = make(cell), windows(2)
    network = UnrolledNetwork(model, T, B)
    network.train(*first)
    before = network.hidden
    network.train(*second)
    aliased, honest = gradients(model), by_autograd(model, *second, before)
    differing = {name for name in aliased if not torch.allclose(aliased[name], honest[name], rtol=1e-12, atol=1e-15)}
    wrong_gates = {f"{cell}.{name}_l{layer}" for name in ("weight_ih", "bias_ih", "bias_hh") for layer in range(L)}
    recurrent = {f"{cell}.weight_hh_l{layer}" for layer in range(L)}
    assert differing == recurrent | (wrong_gates if cell != "rnn" else set())

    after = network.hidden if isinstance(network.hidden, torch.Tensor) else network.hidden[0]
    start = before if isinstance(before, torch.Tensor) else before[0]
    if cell == "rnn":  # d W_hh holds, of the first step, the outer product with the state after instead of before
        wrong = aliased[f"rnn.weight_hh_l{L - 1}"] - honest[f"rnn.weight_hh_l{L - 1}"]
        assert torch.linalg.matrix_rank(wrong) <= B
        rows = torch.linalg.lstsq((after[-1] - start[-1]).t(), wrong.t()).solution
        torch.testing.assert_close((after[-1] - start[-1]).t() @ rows, wrong.t(), rtol=1e-9, atol=1e-14)


def test_training_goes_on_from_the_state_of_the_validation() -> None:
    model, (first, second, third) = make("lstm"), windows(3)
    network = UnrolledNetwork(model, T, B)
    network.train(*first)
    network.reset()
    network.evaluate(*second)
    with torch.no_grad():
        _, expected = model(second[0])
        continued = F.nll_loss(model(third[0], expected)[0].flatten(0, 1), third[1].flatten())
    for part, other in zip(network.hidden, expected, strict=True):
        torch.testing.assert_close(part, other, rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(network.train(*third), continued, rtol=1e-13, atol=0)


@pytest.mark.parametrize("cell", ["lstm", "rnn"])
def test_pytorchs_kernels_do_the_same_surprises_included(cell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    results = {}
    for name, layer in {"fused": FusedLayer, "manual": None}.items():
        model = make(cell, torch.float32)
        if layer is not None:
            monkeypatch.setattr("char_rnn.torch7.network.make_layer", layer)
        else:
            monkeypatch.setattr("char_rnn.torch7.network.make_layer", manual)
        network = UnrolledNetwork(model, T, B)
        results[name] = [(network.train(x, y, torch.full((T, L, B, H), 0.5)), gradients(model)) for x, y in windows(3)]
    for (loss, grads), (other_loss, other_grads) in zip(results["fused"], results["manual"], strict=True):
        torch.testing.assert_close(loss, other_loss, rtol=1e-5, atol=0)
        for name, grad in grads.items():
            torch.testing.assert_close(grad, other_grads[name], rtol=1e-4, atol=1e-6)


def manual(model: CharModel, number: int, time: int, batch: int) -> ManualLayer:

    return MANUAL[model.cell.name](model, number, time, batch)


def test_double_precision_on_the_cpu_is_computed_by_hand() -> None:
    assert isinstance(make_layer(make("lstm"), 0, T, B), ManualLayer)
    assert isinstance(make_layer(make("lstm", torch.float32), 0, T, B), FusedLayer)
    assert isinstance(make_layer(make("gru", torch.float32), 0, T, B), ManualLayer)
