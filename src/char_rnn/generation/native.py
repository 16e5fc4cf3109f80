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
from char_rnn.generation.operations import Bound, Operation
from char_rnn.generation.program import Program
from char_rnn.generation.state import States
from char_rnn.utils.cores import available_cores

_WORTH_SHARING = 1 << 21
"""Bytes of weights, more than a core's own cache holds, from which on a second thread gains more than it costs."""
_MOST_THREADS = 8
_FED_AT_ONCE = 256
"""Symbols of a text between which other streams may step, and the process hear of an interrupt."""


class Work(ctypes.Structure):
    """``work`` of decode.h."""

    _fields_ = (
        ("operations", ctypes.POINTER(Operation)),
        *((name, ctypes.c_int64) for name in ("length", "count", "time")),
        *((name, ctypes.c_void_p) for name in ("symbols", "rows")),
    )


class Native:
    """A network, packed for the kernels.

    Args:
        network: What to compute, in float32 or float64.
        precision: What its matrices are kept in.
        threads: How many compute a step together; ``None`` for what the model's size is worth.
        kernels: From :func:`char_rnn.kernels.load`.
    """

    def __init__(self, network: Network, precision: Precision, threads: int | None, kernels: ctypes.CDLL) -> None:
        self.program = Program(network, precision)
        kernels.team_start.restype = ctypes.c_void_p
        self._run = kernels.decode_double if network.output_bias.dtype == np.float64 else kernels.decode_float
        if threads is None:
            threads = min(available_cores(), _MOST_THREADS) if self.program.weight_bytes >= _WORTH_SHARING else 1
        self.threads = threads
        self._team = ctypes.c_void_p(kernels.team_start(threads) if threads > 1 else None)
        self._process = os.getpid()
        # Not when the process ends: a thread of Python may still be decoding then, and the team's end with it.
        weakref.finalize(self, _end, kernels, self._team, self._process).atexit = False

    def begin(self, states: States) -> NativeSteps:
        """Return what steps these streams."""
        return NativeSteps(self, self.program.bind(states, len(states)), len(states))

    def run(self, work: Any) -> None:
        """Have the kernels do a :class:`Work`, given by reference; other threads of Python go on meanwhile."""
        if self._team and self._process != os.getpid():  # a fork, which has none of the threads
            self._team = ctypes.c_void_p()
        self._run(self._team, work)


class NativeSteps:
    """The steps of some streams."""

    def __init__(self, native: Native, bound: Bound, count: int) -> None:
        self._native, self._bound = native, bound
        # The kernels read these; their addresses are asked for once, as that takes a good part of a small model's step.
        self._symbols, self._rows = np.zeros(count, np.int64), np.zeros(count, np.int64)
        self._work = Work(bound.operations, 0, 0, 1, self._symbols.ctypes.data, self._rows.ctypes.data)
        self._reference = ctypes.byref(self._work)

    def log_probs(self, rows: npt.NDArray[np.int64], symbols: npt.NDArray[np.int64]) -> Array:
        """Read a symbol in each of some streams; see :meth:`ReferenceSteps.log_probs`."""
        return self._step(rows, symbols, len(self._native.program))

    def scores(self, rows: npt.NDArray[np.int64], symbols: npt.NDArray[np.int64]) -> Array:
        """As :meth:`log_probs`, but the scores that they are made of."""
        return self._step(rows, symbols, len(self._native.program) - 1)

    def feed(self, row: npt.NDArray[np.int64], symbols: npt.NDArray[np.int64]) -> None:
        """Read a text (T,) in one stream."""
        work = Work(self._bound.operations, self._native.program.feeding, 1)
        work.rows = row.ctypes.data
        for start in range(0, len(symbols), _FED_AT_ONCE):
            part = symbols[start : start + _FED_AT_ONCE]
            work.symbols, work.time = part.ctypes.data, len(part)
            self._native.run(ctypes.byref(work))

    def _step(self, rows: npt.NDArray[np.int64], symbols: npt.NDArray[np.int64], length: int) -> Array:
        count = len(rows)
        self._symbols[:count] = symbols
        self._rows[:count] = rows
        self._work.length, self._work.count = length, count
        self._native.run(self._reference)
        result: Array = self._bound.scores[:count].copy()
        return result


def _end(kernels: ctypes.CDLL, team: ctypes.c_void_p, process: int) -> None:
    if team and process == os.getpid():
        kernels.team_end(team)
