"""From configurations and saved weights to models; weights that are not the model's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from model_cases import OPTIONS

from char_rnn.models import CharGRU, CharLSTM, CharRNN, build_model
from char_rnn.models.build import grown_tensors
from char_rnn.utils.config import ModelConfig

V = 9
CONFIGS = [
    ModelConfig(type="lstm", hidden_size=6, num_layers=2),
    ModelConfig(type="gru", hidden_size=5, num_layers=1, reset="before", embedding_size=4),
    ModelConfig(type="gru", hidden_size=5, num_layers=3),
    ModelConfig(type="rnn", hidden_size=4, num_layers=2, embedding="one-hot"),
]
each_config = pytest.mark.parametrize("config", CONFIGS, ids=lambda config: f"{config.type}-{config.embedding}")


def arrays(config: ModelConfig) -> dict[str, np.ndarray]:
    return {name: value.numpy().copy() for name, value in build_model(config, V).state_dict().items()}


@each_config
def test_the_configuration_is_obeyed(config: ModelConfig) -> None:
    model = build_model(config, V)
    assert type(model) is {"lstm": CharLSTM, "gru": CharGRU, "rnn": CharRNN}[config.type]
    assert (model.vocab_size, model.hidden_size, model.num_layers) == (V, config.hidden_size, config.num_layers)
    assert model.dropout == 0.2
    if isinstance(model, CharGRU):
        assert model.reset == config.reset


def test_the_initialization_is_obeyed() -> None:
    model = build_model(ModelConfig(initialization="uniform", hidden_size=4, type="rnn"), V)
    assert all(parameter.abs().max() <= 0.08 for parameter in model.parameters())


@each_config
def test_saved_weights_give_the_same_model(config: ModelConfig) -> None:
    model = build_model(config, V).eval()
    tensors = {name: value.numpy() for name, value in model.state_dict().items()}
    x = torch.arange(V)[None]
    loaded = build_model(config, V, tensors).eval()
    assert torch.equal(loaded(x)[0], model(x)[0])
    assert all(parameter.requires_grad and not parameter.is_meta for parameter in loaded.parameters())


def test_loading_copies_converts_and_draws_no_random_numbers() -> None:
    tensors = {name: value.astype(np.float64) for name, value in arrays(CONFIGS[0]).items()}
    before = torch.get_rng_state()
    model = build_model(CONFIGS[0], V, tensors)
    assert torch.equal(torch.get_rng_state(), before)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    tensors["output_proj.bias"][:] = 7
    assert not (model.output_proj.bias == 7).any()


@pytest.mark.parametrize("dtype", [torch.float64, "float64"])
def test_a_seed_gives_the_same_weights_in_every_precision(dtype: torch.dtype | str) -> None:
    torch.manual_seed(3)
    single = build_model(CONFIGS[1], V)
    torch.manual_seed(3)
    double = build_model(CONFIGS[1], V, dtype=dtype)
    for a, b in zip(single.parameters(), double.parameters(), strict=True):
        assert (a.dtype, b.dtype) == (torch.float32, torch.float64)
        assert torch.equal(a.double(), b)
    assert double(torch.arange(V)[None])[0].dtype == torch.float64


@each_config
def test_doubles_load_without_loss(config: ModelConfig) -> None:
    tensors = {name: value.astype(np.float64) + 1e-12 for name, value in arrays(config).items()}
    model = build_model(config, V, tensors, torch.float64)
    assert all((model.state_dict()[name].numpy() == array).all() for name, array in tensors.items())
    assert {parameter.dtype for parameter in build_model(config, V, tensors, "float16").parameters()} == {torch.float16}


@pytest.mark.parametrize("dtype", ["int64", "double precision", torch.int64])
def test_a_type_that_is_no_floating_one_is_refused(dtype: torch.dtype | str) -> None:
    with pytest.raises(ValueError, match=r"^dtype: got .*; give a floating type such as float32 or float64$"):
        build_model(CONFIGS[0], V, dtype=dtype)


def test_read_only_arrays_load() -> None:
    tensors = arrays(CONFIGS[0])
    for array in tensors.values():
        array.setflags(write=False)
    build_model(CONFIGS[0], V, tensors)


def refuse(config: ModelConfig, tensors: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 (the whole message is compared)
        build_model(config, V, tensors)
    assert str(error.value) == message


def test_a_missing_weight_is_named() -> None:
    tensors = arrays(CONFIGS[0])
    del tensors["lstm.bias_hh_l1"]
    refuse(
        CONFIGS[0],
        tensors,
        "weights: lstm.bias_hh_l1 is missing; the weights do not match the configuration",
    )


def test_an_unexpected_weight_is_named() -> None:
    tensors = {**arrays(CONFIGS[0]), "lstm.weight_hr_l0": np.zeros((2, 2), np.float32)}
    refuse(CONFIGS[0], tensors, "weights: the model of the configuration has no parameter lstm.weight_hr_l0")


def test_a_wrong_shape_is_named() -> None:
    tensors = {**arrays(CONFIGS[0]), "output_proj.weight": np.zeros((V, 7), np.float32)}
    refuse(CONFIGS[0], tensors, "weights: output_proj.weight has shape (9, 7), but the configuration requires (9, 6)")


@pytest.mark.parametrize("dtype", ["int64", "bool", "complex64"])
def test_numbers_that_are_not_floating_are_named(dtype: str) -> None:
    tensors = {**arrays(CONFIGS[0]), "output_proj.bias": np.zeros(V, dtype)}
    refuse(CONFIGS[0], tensors, f"weights: output_proj.bias holds {dtype}, not floating-point numbers")


def test_a_huge_configuration_with_small_weights_allocates_nothing() -> None:
    config = ModelConfig(hidden_size=65_536, num_layers=1024)
    with pytest.raises(ValueError, match=r"^weights: lstm.weight_ih_l0 has shape \(24, 9\), but"):
        build_model(config, V, arrays(CONFIGS[0]))


ONE_HOT: list[dict[str, Any]] = [{}, {"type": "gru"}, {"mogrifier_rounds": 2}]


@pytest.mark.parametrize("options", [*OPTIONS, *({"embedding": "one-hot", **more} for more in ONE_HOT)], ids=str)
def test_new_symbols_leave_the_others_as_they_were(options: dict[str, Any]) -> None:
    """Except with a norm of one-hot vectors, whose scale depends on their length."""
    learned = {} if "embedding" in options else {"embedding_size": 6}
    config = ModelConfig.model_validate({"hidden_size": 6, **learned, **options})
    old = build_model(config, V).eval()
    tensors = {name: value.numpy() for name, value in old.state_dict().items()}
    grown = grown_tensors(config, V, V + 3, tensors)
    new = build_model(config, V + 3, grown).eval()
    x = torch.arange(V)[None]
    (expected, _, _), (found, _, _) = old.outputs(x), new.outputs(x)
    assert torch.equal(found, expected)
    assert torch.equal(new.output_proj(found)[..., :V], old.output_proj(expected))
    fresh = grown["output_proj.bias" if config.initialization == "pytorch" else "output_proj.weight"][V:]
    assert np.unique(fresh).size == fresh.size


def test_new_symbols_are_initialized_as_in_a_new_model() -> None:
    config = ModelConfig(hidden_size=6, embedding_size=4, initialization="uniform")
    tensors = {name: value.numpy().astype(np.float64) for name, value in build_model(config, V).state_dict().items()}
    torch.manual_seed(5)
    grown = grown_tensors(config, V, V + 2, tensors)
    torch.manual_seed(5)
    model = build_model(config, V + 2)
    for name in ("embedding.weight", "output_proj.weight", "output_proj.bias"):
        np.testing.assert_array_equal(grown[name][V:], model.state_dict()[name][V:].double().numpy())
        np.testing.assert_array_equal(grown[name][:V], tensors[name])


@pytest.mark.parametrize("sizes", [(V, V + 1), (V - 1, V)])
def test_a_residual_connection_that_depends_on_the_vocabulary_prevents_its_growth(sizes: tuple[int, int]) -> None:
    config = ModelConfig(hidden_size=V, embedding="one-hot", residual=True)
    tensors = {name: value.numpy() for name, value in build_model(config, sizes[0]).state_dict().items()}
    with pytest.raises(ValueError, match=rf"cannot grow from {sizes[0]} to {sizes[1]} symbols"):
        grown_tensors(config, *sizes, tensors)
