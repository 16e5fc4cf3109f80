"""Steps of a network by the kernels in C, and blocks of symbols that they draw.

Dimensions: N streams, T time, V vocabulary.
"""

from __future__ import annotations

import ctypes
import os
import weakref
from typing import Any

import numpy as np
import numpy.typing as npt

from char_rnn.generation.decode_graph import BoundGraph, DecodeGraph
from char_rnn.generation.network import Array, Network, Precision
from char_rnn.generation.sampler import Sampler
from char_rnn.generation.stream_states import StreamStates
from char_rnn.kernels import structure
from char_rnn.sampling.strategies import Floats
from char_rnn.utils.resources import available_cores

Integers = npt.NDArray[np.int64]

_WORTH_SHARING = 1 << 21
"""Bytes of weights, more than the cache of one core, from which a second thread gains more than it costs."""
_MOST_THREADS = 8
_FED_AT_ONCE = 256
"""Symbols of a text in one call; between calls other streams may step, and interrupts are noticed."""
_FILTERS = frozenset(("top_k", "top_p", "min_p"))  # in draw.c
_FIRST_ROW = np.zeros(1, np.int64)


Draw = structure(
    "Draw",
    "next_double random banned top_k top_p min_p weights order left",
    ctypes.c_void_p,
    top_k=ctypes.c_int64,
    **dict.fromkeys(("top_p", "min_p"), ctypes.c_double),
)
"""``drawing`` of draw.h."""


class KernelEngine:
    """A network in float32 or float64, packed for the kernels with its matrices in a precision.

    `threads` are those of a step; ``None`` chooses by the size of the model. Raises `LoweringError` if the kernels
    cannot run the cell.
    """

    def __init__(self, network: Network, precision: Precision, threads: int | None, kernels: ctypes.CDLL) -> None:
        self.graph = DecodeGraph(network, precision, kernels.elementwise_prepare)
        kernels.team_start.restype = ctypes.c_void_p
        kernels.write_text.restype = ctypes.c_int64
        self._is_double = network.output_bias.dtype == np.float64
        self._run = kernels.decode_double if self._is_double else kernels.decode_float
        self._write = kernels.write_text
        if threads is None:
            threads = min(available_cores(), _MOST_THREADS) if self.graph.weight_bytes >= _WORTH_SHARING else 1
        self.threads = threads
        self._team = ctypes.c_void_p(kernels.team_start(threads) if threads > 1 else None)
        self._process = os.getpid()
        # Not at the end of the process: a Python thread may still be decoding then, and the threads end with it.
        weakref.finalize(self, _end, kernels, self._team, self._process).atexit = False

    def begin(self, states: StreamStates) -> KernelSteps:
        """The steps of these streams."""
        return KernelSteps(self, BoundGraph(self.graph, states), len(states))

    def run(self, work: Any) -> None:
        """Run a ``Work``, given by reference, without the interpreter's lock."""
        self._run(self._own_team(), work)

    def write(self, work: Any, draw: Any, temperatures: int, symbols: int, count: int) -> int:
        """Call ``write_text`` of draw.h, with addresses."""
        integers = map(ctypes.c_int64, (count, self._is_double))
        drawn = self._write(self._own_team(), work, draw, *map(ctypes.c_void_p, (temperatures, symbols)), *integers)
        return int(drawn)

    def _own_team(self) -> ctypes.c_void_p:
        if self._team and self._process != os.getpid():  # a fork, which has none of the threads
            self._team = ctypes.c_void_p()
        return self._team


class KernelSteps:
    """The steps of some streams; the methods are those of `NumpySteps`."""

    def __init__(self, engine: KernelEngine, bound: BoundGraph, count: int) -> None:
        self._engine, self._bound = engine, bound
        # The kernels read these. Their addresses are taken once: that costs a good part of a small model's step.
        self._symbols, self._rows = np.zeros(count, np.int64), np.zeros(count, np.int64)
        self._work = bound.work(0, 0, 1, self._symbols.ctypes.data, self._rows.ctypes.data)
        self._reference = ctypes.byref(self._work)

    def log_probs(self, rows: Integers, symbols: Integers) -> Array:
        """Read symbols (N,) in streams (N,); return log-probabilities (N, V) of the next symbols."""
        return self._step(rows, symbols, len(self._engine.graph))

    def scores(self, rows: Integers, symbols: Integers) -> Array:
        """`log_probs` before the normalization."""
        return self._step(rows, symbols, len(self._engine.graph) - 1)

    def feed(self, rows: Integers, symbols: Integers) -> None:
        """Read texts (T, N) in streams (N,)."""
        work = self._bound.work(self._engine.graph.feeding, len(rows), 0, 0, rows.ctypes.data)
        steps = max(1, _FED_AT_ONCE // len(rows))
        for start in range(0, len(symbols), steps):
            part = symbols[start : start + steps]
            work.symbols, work.time = part.ctypes.data, len(part)
            self._engine.run(ctypes.byref(work))

    def writer(self, sampler: Sampler, rng: np.random.Generator) -> BlockWriter | None:
        """The writer of stream 0; ``None`` for strategies that the kernels do not have."""
        if sampler.is_penalizing or not _FILTERS.issuperset(sampler.filters):
            return None
        return BlockWriter(self._engine, self._bound, sampler, rng)

    def _step(self, rows: Integers, symbols: Integers, length: int) -> Array:
        count = len(rows)
        self._symbols[:count] = symbols
        self._rows[:count] = rows
        self._work.length, self._work.count = length, count
        self._engine.run(self._reference)
        result: Array = self._bound.scores[:count].copy()
        return result


class BlockWriter:
    """Draws a block of symbols in each call, with filters that draw.c has; see `char_rnn.generation.engine.Writer`."""

    def __init__(self, engine: KernelEngine, bound: BoundGraph, sampler: Sampler, rng: np.random.Generator) -> None:
        self._engine, self._bound, self._sampler, self._rng = engine, bound, sampler, rng
        self._work = bound.work(len(engine.graph), 1, 1, 0, _FIRST_ROW.ctypes.data)
        size, filters, interface = bound.scores.shape[1], sampler.filters, rng.bit_generator.ctypes
        banned = np.ones(size, np.uint8)
        banned[sampler.drawable] = 0
        self._room = (banned, np.empty(size), np.empty((2, size), np.int64))
        self._draw = Draw(
            next_double=ctypes.cast(interface.next_double, ctypes.c_void_p),
            random=interface.state_address,
            banned=banned.ctypes.data,
            top_k=min(size, filters.get("top_k", size)),
            top_p=filters.get("top_p", 1),
            min_p=filters.get("min_p", 0),
            weights=self._room[1].ctypes.data,
            order=self._room[2][0].ctypes.data,
            left=self._room[2][1].ctypes.data,
        )
        self._has_refused = False

    def __call__(self, symbol: int, temperatures: Floats) -> list[int]:
        """Read a symbol, and draw the next ones."""
        if not self._has_refused:
            count, symbols = len(temperatures), np.empty(len(temperatures) + 1, np.int64)
            symbols[0] = symbol
            with self._rng.bit_generator.lock:
                structures = ctypes.byref(self._work), ctypes.byref(self._draw)
                drawn = self._engine.write(*structures, temperatures.ctypes.data, symbols.ctypes.data, count)
            # The kernels stop at predictions that nothing can be drawn from; the next call raises for them.
            self._has_refused = drawn < count
            if drawn:
                result: list[int] = symbols[1 : drawn + 1].tolist()
                return result
        self._has_refused = False
        return [self._sampler.choose(self._bound.scores[0], float(temperatures[0]), None, self._rng)]


def _end(kernels: ctypes.CDLL, team: ctypes.c_void_p, process: int) -> None:
    if team and process == os.getpid():
        kernels.team_end(team)
