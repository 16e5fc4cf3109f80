"""A model's forward pass, one symbol at a time, for one text or for several side by side, without PyTorch.

`Predictor` is the interface to a model that predicts: `Engine`, or `TorchEngine` for a PyTorch model.

PyTorch's recurrent layers are made for long sequences and re-pack their weights in each call. Here the weights are
packed once, and the values that the lowest layer computes from a symbol alone are looked up. `Engine` takes the kernels
(`kernel_engine`) if they run the cell, and else NumPy (`numpy_engine`).

Dimensions: N streams, T time, V vocabulary, L layers, H hidden.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from char_rnn.generation.kernel_engine import KernelEngine, KernelSteps
from char_rnn.generation.network import PRECISIONS, Array, Network, Precision
from char_rnn.generation.numpy_engine import NumpyEngine, NumpySteps
from char_rnn.generation.sampler import Sampler
from char_rnn.generation.stream_states import StreamState, StreamStates
from char_rnn.kernels import load
from char_rnn.kernels.lowering import LoweringError
from char_rnn.sampling.strategies import Floats
from char_rnn.utils.config import ModelConfig

Predictions = npt.NDArray[np.floating[Any]]


Writer = Callable[[int, Floats], list[int]]
"""Reads a symbol and draws the next ones of a text, at least one and at most one for each temperature."""


class PredictorStreams(Protocol):
    """Texts that a model reads side by side, numbered from 0."""

    def __len__(self) -> int:
        """Number of streams."""

    def step(self, symbols: npt.ArrayLike, rows: npt.ArrayLike | None = None) -> Predictions:
        """Read one symbol (N,) in each of some streams (``None``: all); return log-probabilities (N, V), in nats."""

    def feed(self, symbols: npt.ArrayLike, row: int = 0) -> None:
        """Read a text (T,) in one stream."""

    def feed_each(self, texts: Sequence[npt.ArrayLike]) -> None:
        """Read a text (T,) in each of the first streams; their lengths may differ."""

    def writer(self, sampler: Sampler, rng: np.random.Generator) -> Writer | None:
        """A faster way to draw in stream 0 than :meth:`step` and `Sampler.choose`, with the same symbols.

        It advances `rng` as `Sampler.choose` does. ``None`` = there is none.
        """

    def state(self, row: int = 0) -> Any:
        """A copy of a stream's state."""

    def set_state(self, state: Any, row: int = 0) -> None:
        """Set a stream's state."""

    def cells(self, row: int = 0) -> Mapping[str, Predictions]:
        """The parts of the cells' state in a stream, (L, H) each, by name; the first is the layers' output."""


class Predictor(Protocol):
    """A model, ready to predict.

    Attributes:
        vocab_size: V.
        cell: Name of its cell.
    """

    vocab_size: int
    cell: str

    def begin(self, count: int = 1) -> PredictorStreams:
        """Make streams in the zero state."""


def read(streams: PredictorStreams, symbols: npt.NDArray[np.integer[Any]], row: int = 0) -> Predictions:
    """Read a text (T,), T at least 1, in one stream; return log-probabilities (V,) of the next symbol, in nats."""
    streams.feed(symbols[:-1], row)
    prediction: Predictions = streams.step(symbols[-1:], [row])[0]
    return prediction


Indices = npt.ArrayLike
Integers = npt.NDArray[np.int64]


class Engine:
    """A model, ready to predict.

    It computes what the PyTorch model computes in evaluation mode, up to rounding, with all cells and options. The
    predictions of a stream do not depend on the streams beside it.

    Args:
        config: Section `model` of a configuration.
        tensors: The weights by their names in the state dict, of any floating type; they are copied.
        precision: Type of the computation, "float32" or "float64"; or of the stored matrices, "bfloat16" or "int8"
            (with a scale for each row), with computation in float32.
        threads: Threads of a step in the kernels; ``None`` chooses by the size of the model.

    Attributes:
        vocab_size: V.
        cell: Name of its cell.

    Raises:
        ValueError: `tensors` are not the weights of this model, the precision is unknown, or `threads` is below 1.
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
        with np.errstate(over="ignore", invalid="ignore"):  # of a diverged training; the predictions show it
            dtype = np.float64 if precision == "float64" else np.float32
            network = Network.of(config, tensors, dtype)
            self._engine = _fastest(network, precision, threads)
        self.vocab_size, self.cell = network.vocab_size, network.cell.name
        self._states = StreamStates.of(network)

    def begin(self, count: int = 1) -> Streams:
        """Make `count` streams in the zero state, that of the beginning of a text."""
        if count < 1:
            raise ValueError(f"count: must be 1 or more streams; given {count}")
        states = self._states.zeros(count)
        return Streams(self.vocab_size, states, self._engine.begin(states))


def _fastest(network: Network, precision: Precision, threads: int | None) -> KernelEngine | NumpyEngine:
    if (kernels := load()) is not None:
        with suppress(LoweringError):
            return KernelEngine(network, precision, threads, kernels)
    return NumpyEngine(copy.deepcopy(network), precision)  # it has the caller's arrays


class Streams:
    """Texts that a model reads side by side; :meth:`Engine.begin` makes them.

    Rows number the streams from 0. One thread at a time may use a `Streams`; several may use an engine.
    """

    def __init__(self, vocab_size: int, states: StreamStates, steps: KernelSteps | NumpySteps) -> None:
        self.vocab_size = vocab_size
        self._steps, self._states = steps, states
        self._all = np.arange(len(states))

    def __len__(self) -> int:
        return len(self._states)

    def step(self, symbols: Indices, rows: Indices | None = None) -> Array:
        """Read one symbol in each of some streams.

        Args:
            symbols: (N,), from 0 to V - 1.
            rows: (N,), the streams, each at most once; ``None`` = all, in order.

        Returns:
            Log-probabilities (N, V) of the next symbols, in nats, in a new array.

        Raises:
            IndexError: A symbol or a stream is out of range.
        """
        symbols, rows = self._checked(symbols, rows)
        return self._steps.log_probs(rows, symbols)

    def scores(self, symbols: Indices, rows: Indices | None = None) -> Array:
        """`step`, but with the scores (N, V) before their normalization to log-probabilities."""
        symbols, rows = self._checked(symbols, rows)
        return self._steps.scores(rows, symbols)

    def feed(self, symbols: Indices, row: int = 0) -> None:
        """Read a text (T,) in one stream, without predictions."""
        read = self._checked_text(symbols)
        self._check_rows([row])
        self._steps.feed(self._all[row : row + 1], read[:, None])

    def feed_each(self, texts: Sequence[Indices]) -> None:
        """Read a text (T,) in each of the first streams; their lengths may differ, and their number is at most N."""
        read = list(map(self._checked_text, texts))
        self._check_rows(range(len(read)))
        rows = np.array(sorted(range(len(read)), key=lambda row: -len(read[row])), np.int64)
        start = 0
        for end in sorted({len(text) for text in read if len(text)}):  # all that are as long read on together
            rows = rows[: sum(len(text) >= end for text in read)].copy()
            self._steps.feed(rows, np.stack([read[row][start:end] for row in rows], 1))
            start = end

    def writer(self, sampler: Sampler, rng: np.random.Generator) -> Writer | None:
        """The function that draws blocks in stream 0; see :class:`char_rnn.generation.engine.PredictorStreams`."""
        return self._steps.writer(sampler, rng)

    def reset(self, row: int = 0) -> None:
        """Set a stream to the zero state."""
        self._states.reset(row)

    def state(self, row: int = 0) -> StreamState:
        """A copy of a stream's state, whose first part is h (L, H), for :meth:`set_state`."""
        return self._states.get(row)

    def set_state(self, state: StreamState, row: int = 0) -> None:
        """Set a stream's state, as :meth:`state` returns it.

        Raises:
            ValueError: The shapes are not those of this model.
        """
        self._states.set(row, state)

    def set_hidden(self, parts: Sequence[npt.NDArray[Any]], row: int = 0) -> None:
        """Set a stream's state to that of a PyTorch model; its parts are without the axis of streams."""
        self._states.set_hidden(row, parts)

    def hidden(self, row: int = 0) -> Array:
        """A copy of the activations of a stream's cells, h (L, H)."""
        h: Array = self._states.output[row].copy()
        return h

    def cells(self, row: int = 0) -> dict[str, Array]:
        """A copy of the parts of the cells' state in a stream, (L, H) each, by name; the first is `hidden`."""
        return {name: part[row].copy() for name, part in self._states.cells.items()}

    def _checked(self, symbols: Indices, rows: Indices | None) -> tuple[Integers, Integers]:
        read = np.ascontiguousarray(symbols, np.int64)
        chosen = self._all if rows is None else np.ascontiguousarray(rows, np.int64)
        if read.shape != chosen.shape or read.ndim != 1:
            raise ValueError(f"symbols: must have one for each of {len(chosen)} streams; given shape {read.shape}")
        self._check_symbols(read)
        if rows is not None:
            self._check_rows(chosen)
        return read, chosen

    def _checked_text(self, symbols: Indices) -> Integers:
        text = np.atleast_1d(np.ascontiguousarray(symbols, np.int64))
        if text.ndim != 1:
            raise ValueError(f"symbols: must be those of one text, shape (T,); given shape {text.shape}")
        if text.size:
            self._check_symbols(np.array((text.min(), text.max())))
        return text

    def _check_symbols(self, symbols: Integers) -> None:
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
