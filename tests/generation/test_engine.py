"""The decoding engine: equal to the PyTorch model, step by step."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch

from char_rnn.generation.engine import Engine
from char_rnn.models import build_model
from char_rnn.utils.config import ModelConfig

V = 11
IDS = [3, 3, 0, 10, 7, 1, 3, 9, 4, 4, 8, 2, 5, 6, 0]
CELLS = [{"type": "lstm"}, {"type": "gru"}, {"type": "gru", "reset": "before"}, {"type": "rnn"}]
INPUTS = [{"embedding": "one-hot"}, {}, {"embedding_size": 4}]


def config(**options: Any) -> ModelConfig:
    return ModelConfig.model_validate({"hidden_size": 6, "num_layers": 2, **options})


def weights(settings: ModelConfig, scale: float = 1.0) -> dict[str, np.ndarray]:
    """Weights beyond float32, so that a float32 anywhere on the way shows."""
    rng = np.random.default_rng(5)
    shapes = {name: value.shape for name, value in build_model(settings, V).state_dict().items()}
    return {name: scale * rng.normal(size=tuple(shape)) for name, shape in shapes.items()}


def expected(settings: ModelConfig, tensors: dict[str, np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
    """Log-probabilities (T, V) after each of IDS, and the last state, by PyTorch in float64."""
    model = build_model(settings, V, tensors).double().eval()
    model.load_state_dict({name: torch.from_numpy(tensor) for name, tensor in tensors.items()})
    with torch.inference_mode():
        log_probs, hidden = model(torch.tensor([IDS]))
    parts = [hidden] if isinstance(hidden, torch.Tensor) else list(hidden)
    return log_probs[0].numpy(), [part[:, 0].numpy() for part in parts]


@pytest.mark.parametrize("num_layers", [1, 3])
@pytest.mark.parametrize("inputs", INPUTS, ids=str)
@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_it_is_the_pytorch_model(cell: dict[str, Any], inputs: dict[str, Any], num_layers: int) -> None:
    settings = config(**cell, **inputs, num_layers=num_layers)
    tensors = weights(settings)
    log_probs, state = expected(settings, tensors)
    engine = Engine(settings, tensors)
    steps = np.array([engine.step(index) for index in IDS])
    np.testing.assert_allclose(steps, log_probs, rtol=0, atol=1e-12)
    for own, part in zip(engine.state, state, strict=True):
        np.testing.assert_allclose(own, part, rtol=0, atol=1e-12)


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_in_float32_it_is_close(cell: dict[str, Any]) -> None:
    settings = config(**cell)
    tensors = weights(settings, scale=0.5)
    engine = Engine(settings, tensors, dtype=np.float32)
    steps = np.array([engine.step(index) for index in IDS])
    assert steps.dtype == np.float32
    np.testing.assert_allclose(steps, expected(settings, tensors)[0], rtol=0, atol=1e-5)


def test_one_unit_by_hand() -> None:
    settings = config(type="rnn", embedding="one-hot", hidden_size=1, num_layers=1)
    tensors = {
        "rnn.weight_ih_l0": np.array([[0.5, -1.0]]),
        "rnn.weight_hh_l0": np.array([[2.0]]),
        "rnn.bias_ih_l0": np.array([0.25]),
        "rnn.bias_hh_l0": np.array([-0.5]),
        "output_proj.weight": np.array([[1.0], [-1.0]]),
        "output_proj.bias": np.array([0.0, 0.5]),
    }
    engine = Engine(settings, tensors)
    h = math.tanh(-1.0 + 0.25 - 0.5)
    np.testing.assert_allclose(engine.scores(1), [h, 0.5 - h], rtol=1e-14)
    h = math.tanh(0.5 + 2 * h + 0.25 - 0.5)
    total = math.log(math.exp(h) + math.exp(0.5 - h))
    np.testing.assert_allclose(engine.step(0), [h - total, 0.5 - h - total], rtol=1e-14)


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_feeding_resetting_and_going_back(cell: dict[str, Any]) -> None:
    settings = config(**cell)
    tensors = weights(settings)
    log_probs = expected(settings, tensors)[0]
    engine = Engine(settings, tensors)
    engine.feed(IDS[:5])
    state = engine.state
    sixth = engine.step(IDS[5])
    np.testing.assert_allclose(sixth, log_probs[5], rtol=0, atol=1e-12)
    kept = sixth.copy()
    engine.reset()
    assert all((part == 0).all() for part in engine.state)
    np.testing.assert_allclose(engine.step(IDS[0]), log_probs[0], rtol=0, atol=1e-12)
    engine.state = state
    assert (engine.step(IDS[5]) == sixth).all()
    assert (sixth == kept).all()


def test_the_weights_are_copied() -> None:
    settings = config()
    tensors = weights(settings)
    engine, first = Engine(settings, tensors), Engine(settings, tensors).step(2)
    for tensor in tensors.values():
        tensor[:] = 7
    assert (engine.step(2) == first).all()


def test_saturated_gates_neither_warn_nor_end_in_nan() -> None:
    for cell in CELLS:
        engine = Engine(config(**cell), weights(config(**cell), scale=1e4))
        engine.feed(IDS)
        assert all(np.isfinite(part).all() for part in engine.state)
        assert np.isfinite(engine.step(0)).any()


def test_a_large_vocabulary_takes_no_table_of_products() -> None:
    """For each of its symbols at once the products would take 2 MB here, the weights 20 kB."""
    import tracemalloc

    settings = config(type="lstm", embedding_size=1, hidden_size=64, num_layers=1)
    tensors = {
        "embedding.weight": np.ones((1000, 1)),
        "lstm.weight_ih_l0": np.ones((256, 1)),
        "lstm.weight_hh_l0": np.ones((256, 64)),
        "lstm.bias_ih_l0": np.ones(256),
        "lstm.bias_hh_l0": np.ones(256),
        "output_proj.weight": np.ones((1000, 64)),
        "output_proj.bias": np.ones(1000),
    }
    size = sum(tensor.nbytes for tensor in tensors.values())
    tracemalloc.start()
    try:
        Engine(settings, tensors).step(999)
        assert tracemalloc.get_traced_memory()[1] < 4 * size
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("index", [-1, V])
def test_a_symbol_that_is_none(index: int) -> None:
    settings = config()
    with pytest.raises(IndexError, match=rf"^symbol {index}: must be from 0 to 10$"):
        Engine(settings, weights(settings)).step(index)


def test_a_state_of_another_shape() -> None:
    settings = config()
    engine = Engine(settings, weights(settings))
    with pytest.raises(
        ValueError, match=r"^state: must be arrays of shapes \[\(2, 6\), \(2, 6\)\], given \[\(2, 6\)\]"
    ):
        engine.state = engine.state[:1]


@pytest.mark.parametrize("name", ["output_proj.bias", "lstm.weight_hh_l1"])
@pytest.mark.parametrize("change", ["missing", "shape", "integers"])
def test_weights_of_another_model_are_refused_as_elsewhere(name: str, change: str) -> None:
    settings = config()
    tensors = weights(settings)
    if change == "missing":
        del tensors[name]
    else:
        tensors[name] = tensors[name][None] if change == "shape" else tensors[name].astype(np.int64)
    with pytest.raises(ValueError, match=r"^weights: ") as refused:
        Engine(settings, tensors)
    if name != "output_proj.bias" or change == "integers":
        with pytest.raises(ValueError, match=r"^weights: ") as elsewhere:
            build_model(settings, V, tensors)
        assert str(refused.value) == str(elsewhere.value)


def test_it_loads_no_torch() -> None:
    script = "import sys; import char_rnn.generation.engine, char_rnn.torch7.sampling; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
