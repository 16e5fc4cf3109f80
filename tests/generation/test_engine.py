"""The decoding engine: equal to the PyTorch model, step by step."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from engine_helpers import V, config, weights
from model_cases import CELLS, INPUTS, OPTIONS, OWN
from pairwise import pairwise

from char_rnn.cells import Cell, Value, concatenate, relu, split, tanh
from char_rnn.generation.engine import Engine, Streams
from char_rnn.generation.network import PRECISIONS, Network, Precision, quantize, rounded
from char_rnn.generation.numpy_engine import NumpyEngine
from char_rnn.generation.stream_states import StreamStates
from char_rnn.kernels import level as level_in_use
from char_rnn.kernels import load
from char_rnn.kernels.build import LEVELS, architecture
from char_rnn.models import build_model
from char_rnn.models.parameters import parameter_shapes
from char_rnn.utils.config import ModelConfig

pytestmark = pytest.mark.usefixtures("kernels")  # by NumPy too

IDS = [3, 3, 0, 10, 7, 1, 3, 9, 4, 4, 8, 2, 5, 6, 0]
MOGRIFIERS: list[dict[str, Any]] = [
    {"mogrifier_rounds": 5, "embedding_size": 4},
    {"mogrifier_rounds": 4, "layer_norm": "cell", "zoneout": 0.2},
    {"mogrifier_rounds": 1, "layer_norm": "between"},
]
OTHERS: list[dict[str, Any]] = [
    *({"type": "lstm", **options} for options in MOGRIFIERS),
    *OWN,
    {"type": "exchanging", "zoneout": 0.3, "embedding_size": 6, "residual": True},
    {"type": "halved"},
    {"type": "cutting"},
]
MODELS = [*({**cell, **options} for cell in CELLS for options in (*INPUTS, *OPTIONS)), *OTHERS]
WAYS = ["off", "kernels"]
PAIRS = [
    *(({**cell, **options}, way) for cell, options, way in pairwise(CELLS, (*INPUTS, *OPTIONS), WAYS)),
    *((options, way) for options in OTHERS for way in WAYS),
]
each_model = pytest.mark.parametrize(("options", "kernels"), PAIRS, ids=str, indirect=["kernels"])


class Exchanging(Cell):
    """Parts of the state that become each other, and an input that is not multiplied with a matrix alone."""

    name = "exchanging"
    gates = 1
    state = ("h", "older", "oldest")

    def step(self, x: Value, state: Sequence[Value], p: Any) -> Sequence[Value]:
        h, older, oldest = state
        return older, relu(x) * h - oldest, tanh(p.weight_ih @ (0.5 - tanh(p.weight_hh @ oldest))) + h


class Cutting(Cell):
    """Cuts the product with the input as it is, without a bias."""

    name = "cutting"
    gates = 2

    def step(self, x: Value, state: Sequence[Value], p: Any) -> Sequence[Value]:
        one, other = split(p.weight_ih @ x, 1, 1)
        return (tanh(one + other * state[0]),)


class Halved(Cell):
    """A state in two halves, which the kernels do not know."""

    name = "halved"
    gates = 1

    def step(self, x: Value, state: Sequence[Value], p: Any) -> Sequence[Value]:
        one, other = split(tanh(p.weight_ih @ x + p.weight_hh @ state[0] + p.bias_ih), 1, 1)
        return (concatenate(one * other, other),)


def expected(settings: ModelConfig, tensors: dict[str, np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
    """Log-probabilities (T, V) after each of IDS, and the last state, by PyTorch in float64."""
    model = build_model(settings, V, tensors).double().eval()
    model.load_state_dict({name: torch.from_numpy(tensor) for name, tensor in tensors.items()})
    with torch.inference_mode():
        log_probs, hidden = model(torch.tensor([IDS]))
    parts = [hidden] if isinstance(hidden, torch.Tensor) else list(hidden)
    return log_probs[0].numpy(), [part[:, 0].numpy() for part in parts]


def read(streams: Streams, row: int = 0) -> np.ndarray:
    return np.array([streams.step([index], [row])[0] for index in IDS])


@pytest.mark.parametrize(
    ("options", "kernels", "num_layers"), pairwise(MODELS, WAYS, [1, 3]), ids=str, indirect=["kernels"]
)
def test_it_is_the_pytorch_model(options: dict[str, Any], num_layers: int) -> None:
    settings = config(**options, num_layers=num_layers)
    tensors = weights(settings)
    log_probs, state = expected(settings, tensors)
    streams = Engine(settings, tensors, "float64").begin()
    np.testing.assert_allclose(read(streams), log_probs, rtol=0, atol=1e-10)
    own, history = streams.state(), []
    if "match_lengths" in options:  # the model's history does not contain the oldest symbol of the engine's
        *own, last = own
        history.append(last[None, 1:])
    if "attention" in options:  # the model's memory is the ring, the latest last, without what is beyond the window
        *own, ring, place = own
        own.append(np.roll(ring, -int(place), axis=1)[:, 1:])
    for ours, theirs in zip([*own, *history], state, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-10)


@each_model
def test_in_float32_it_is_close(options: dict[str, Any]) -> None:
    settings = config(**options)
    tensors = weights(settings, scale=0.5)
    steps = read(Engine(settings, tensors).begin())
    assert steps.dtype == np.float32
    np.testing.assert_allclose(steps, expected(settings, tensors)[0], rtol=0, atol=1e-5)


@each_model
def test_a_stream_does_not_depend_on_those_beside_it(options: dict[str, Any]) -> None:
    settings = config(**options)
    engine = Engine(settings, weights(settings))
    alone = read(engine.begin())
    texts = [IDS, IDS[::-1], IDS[3:] + IDS[:3], IDS, IDS[::2] * 2]
    streams = engine.begin(len(texts))
    for step in range(len(IDS)):
        together = streams.step([text[step] for text in texts])
        assert (together[0] == alone[step]).all()
        assert (together[3] == alone[step]).all()
    others = engine.begin(5)
    others.feed([5, 5], row=4)
    for step, index in enumerate(IDS):
        assert (others.step([7, index], [3, 1])[1] == alone[step]).all()
    streams.reset(2)
    assert (read(streams, 2) == alone).all()


@each_model
def test_a_state_taken_and_given_back(options: dict[str, Any]) -> None:
    settings = config(**options)
    engine = Engine(settings, weights(settings))
    streams, alone = engine.begin(2), read(engine.begin())
    streams.feed(IDS[:7], row=1)
    state = streams.state(1)
    streams.feed(IDS, row=1)
    streams.set_state(state, 0)
    for step in range(7, len(IDS)):
        assert (streams.step([IDS[step]], [0])[0] == alone[step]).all()
    np.testing.assert_array_equal(streams.state(0)[0], streams.hidden(0))


WIDE: list[dict[str, Any]] = [
    {"type": "lstm", "layer_norm": "cell"},
    {"type": "gru", "attention": "top", "attention_window": 5},
    {"type": "gru", "reset": "before", "feed_forward_size": 70},
    {"type": "rnn", "layer_norm": "between"},
]


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("options", WIDE, ids=str)
def test_many_streams_and_several_threads_change_nothing(options: dict[str, Any], threads: int) -> None:
    """165 units are no whole number of blocks, and enough to share; 70 streams are more than are taken at a time."""
    settings = config(**options, hidden_size=165)
    tensors = weights(settings, scale=0.1)
    alone = read(Engine(settings, tensors, threads=1).begin())
    streams = Engine(settings, tensors, threads=threads).begin(70)
    rng = np.random.default_rng(1)
    for step, index in enumerate(IDS):
        symbols = rng.integers(V, size=70)
        symbols[[0, 13, 63, 64, 69]] = index
        together = streams.step(symbols)
        for row in (0, 13, 63, 64, 69):
            assert (together[row] == alone[step]).all()
    other = Engine(settings, tensors, threads=threads).begin()
    other.feed(IDS[:-1])
    assert (other.step([IDS[-1]])[0] == alone[-1]).all()


@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
@pytest.mark.parametrize("options", [*WIDE, *({"type": "lstm", **mogrifier} for mogrifier in MOGRIFIERS)], ids=str)
def test_matrices_in_fewer_bits(options: dict[str, Any], precision: Precision) -> None:
    settings = config(**options, hidden_size=36 if "attention" in options else 37)
    tensors = weights(settings, scale=0.3)
    steps = read(Engine(settings, tensors, precision).begin())
    network = Network.of(settings, tensors, np.float32)
    states = StreamStates.of(network).zeros(1)
    reference = NumpyEngine(network, precision).begin(states)
    row = np.zeros(1, np.int64)
    expected = np.array([reference.log_probs(row, np.array([index]))[0] for index in IDS])
    np.testing.assert_allclose(steps, expected, rtol=0, atol=2e-5)
    exact = read(Engine(settings, tensors).begin())
    assert 1e-5 < np.abs(steps - exact).max() < 1


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("options", [{"type": "lstm"}, *WIDE], ids=str)
def test_every_level_of_the_kernels_gives_the_same_bits(
    options: dict[str, Any], precision: Precision, kernels: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = config(**options, hidden_size=37)
    tensors = weights(settings, scale=0.3)
    best = read(Engine(settings, tensors, precision).begin())
    others = [level for level in LEVELS.get(architecture(), {}) if level != level_in_use()] if kernels else []
    for level in others:
        monkeypatch.setenv("CHAR_RNN_KERNELS", level)
        if (loaded := load.__wrapped__()) is not None:
            monkeypatch.setattr("char_rnn.generation.engine.load", lambda loaded=loaded: loaded)
            assert (read(Engine(settings, tensors, precision).begin()) == best).all()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_fork_goes_on_without_the_threads_it_has_not() -> None:
    script = """
import gc, os, sys
import numpy as np
from char_rnn.generation.engine import Engine
from char_rnn.models.parameters import parameter_shapes
from char_rnn.utils.config import ModelConfig

config = ModelConfig(hidden_size=40)
rng = np.random.default_rng(0)
engine = Engine(config, {name: rng.normal(size=shape) for name, shape in parameter_shapes(config, 5)}, threads=2)
expected = engine.begin().step([3])
child = os.fork()
if child == 0:
    same = (engine.begin().step([3]) == expected).all()
    del engine
    gc.collect()
    sys.exit(0 if same else 3)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", script], timeout=60, check=False).returncode == 0


def test_rounding_a_matrix() -> None:
    matrix = np.array([[1.0, -0.5, 0.3], [0.0, 0.0, 0.0], [1 + 2**-8, 1 + 3 * 2**-8, -(2.0**-130)]], np.float32)
    halves = rounded(matrix, "bfloat16")
    np.testing.assert_array_equal(halves[2], np.array([1, 1 + 2**-6, -(2.0**-130)], np.float32))
    assert (halves.view(np.uint32) & 0xFFFF == 0).all()
    eighths, scales = quantize(matrix, "int8")
    assert scales is not None
    np.testing.assert_allclose(scales[0], 1 / 127, rtol=1e-6)
    assert eighths[0].tolist() == [127, -64, 38]
    assert (rounded(matrix, "int8")[1] == 0).all()
    assert rounded(matrix, "float32") is matrix


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
    streams = Engine(settings, tensors, "float64").begin()
    h = math.tanh(-1.0 + 0.25 - 0.5)
    np.testing.assert_allclose(streams.scores([1]), [[h, 0.5 - h]], rtol=1e-14)
    h = math.tanh(0.5 + 2 * h + 0.25 - 0.5)
    total = math.log(math.exp(h) + math.exp(0.5 - h))
    np.testing.assert_allclose(streams.step([0]), [[h - total, 0.5 - h - total]], rtol=1e-14)


def test_the_weights_are_copied() -> None:
    settings = config()
    tensors = weights(settings)
    streams, first = Engine(settings, tensors).begin(), Engine(settings, tensors).begin().step([2])
    for tensor in tensors.values():
        tensor[:] = 7
    assert (streams.step([2]) == first).all()


def test_saturated_gates_neither_warn_nor_end_in_nan() -> None:
    for cell in CELLS:
        streams = Engine(config(**cell), weights(config(**cell), scale=1e4)).begin()
        streams.feed(IDS)
        assert all(np.isfinite(part).all() for part in streams.state())
        assert np.isfinite(streams.step([0])).any()


def test_a_large_vocabulary_takes_no_table_of_products() -> None:
    """For each of its symbols at once the products would take 20 MB here, the weights 0.2 MB."""
    import tracemalloc

    settings = config(type="lstm", embedding_size=1, hidden_size=128, num_layers=1)
    shapes = dict(parameter_shapes(settings, 10_000))
    tensors = {name: np.ones(shape, np.float32) for name, shape in shapes.items()}
    size = sum(tensor.nbytes for tensor in tensors.values())
    tracemalloc.start()
    try:
        Engine(settings, tensors).begin().step([9_999])
        assert tracemalloc.get_traced_memory()[1] < 4 * size
    finally:
        tracemalloc.stop()


@pytest.mark.slow
def test_it_loads_no_torch() -> None:
    script = "import sys; import char_rnn.generation.engine, char_rnn.torch7.sampling; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
