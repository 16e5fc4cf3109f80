"""A model's forward pass, one symbol at a time, for one text or for many side by side, without PyTorch.

PyTorch's recurrent layers are made for long sequences and re-pack their weights at each call; here they are packed
once, and what the lowest layer makes of a symbol is looked up.

Dimensions: N streams, V vocabulary, L layers, H hidden.
"""

from __future__ import annotations

import copy
import ctypes
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from char_rnn.generation.native import Native, NativeSteps
from char_rnn.generation.network import PRECISIONS, Array, Network, Precision
from char_rnn.generation.predictor import Writer
from char_rnn.generation.reference import Reference, ReferenceSteps
from char_rnn.generation.sampler import Sampler
from char_rnn.generation.state import Shapes, State, States
from char_rnn.kernels import load
from char_rnn.kernels.lowering import LoweringError
from char_rnn.utils.config import ModelConfig

Indices = npt.ArrayLike


class Engine:
    """A model, ready to predict.

    It computes what the PyTorch model of the same weights computes in evaluation, to rounding: with all cells and
    options. What a stream is given does not depend on the streams beside it.

    Args:
        config: The section `model` of a configuration.
        tensors: The weights by their names in the state dict, of any floating type; they are copied.
        precision: What to compute in, "float32" or "float64"; or what to keep the matrices in, "bfloat16" or "int8" (a
            scale for each row), and compute in float32.
        threads: How many compute a step together, by the kernels; ``None`` for what the model's size is worth.

    Attributes:
        vocab_size: V.

    Raises:
        ValueError: `tensors` are not the weights of this model, there is no such precision, or `threads` is below 1.
    """

    def __init__(
        self,
        config: ModelConfig,
        tensors: Mapping[str, npt.NDArray[Any]],
        precision: Precision = "float32",
        *,
        threads: int | None = None,
    ) -> None:
        if threads is not None and threads < 1:
            raise ValueError(f"threads: must be 1 or more; given {threads}")
        if precision not in PRECISIONS:
            raise ValueError(f"precision: must be one of {', '.join(PRECISIONS)}; given {precision!r}")
        self.precision: Precision = precision
        kernels = load()
        with np.errstate(over="ignore", invalid="ignore"):  # where training has diverged; the predictions tell
            dtype = np.float64 if precision == "float64" else np.float32
            network = Network.of(config, tensors, dtype, copies=kernels is None)
            self._steps = _steps(network, precision, threads, kernels)
        self.vocab_size = network.vocab_size
        self._shapes = Shapes.of(network)

    def begin(self, count: int = 1) -> Streams:
        """Return streams in the zero state, that of a text's beginning.

        Args:
            count: N, at least 1.
        """
        if count < 1:
            raise ValueError(f"count: must be 1 or more streams; given {count}")
        states = States(self._shapes, count)
        return Streams(self.vocab_size, states, self._steps.begin(states))


def _steps(
    network: Network, precision: Precision, threads: int | None, kernels: ctypes.CDLL | None
) -> Reference | Native:
    if kernels is not None:
        try:
            return Native(network, precision, threads, kernels)
        except LoweringError:
            network = copy.deepcopy(network)  # it is of the caller's arrays
    return Reference(network, precision)


class Streams:
    """Texts that a model reads side by side; :meth:`Engine.begin` makes them.

    Rows number the streams from 0. Not to be used by two threads at once; two of them on one engine may be.
    """

    def __init__(self, vocab_size: int, states: States, steps: ReferenceSteps | NativeSteps) -> None:
        self.vocab_size = vocab_size
        self._steps, self._states = steps, states
        self._all = np.arange(len(states))

    def __len__(self) -> int:
        return len(self._states)

    def step(self, symbols: Indices, rows: Indices | None = None) -> Array:
        """Read one symbol in each of some streams.

        Args:
            symbols: (N,), from 0 to V - 1.
            rows: (N,), which streams, each at most once; ``None`` for all, in order.

        Returns:
            Log-probabilities (N, V) of the next symbols, in nats; the caller's own array.

        Raises:
            IndexError: There is no such symbol, or no such stream.
        """
        symbols, rows = self._checked(symbols, rows)
        return self._steps.log_probs(rows, symbols)

    def scores(self, symbols: Indices, rows: Indices | None = None) -> Array:
        """As :meth:`step`, but return the scores (N, V) that the log-probabilities are made of."""
        symbols, rows = self._checked(symbols, rows)
        return self._steps.scores(rows, symbols)

    def feed(self, symbols: Indices, row: int = 0) -> None:
        """Read a text (T,) in one stream, without predicting anything."""
        read = np.atleast_1d(np.ascontiguousarray(symbols, np.int64))
        if read.ndim != 1:
            raise ValueError(f"symbols: must be of one text, (T,); given shape {read.shape}")
        if read.size:
            self._check_symbols(np.array((read.min(), read.max())))
        self._check_rows([row])
        self._steps.feed(self._all[row : row + 1], read)

    def writer(self, sampler: Sampler, rng: np.random.Generator) -> Writer | None:
        """Return what draws in blocks in stream 0; see :class:`char_rnn.generation.predictor.Streams`."""
        return self._steps.writer(sampler, rng) if isinstance(self._steps, NativeSteps) else None

    def reset(self, row: int = 0) -> None:
        """Take a stream back to the zero state."""
        self._states.reset(row)

    def state(self, row: int = 0) -> State:
        """Return a copy of a stream's state, whose first part is h (L, H), for :meth:`set_state`."""
        return self._states.get(row)

    def set_state(self, state: State, row: int = 0) -> None:
        """Give a stream a state, as :meth:`state` returns it.

        Raises:
            ValueError: It is not of this model's shapes.
        """
        self._states.set(row, state)

    def hidden(self, row: int = 0) -> Array:
        """Return a copy of what the cells of a stream hold, h (L, H)."""
        h: Array = self._states.output[row].copy()
        return h

    def _checked(self, symbols: Indices, rows: Indices | None) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        read = np.ascontiguousarray(symbols, np.int64)
        chosen = self._all if rows is None else np.ascontiguousarray(rows, np.int64)
        if read.shape != chosen.shape or read.ndim != 1:
            raise ValueError(f"symbols: must be one for each of {len(chosen)} streams; given shape {read.shape}")
        self._check_symbols(read)
        if rows is not None:
            self._check_rows(chosen)
        return read, chosen

    def _check_symbols(self, symbols: npt.NDArray[np.int64]) -> None:
        for index in symbols.tolist():
            if not 0 <= index < self.vocab_size:
                raise IndexError(f"symbol {index}: must be from 0 to {self.vocab_size - 1}")

    def _check_rows(self, rows: Indices) -> None:
        numbers = np.asarray(rows).tolist()
        for row in numbers:
            if not 0 <= row < len(self):
                raise IndexError(f"stream {row}: must be from 0 to {len(self) - 1}")
        if len(set(numbers)) < len(numbers):
            raise ValueError(f"rows: must name each stream at most once; given {numbers}")
