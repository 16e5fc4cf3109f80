"""Each scheme's ranges, variances and biases."""

from __future__ import annotations

import math

import pytest
import torch

from char_rnn.cells import CELLS
from char_rnn.models import CharGRU, CharLSTM, CharModel, CharRNN
from char_rnn.models.initialization import SCHEMES

V, H = 40, 96
MODELS: list[type[CharModel]] = [CharLSTM, CharGRU, CharRNN]
each_model = pytest.mark.parametrize("model_class", MODELS)


def make(model_class: type[CharModel], scheme: str) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return model_class(V, H, 2, initialization=scheme).state_dict()


def layers(model_class: type[CharModel]) -> str:
    """What its layers are called in the state dict."""
    return next(name for name, each in CELLS.items() if isinstance(model_class(V, H, 1).cell, each))


@each_model
def test_uniform_is_that_of_2015(model_class: type[CharModel]) -> None:
    for name, value in make(model_class, "uniform").items():
        if name.startswith("lstm.bias_ih"):
            assert torch.equal(value[H : 2 * H], torch.ones(H))
        drawn = value[value != 1]
        assert drawn.abs().max() <= 0.08
        assert drawn.std().item() == pytest.approx(0.16 / math.sqrt(12), rel=0.25)


@each_model
def test_xavier_bounds(model_class: type[CharModel]) -> None:
    state, name = make(model_class, "xavier"), layers(model_class)
    for key, fans in ((f"{name}.weight_ih_l0", V + H), (f"{name}.weight_hh_l1", H + H), ("output_proj.weight", H + V)):
        bound = math.sqrt(6 / fans)
        assert state[key].abs().max() <= bound
        assert state[key].std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)


@each_model
def test_he_variance(model_class: type[CharModel]) -> None:
    state, name = make(model_class, "he"), layers(model_class)
    for key, fan_in in ((f"{name}.weight_ih_l0", V), (f"{name}.weight_hh_l1", H), ("output_proj.weight", H)):
        assert state[key].var().item() == pytest.approx(2 / fan_in, rel=0.1)


@each_model
def test_orthogonal_recurrent_matrices(model_class: type[CharModel]) -> None:
    state = make(model_class, "orthogonal")
    for layer in range(2):
        for gate in state[f"{layers(model_class)}.weight_hh_l{layer}"].split(H):
            torch.testing.assert_close(gate @ gate.t(), torch.eye(H), rtol=0, atol=1e-5)


@each_model
@pytest.mark.parametrize("scheme", ["xavier", "he", "orthogonal"])
def test_biases_are_zero_but_the_forget_gates(model_class: type[CharModel], scheme: str) -> None:
    for name, value in make(model_class, scheme).items():
        if "bias" in name:
            expected = torch.zeros_like(value)
            if name.startswith("lstm.bias_ih"):
                expected[H : 2 * H] = 1
            assert torch.equal(value, expected)


@each_model
@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_seed_repeats_a_scheme_and_all_stay_trainable(model_class: type[CharModel], scheme: str) -> None:
    first, second = make(model_class, scheme), make(model_class, scheme)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert all(parameter.requires_grad for parameter in model_class(V, H, 1, initialization=scheme).parameters())
