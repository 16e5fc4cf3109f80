"""Small models with random weights, for the engine's tests.

Dimensions: V vocabulary.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from char_rnn.models import build_model
from char_rnn.utils.config import ModelConfig

V = 11


def config(**options: Any) -> ModelConfig:
    return ModelConfig.model_validate({"hidden_size": 6, "num_layers": 2, **options})


def weights(settings: ModelConfig, scale: float = 1.0) -> dict[str, np.ndarray]:
    """Weights beyond float32, so that a float32 anywhere on the way shows."""
    rng = np.random.default_rng(5)
    shapes = {name: value.shape for name, value in build_model(settings, V).state_dict().items()}
    return {name: scale * rng.normal(size=tuple(shape)) for name, shape in shapes.items()}
