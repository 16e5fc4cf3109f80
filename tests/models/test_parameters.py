"""The description of a model's parameters without PyTorch, held to the models themselves."""

from __future__ import annotations

import subprocess
import sys

import pytest

import char_rnn.models
from char_rnn.cells import BUILT_IN
from char_rnn.models.build import MODELS, build_model
from char_rnn.models.parameters import parameter_shapes
from char_rnn.utils.config import ModelConfig


@pytest.mark.parametrize("kind", BUILT_IN)
@pytest.mark.parametrize("inputs", [{"embedding": "one-hot"}, {}, {"embedding_size": 4}], ids=str)
def test_names_and_shapes_are_those_of_the_state_dict(kind: str, inputs: dict[str, object]) -> None:
    config = ModelConfig.model_validate({"type": kind, "hidden_size": 5, "num_layers": 2, **inputs})
    state = build_model(config, 7).state_dict()
    assert list(parameter_shapes(config, 7)) == [(name, tuple(value.shape)) for name, value in state.items()]


def test_every_model_is_described() -> None:
    assert {name: make(5, 4, 1).cell.name for name, make in MODELS.items()} == {name: name for name in MODELS}
    assert MODELS.keys() <= {*BUILT_IN}


def test_the_names_of_the_package_are_there_on_first_use() -> None:
    assert sorted(char_rnn.models._HOMES) == char_rnn.models.__all__
    assert all(getattr(char_rnn.models, name) is not None for name in char_rnn.models.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'CharTransformer'"):
        _ = char_rnn.models.CharTransformer


@pytest.mark.slow
def test_the_description_loads_no_torch() -> None:
    script = "import sys; import char_rnn.models.parameters; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
