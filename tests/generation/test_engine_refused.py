"""What the decoding engine refuses, in one line: symbols, streams, states and weights that are none of its own."""

from __future__ import annotations

import numpy as np
import pytest
from engine_helpers import V, config, weights

from char_rnn.generation.engine import Engine
from char_rnn.models import build_model

pytestmark = pytest.mark.usefixtures("kernels")  # by NumPy too


@pytest.mark.parametrize("index", [-1, V])
def test_a_symbol_that_is_none(index: int) -> None:
    settings = config()
    with pytest.raises(IndexError, match=rf"^symbol {index}: must be from 0 to 10$"):
        Engine(settings, weights(settings)).begin().step([index])


@pytest.mark.parametrize("row", [-1, 2])
def test_a_stream_that_is_none(row: int) -> None:
    settings = config()
    with pytest.raises(IndexError, match=rf"^stream {row}: must be from 0 to 1$"):
        Engine(settings, weights(settings)).begin(2).step([0], [row])


def test_symbols_for_too_few_streams() -> None:
    settings = config()
    with pytest.raises(ValueError, match=r"^symbols: must have one for each of 2 streams; given shape \(1,\)$"):
        Engine(settings, weights(settings)).begin(2).step([0])


def test_no_streams() -> None:
    with pytest.raises(ValueError, match=r"^count: must be 1 or more streams; given 0$"):
        Engine(config(), weights(config())).begin(0)


def test_a_precision_there_is_not() -> None:
    with pytest.raises(ValueError, match=r"^precision: must be one of float64, float32, bfloat16, int8; given 'int4'$"):
        Engine(config(), weights(config()), "int4")  # type: ignore[arg-type]


def test_a_state_of_another_shape() -> None:
    settings = config()
    streams = Engine(settings, weights(settings)).begin()
    with pytest.raises(
        ValueError, match=r"^state: must be arrays of shapes \[\(2, 6\), \(2, 6\)\], given \[\(2, 6\)\]"
    ):
        streams.set_state(streams.state()[:1])


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
