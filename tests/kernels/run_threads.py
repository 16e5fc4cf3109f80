"""Runs programs of training and a text of the engine on several threads: what ThreadSanitizer looks at."""

from __future__ import annotations

import ctypes
import sys
from typing import Any

import numpy as np
from train_helpers import recurrent, rows

from char_rnn.generation.engine import Engine
from char_rnn.kernels import declared, load
from char_rnn.models.parameters import parameter_shapes
from char_rnn.utils.config import ModelConfig


def train(library: Any, pool: Any) -> None:
    start, size = (ctypes.cast(function, ctypes.c_void_p) for function in (pool.start, pool.team_size))
    for batch, width in ((13, 33), (150, 40), (9, 600)):
        for bfloat16 in (False, True):
            alone, _ = recurrent(library, batch, width, bfloat16=bfloat16)
            found, _ = recurrent(library, batch, width, bfloat16=bfloat16, threads=3, start=start, team_size=size)
            np.testing.assert_array_equal(found, alone)


def sum_by_symbol(library: Any, pool: Any) -> None:
    generator = np.random.default_rng(3)
    given, symbols = rows(generator, 500, 33), generator.integers(0, 9, 500)
    table = np.empty((9, 33), np.float32)
    of_rows = given.ctypes.data, given.strides[0] // 4, symbols.ctypes.data, 500
    library.train_sum_by_symbol(*of_rows, table.ctypes.data, 9, 33, 3, ctypes.cast(pool.start, ctypes.c_void_p))


def decode() -> None:
    config, generator = ModelConfig(hidden_size=256), np.random.default_rng(0)
    weights = {name: generator.normal(size=shape) / 16 for name, shape in parameter_shapes(config, 5)}
    alone, several = (Engine(config, weights, threads=threads).begin(9) for threads in (1, 3))
    for symbol in (3, 1, 4):
        np.testing.assert_array_equal(alone.step([symbol] * 9), several.step([symbol] * 9))


def main() -> None:
    library, pool = load(), ctypes.CDLL(sys.argv[1])
    assert library is not None
    if sys.argv[2:] == ["race"]:
        pool.start_race()
    declared(library)
    train(library, pool)
    sum_by_symbol(library, pool)
    decode()
    print(library._name)


if __name__ == "__main__":
    main()
