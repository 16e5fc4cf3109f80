"""A model's forward pass for one stream, one symbol at a time, in NumPy alone: quick to start and quick to step.

PyTorch's recurrent layers are made for long sequences and re-pack their weights at each call; a step of one symbol is
several times faster as a few matrix-vector products on weights that are packed once.

Dimensions: V vocabulary, L layers, H hidden.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from char_rnn.generation.cells import Cell, GRUAfterCell, GRUBeforeCell, LSTMCell, RNNCell
from char_rnn.generation.products import Affine, Always, Array, Layer
from char_rnn.models.parameters import PARAMETERS, check_tensors
from char_rnn.utils.config import ModelConfig

_OUTPUT = "output_proj.bias"
_NOT_COMPUTED = (
    "zoneout",
    "tie_weights",
    "mogrifier_rounds",
    "layer_norm",
    "residual",
    "feed_forward_size",
    "attention",
)


class Engine:
    """Predicts the next symbol after each symbol of a text.

    It computes what the PyTorch model of the same weights computes in evaluation, to rounding.

    Args:
        config: The section `model` of a configuration.
        tensors: The weights by their names in the state dict, of any floating type; they are copied.
        dtype: What to compute in, float32 or float64.

    Raises:
        ValueError: `tensors` are not the weights of this model, or it has parts that are not computed here.
    """

    def __init__(
        self, config: ModelConfig, tensors: Mapping[str, npt.NDArray[Any]], dtype: npt.DTypeLike = np.float64
    ) -> None:
        self.vocab_size = len(tensors[_OUTPUT]) if _OUTPUT in tensors and tensors[_OUTPUT].ndim == 1 else 1
        _check_plain(config)
        check_tensors(config, self.vocab_size, tensors)
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        shape = (config.num_layers, config.hidden_size)
        self._hidden: Array = np.zeros(shape, self.dtype)
        self._cell: Array = np.zeros(shape, self.dtype)
        self._parts = (self._hidden, self._cell) if config.type == "lstm" else (self._hidden,)
        weights = {name: tensor.astype(self.dtype) for name, tensor in tensors.items()}
        self._cells = [self._make_cell(config, weights, layer) for layer in range(config.num_layers)]
        self._output = Affine(weights["output_proj.weight"], self._hidden[-1], Always(weights[_OUTPUT]))

    def step(self, index: int) -> Array:
        """Reads a symbol.

        Args:
            index: Its number, from 0 to V - 1.

        Returns:
            Log-probabilities (V,) of the next one, in nats; the caller's own array.

        Raises:
            IndexError: There is no such symbol.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            self._advance(index)
            return log_softmax(self._output(0))

    def scores(self, index: int) -> Array:
        """As `step`, but returns the scores (V,) that the log-probabilities are made of."""
        with np.errstate(over="ignore", invalid="ignore"):
            self._advance(index)
            return self._output(0).copy()

    def feed(self, indices: Iterable[int]) -> None:
        """Reads a text, as `step` does symbol by symbol, without predicting anything."""
        with np.errstate(over="ignore", invalid="ignore"):
            for index in indices:
                self._advance(index)

    def reset(self) -> None:
        """Goes back to the zero state, that of a text's beginning."""
        for part in self._parts:
            part.fill(0)

    @property
    def state(self) -> tuple[Array, ...]:
        """A copy of the hidden state: h (L, H), and for an LSTM c (L, H)."""
        return tuple(part.copy() for part in self._parts)

    @state.setter
    def state(self, state: tuple[Array, ...]) -> None:
        shapes = [part.shape for part in self._parts]
        if [np.shape(part) for part in state] != shapes:
            raise ValueError(f"state: must be arrays of shapes {shapes}, given {[np.shape(part) for part in state]}")
        for own, part in zip(self._parts, state, strict=True):
            own[...] = part

    def _advance(self, index: int) -> None:
        if not 0 <= index < self.vocab_size:
            raise IndexError(f"symbol {index}: must be from 0 to {self.vocab_size - 1}")
        for cell in self._cells:
            cell.step(index)

    def _make_cell(self, config: ModelConfig, weights: Mapping[str, Array], index: int) -> Cell:
        weight_ih, weight_hh, bias_ih, bias_hh = (weights[f"{config.type}.{name}_l{index}"] for name in PARAMETERS)
        embedding = weights.get("embedding.weight")
        layer = Layer(weight_ih, weight_hh, bias_ih, bias_hh, index, embedding, self._hidden)
        if config.type == "lstm":
            return LSTMCell(layer, self._cell[index])
        if config.type == "rnn":
            return RNNCell(layer)
        return GRUBeforeCell(layer) if config.reset == "before" else GRUAfterCell(layer)


def _check_plain(config: ModelConfig) -> None:
    plain = ModelConfig()
    for name in _NOT_COMPUTED:
        found = getattr(config, name)
        if found != getattr(plain, name):
            raise ValueError(
                f"model.{name} is {found}, which this engine does not compute;"
                " sample without --torch7, in Python with TextGenerator"
            )


def log_softmax(scores: Array) -> Array:
    """Log-probabilities (V,) of scores (V,)."""
    largest = float(np.maximum.reduce(scores))
    total = float(np.add.reduce(np.exp(scores - largest)))
    return np.subtract(scores, largest + math.log(total))
