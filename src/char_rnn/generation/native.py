"""Steps of a network by the kernels in C; the same calls as :class:`char_rnn.generation.reference.Reference`.

Dimensions: N streams, V vocabulary.
"""

from __future__ import annotations

import ctypes
import os
import weakref
from typing import Any

import numpy as np
import numpy.typing as npt

from char_rnn.generation.network import Array, Network, Precision
from char_rnn.generation.operations import Bound
from char_rnn.generation.program import Program
from char_rnn.generation.sampler import Sampler
from char_rnn.generation.state import States
from char_rnn.sampling.strategies import Floats
from char_rnn.utils.resources import available_cores

_WORTH_SHARING = 1 << 21
"""Bytes of weights, more than a core's own cache holds, from which on a second thread gains more than it costs."""
_MOST_THREADS = 8
_FED_AT_ONCE = 256
"""Symbols of a text between which other streams may step, and the process hear of an interrupt."""

_FILTERS = frozenset(("top_k", "top_p", "min_p"))  # in draw.c
_FIRST_ROW = np.zeros(1, np.int64)


class Draw(ctypes.Structure):
    """``drawing`` of draw.h."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("next_double", "random", "banned")),
        ("top_k", ctypes.c_int64),
        *((name, ctypes.c_double) for name in ("top_p", "min_p")),
        *((name, ctypes.c_void_p) for name in ("weights", "order", "left")),
    )


class Native:
    """A network, packed for the kernels.

    Args:
        network: What to compute, in float32 or float64.
        precision: What its matrices are kept in.
        threads: How many compute a step together; ``None`` for what the model's size is worth.
        kernels: From :func:`char_rnn.kernels.load`.

    Raises:
        LoweringError: The kernels cannot run the cell.
    """

    def __init__(self, network: Network, precision: Precision, threads: int | None, kernels: ctypes.CDLL) -> None:
        prepare = kernels.elementwise_prepare
        prepare.argtypes, prepare.restype = (ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64), None
        self.program = Program(network, precision, prepare)
        kernels.team_start.restype = ctypes.c_void_p
        kernels.write_text.restype = ctypes.c_int64
        self._is_double = network.output_bias.dtype == np.float64
        self._run = kernels.decode_double if self._is_double else kernels.decode_float
        self._write = kernels.write_text
        if threads is None:
            threads = min(available_cores(), _MOST_THREADS) if self.program.weight_bytes >= _WORTH_SHARING else 1
        self.threads = threads
        self._team = ctypes.c_void_p(kernels.team_start(threads) if threads > 1 else None)
        self._process = os.getpid()
        # Not when the process ends: a thread of Python may still be decoding then, and the team's end with it.
        weakref.finalize(self, _end, kernels, self._team, self._process).atexit = False

    def begin(self, states: States) -> NativeSteps:
        """Return what steps these streams."""
        return NativeSteps(self, self.program.bind(states), len(states))

    def run(self, work: Any) -> None:
        """Have the kernels do a ``Work``, given by reference; other threads of Python go on meanwhile."""
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


class NativeSteps:
    """The steps of some streams."""

    def __init__(self, native: Native, bound: Bound, count: int) -> None:
        self._native, self._bound = native, bound
        # The kernels read these; their addresses are asked for once, as that takes a good part of a small model's step.
        self._symbols, self._rows = np.zeros(count, np.int64), np.zeros(count, np.int64)
        self._work = bound.work(0, 0, 1, self._symbols.ctypes.data, self._rows.ctypes.data)
        self._reference = ctypes.byref(self._work)

    def log_probs(self, rows: npt.NDArray[np.int64], symbols: npt.NDArray[np.int64]) -> Array:
        """Read a symbol in each of some streams; see :meth:`ReferenceSteps.log_probs`."""
        return self._step(rows, symbols, len(self._native.program))

    def scores(self, rows: npt.NDArray[np.int64], symbols: npt.NDArray[np.int64]) -> Array:
        """As :meth:`log_probs`, but the scores that they are made of."""
        return self._step(rows, symbols, len(self._native.program) - 1)

    def feed(self, row: npt.NDArray[np.int64], symbols: npt.NDArray[np.int64]) -> None:
        """Read a text (T,) in one stream."""
        work = self._bound.work(self._native.program.feeding, 1, 0, 0, row.ctypes.data)
        for start in range(0, len(symbols), _FED_AT_ONCE):
            part = symbols[start : start + _FED_AT_ONCE]
            work.symbols, work.time = part.ctypes.data, len(part)
            self._native.run(ctypes.byref(work))

    def writer(self, sampler: Sampler, rng: np.random.Generator) -> NativeWriter | None:
        """Return what writes in stream 0; see :class:`char_rnn.generation.predictor.Streams`."""
        if sampler.is_penalizing or not _FILTERS.issuperset(sampler.filters):
            return None
        return NativeWriter(self._native, self._bound, sampler, rng)

    def _step(self, rows: npt.NDArray[np.int64], symbols: npt.NDArray[np.int64], length: int) -> Array:
        count = len(rows)
        self._symbols[:count] = symbols
        self._rows[:count] = rows
        self._work.length, self._work.count = length, count
        self._native.run(self._reference)
        result: Array = self._bound.scores[:count].copy()
        return result


class NativeWriter:
    """Writes a text, a block of symbols a call.

    Args:
        native: The network.
        bound: Its operations on the streams' states.
        sampler: How to draw, without a repetition penalty or typical sampling.
        rng: Advanced by one double a symbol.
    """

    def __init__(self, native: Native, bound: Bound, sampler: Sampler, rng: np.random.Generator) -> None:
        self._native, self._bound, self._sampler, self._rng = native, bound, sampler, rng
        self._work = bound.work(len(native.program), 1, 1, 0, _FIRST_ROW.ctypes.data)
        size, strategy, interface = bound.scores.shape[1], sampler.strategy, rng.bit_generator.ctypes
        banned = np.ones(size, np.uint8)
        banned[sampler.drawable] = 0
        self._room = (banned, np.empty(size), np.empty((2, size), np.int64))
        self._draw = Draw(
            next_double=ctypes.cast(interface.next_double, ctypes.c_void_p),
            random=interface.state_address,
            banned=banned.ctypes.data,
            top_k=min(size, strategy.top_k or size),
            top_p=1 if strategy.top_p is None else strategy.top_p,
            min_p=strategy.min_p or 0,
            weights=self._room[1].ctypes.data,
            order=self._room[2][0].ctypes.data,
            left=self._room[2][1].ctypes.data,
        )
        self._has_refused = False

    def __call__(self, symbol: int, temperatures: Floats) -> list[int]:
        """Read a symbol, and draw the next ones; see :class:`char_rnn.generation.predictor.Writer`."""
        if not self._has_refused:
            count, symbols = len(temperatures), np.empty(len(temperatures) + 1, np.int64)
            symbols[0] = symbol
            with self._rng.bit_generator.lock:
                structures = ctypes.byref(self._work), ctypes.byref(self._draw)
                drawn = self._native.write(*structures, temperatures.ctypes.data, symbols.ctypes.data, count)
            # Nothing can be drawn from the predictions that it ended at: the call that finds them first raises.
            self._has_refused = drawn < count
            if drawn:
                result: list[int] = symbols[1 : drawn + 1].tolist()
                return result
        self._has_refused = False
        return [self._sampler.choose(self._bound.scores[0], float(temperatures[0]), None, self._rng)]


def _end(kernels: ctypes.CDLL, team: ctypes.c_void_p, process: int) -> None:
    if team and process == os.getpid():
        kernels.team_end(team)
