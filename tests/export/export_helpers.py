"""Small models of every cell and option, with random weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from model_cases import CELLS, INPUTS, OPTIONS, OWN, covering

from char_rnn.data.vocabulary import Vocabulary
from char_rnn.model_file import ModelFile
from char_rnn.models.parameters import parameter_shapes
from char_rnn.models.quantization import dequantized, quantized
from char_rnn.utils.config import Config, ModelConfig

SYMBOLS = "\n ,.abcdefé"
V = 11
IDS = [3, 3, 0, 10, 7, 1, 3, 9, 4, 4, 8, 2, 5, 6, 0]
MOGRIFIERS: list[dict[str, Any]] = [
    {"mogrifier_rounds": 5, "embedding_size": 4},
    {"mogrifier_rounds": 4, "layer_norm": "cell", "zoneout": 0.2},
    {"mogrifier_rounds": 1, "layer_norm": "between", "embedding": "one-hot"},
]
MODELS = [*covering(), *({"type": "lstm", **options} for options in MOGRIFIERS), *OWN]
PAGES = [
    *({**CELLS[place % len(CELLS)], **options} for place, options in enumerate((*INPUTS, *OPTIONS))),
    {"type": "lstm", **MOGRIFIERS[0]},
    *OWN,
]
"""Every cell and every option, for tests that open a page for each."""


def config(**options: Any) -> ModelConfig:
    """The section `model`; by default two layers of six units."""
    return ModelConfig.model_validate({"hidden_size": 6, "num_layers": 2, **options})


def made(
    *,
    symbols: str = SYMBOLS,
    kind: str = "characters",
    scale: float = 0.5,
    seed: int = 5,
    dtype: npt.DTypeLike = np.float32,
    training: dict[str, Any] | None = None,
    **options: Any,
) -> ModelFile:
    """A model with random weights.

    Args:
        symbols: Vocabulary; for bytes, the characters with these code points.
        kind: "characters" or "bytes".
        scale: Standard deviation of the weights.
        seed: Seed of the weights.
        dtype: Type of the weights.
        training: Metadata of the training.
        options: Options of the section `model`.
    """
    settings, rng = config(**options), np.random.default_rng(seed)
    vocabulary = Vocabulary(kind, [ord(symbol) for symbol in symbols])  # type: ignore[arg-type]
    shapes = parameter_shapes(settings, vocabulary.size)
    tensors = {name: (scale * rng.normal(size=shape)).astype(dtype) for name, shape in shapes}
    return ModelFile(Config(model=settings), vocabulary, tensors, training or {"data": "poem.txt"})


def in_8_bits(tensors: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[np.float32]]:
    """The weights that a page computes with: matrices rounded to 8 bits, as float32."""
    whole = {name: tensor.astype(np.float32) for name, tensor in tensors.items()}
    return {name: dequantized(*quantized(tensor)) if tensor.ndim == 2 else tensor for name, tensor in whole.items()}
