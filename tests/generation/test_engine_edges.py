"""The decoding engine at its edges: odd shapes, weights of a training that diverged, memory, threads and exit."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from engine_helpers import config
from hypothesis import given, settings
from hypothesis import strategies as st
from pairwise import pairwise

from char_rnn.generation import engine as engine_module
from char_rnn.generation import kernel_engine
from char_rnn.generation.engine import Engine
from char_rnn.generation.network import PRECISIONS, Precision
from char_rnn.kernels import load
from char_rnn.models import build_model
from char_rnn.models.parameters import parameter_shapes
from char_rnn.utils.config import ModelConfig

V = 7
CELLS: list[dict[str, Any]] = [{"type": "lstm"}, {"type": "gru"}, {"type": "gru", "reset": "before"}, {"type": "rnn"}]
MODELS: list[dict[str, Any]] = [
    *CELLS,
    *({**cell, "layer_norm": "cell", "embedding": "one-hot"} for cell in CELLS),
    {"type": "lstm", "layer_norm": "between", "attention": "all", "attention_window": 3, "match_lengths": [3, 2]},
    {"type": "lstm", "mogrifier_rounds": 3, "zoneout": 0.2, "tie_weights": True},
]
NOT_FINITE = {
    "inf": 0x7F800000,
    "-inf": 0xFF800000,
    "NaN": 0x7FC00000,
    "NaN with a payload": 0x7FC00001,
    "the largest NaN": 0xFFFFFFFF,
}
needs_kernels = pytest.mark.skipif(load() is None, reason="the kernels are not built, or do not run here")
WAYS = [False, True] if load() else [False]
each_way = pytest.mark.parametrize("by_kernels", WAYS)


def by(monkeypatch: pytest.MonkeyPatch, *, kernels: bool) -> None:
    if not kernels:
        monkeypatch.setattr(engine_module, "load", lambda: None)


def weights(model: ModelConfig, size: int = V, scale: float = 0.5) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(5)
    return {name: (scale * rng.normal(size=shape)).astype(np.float32) for name, shape in parameter_shapes(model, size)}


@st.composite
def models(draw: st.DrawFn) -> tuple[ModelConfig, int, int]:
    """A model of an odd shape, the size of its vocabulary, and threads."""
    hidden = draw(st.sampled_from([1, 2, 15, 16, 17, 31, 32, 33, 165]))  # of 165 threads share
    options: dict[str, Any] = dict(draw(st.sampled_from(CELLS)))
    options |= draw(st.sampled_from([{"embedding": "one-hot"}, {"embedding_size": 1}, {"embedding_size": hidden}]))
    options |= draw(st.sampled_from([{}, {"layer_norm": "cell"}, {"layer_norm": "between"}]))
    options |= draw(st.sampled_from([{}, {"attention": "all", "attention_window": 1}, {"attention": "top"}]))
    options |= draw(st.sampled_from([{}, {"feed_forward_size": 1}, {"feed_forward_size": 33}]))
    options |= draw(st.sampled_from([{}, {"residual": True}, {"zoneout": 0.5}]))
    if options["type"] == "lstm":
        options["mogrifier_rounds"] = draw(st.integers(0, 3))
    settings = config(**options, hidden_size=hidden, num_layers=draw(st.integers(1, 3)))
    return settings, draw(st.sampled_from([1, 2, 33, 300])), draw(st.integers(1, 3))


@given(models(), st.data())
@settings(max_examples=30, deadline=None)
def test_models_of_odd_shapes_are_the_pytorch_model(drawn: tuple[ModelConfig, int, int], data: st.DataObject) -> None:
    model, size, threads = drawn
    ids = data.draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=6))
    tensors = weights(model, size, scale=model.hidden_size**-0.5)
    module = build_model(model, size, tensors).double().eval()
    with torch.inference_mode():
        expected = module(torch.tensor([ids]))[0][0].numpy()
    for precision, tolerance in (("float64", 1e-10), ("float32", 5e-3)):
        streams = Engine(model, tensors, precision, threads=threads).begin(3)  # type: ignore[arg-type]
        steps = np.array([streams.step([index, 0], [2, 0])[0] for index in ids])
        np.testing.assert_allclose(steps, expected, rtol=0, atol=tolerance * max(1, np.abs(expected).max()))


@pytest.mark.parametrize(
    ("options", "kind", "precision", "by_kernels"), pairwise(MODELS, list(NOT_FINITE), PRECISIONS, WAYS), ids=str
)
def test_of_weights_that_are_not_finite_all_is_nan(
    options: dict[str, Any], kind: str, precision: Precision, by_kernels: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing warns: warnings are errors in these tests."""
    by(monkeypatch, kernels=by_kernels)
    model = config(**options)
    tensors = weights(model)
    tensors[f"{model.type}.weight_hh_l1"].view(np.uint32)[0, 0] = NOT_FINITE[kind]
    streams = Engine(model, tensors, precision).begin()
    streams.feed([1, 2, 3])
    assert np.isnan(streams.step([4])).all()
    for tensor in tensors.values():
        tensor.view(np.uint32)[...] = NOT_FINITE[kind]
    assert np.isnan(Engine(model, tensors, precision).begin().step([4])).all()


@pytest.mark.parametrize(("options", "precision", "by_kernels"), pairwise(MODELS, PRECISIONS, WAYS), ids=str)
def test_every_weight_is_copied(
    options: dict[str, Any], precision: Precision, by_kernels: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    by(monkeypatch, kernels=by_kernels)
    model = config(**options)
    dtype = np.float64 if precision == "float64" else np.float32
    tensors = {name: tensor.astype(dtype) for name, tensor in weights(model).items()}
    engine = Engine(model, tensors, precision)
    first = engine.begin().step([2])
    for tensor in tensors.values():
        tensor[...] = 7
    assert (engine.begin().step([2]) == first).all()


@needs_kernels
def test_the_matrices_are_in_memory_once() -> None:
    model = config(hidden_size=256, embedding_size=256)
    tensors = weights(model)
    size = sum(tensor.nbytes for tensor in tensors.values())
    tracemalloc.start()
    try:
        engine = Engine(model, tensors)
        engine.begin().step([1])
        assert tracemalloc.get_traced_memory()[0] < 1.1 * size
        assert tracemalloc.get_traced_memory()[1] < 1.5 * size
    finally:
        tracemalloc.stop()


@each_way
def test_a_long_text_is_read_as_symbol_by_symbol(by_kernels: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    by(monkeypatch, kernels=by_kernels)
    model = config()
    engine = Engine(model, weights(model))
    text = np.random.default_rng(0).integers(V, size=2 * kernel_engine._FED_AT_ONCE + 3)
    at_once, one_by_one = engine.begin(2), engine.begin()
    at_once.feed(text, 1)
    for symbol in text:
        one_by_one.step([symbol])
    for ours, theirs in zip(at_once.state(1), one_by_one.state(), strict=True):
        assert (ours == theirs).all()


@each_way
@pytest.mark.parametrize("place", [-1, 4, 1 << 40])
def test_a_state_whose_place_is_none_in_its_ring(place: int, by_kernels: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    by(monkeypatch, kernels=by_kernels)
    model = config(attention="top", attention_window=3)
    streams = Engine(model, weights(model)).begin()
    *others, _ = streams.state()
    with pytest.raises(ValueError, match=f"^state: the ring position must be from 0 to 3, given {place}$"):
        streams.set_state((*others, np.array(place)))


@each_way
@pytest.mark.parametrize("symbol", [-1, V])
def test_a_text_with_a_symbol_that_is_none(symbol: int, by_kernels: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    by(monkeypatch, kernels=by_kernels)
    model = config()
    streams = Engine(model, weights(model)).begin()
    with pytest.raises(IndexError, match=f"^symbol {symbol}: must be from 0 to {V - 1}$"):
        streams.feed([0, symbol, 1])
    with pytest.raises(ValueError, match=r"^symbols: must be those of one text, shape \(T,\); given shape \(1, 2\)$"):
        streams.feed([[0, 1]])
    streams.feed([])
    assert not streams.hidden().any()


@each_way
def test_threads_may_read_with_one_engine(by_kernels: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    by(monkeypatch, kernels=by_kernels)
    model = config(hidden_size=165)
    engine = Engine(model, weights(model), threads=2)
    texts = np.random.default_rng(0).integers(V, size=(4, 100))

    def read(text: np.ndarray) -> np.ndarray:
        streams = engine.begin()
        return np.array([streams.step([symbol])[0] for symbol in text])

    expected = [read(text) for text in texts]
    with ThreadPoolExecutor(4) as threads:
        for ours, theirs in zip(threads.map(read, texts), expected, strict=True):
            assert (ours == theirs).all()


DECODING = """
import signal, sys, threading, time
import numpy as np
from pathlib import Path
from char_rnn.generation.engine import Engine
from char_rnn.models.parameters import parameter_shapes
from char_rnn.utils.config import ModelConfig

config = ModelConfig(hidden_size=165)
engine = Engine(config, {name: np.ones(shape) for name, shape in parameter_shapes(config, 5)}, threads=3)
began = threading.Event()

def decode():
    streams = engine.begin()
    while True:
        streams.step([1])
        began.set()
"""


@needs_kernels
def test_the_process_ends_while_a_thread_decodes() -> None:
    script = DECODING + "threading.Thread(target=decode, daemon=True).start()\nbegan.wait()\n"
    for _ in range(2):
        assert subprocess.run([sys.executable, "-c", script], timeout=60, check=False).returncode == 0


@needs_kernels
@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells what signals a thread blocks")
def test_signals_are_left_to_the_threads_of_the_program() -> None:
    script = """
statuses = [path.read_text() for path in Path("/proc/self/task").glob("*/status")]
masks = [int(status.split("SigBlk:")[1].split()[0], 16) >> (signal.SIGINT - 1) & 1 for status in statuses]
print(masks.count(0) >= 1, masks.count(1))
"""
    done = subprocess.run([sys.executable, "-c", DECODING + script], capture_output=True, text=True, check=True)
    assert done.stdout == "True 2\n"
