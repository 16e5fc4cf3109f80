"""The training kernels: every operation against NumPy in float64, at odd sizes, at every level that runs here."""

from __future__ import annotations

import ctypes
import os
import signal
from typing import Any

import numpy as np
import pytest
import torch
from train_helpers import (
    COMPUTED,
    Instruction,
    Program,
    aligned,
    assert_gaps_untouched,
    interpret,
    recurrent,
    rows,
    to_bfloat16,
)

from char_rnn import kernels
from char_rnn.kernels import declared
from char_rnn.kernels.build import LEVELS, architecture, library

WIDTHS = (1, 17, 33, 128, 1000)
BATCHES = (1, 3, 13, 50)
BUILT = [each for each in LEVELS.get(architecture(), {}) if library(each).exists() and kernels._runs(each)]
pytestmark = pytest.mark.skipif(not BUILT, reason="no kernels are built that run here")


@pytest.fixture(params=BUILT)
def lib(request: pytest.FixtureRequest) -> Any:
    return declared(ctypes.CDLL(str(library(request.param))))


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(5)


@pytest.mark.parametrize("code", COMPUTED)
def test_computes(lib: Any, generator: np.random.Generator, code: str) -> None:
    for width, batch in zip((*WIDTHS, 48, 16), (*BATCHES, 2, 5, 40), strict=True):
        given = [4 * rows(generator, 2, batch, width) for _ in range(3)]
        out = rows(generator, 2, batch, width)
        loads = [Instruction("LOAD", to=r, array=r) for r in range(3)]
        compute = Instruction(code, to=1, a=0, b=1, c=2, number=0.75)
        program = Program(lib, 2, batch, [*given, out])
        program.add_elementwise(width, [*loads, compute, Instruction("STORE", a=1, array=3)])
        program.run()
        expected = COMPUTED[code](0.75, *(each.astype(np.float64) for each in given))
        np.testing.assert_allclose(out, expected, rtol=2e-6, atol=2e-6)
        assert_gaps_untouched(out)


@pytest.mark.parametrize("code", ["SIGMOID", "TANH", "SOFTPLUS"])
def test_functions_keep_their_digits(lib: Any, code: str) -> None:
    sizes = np.geomspace(1e-30, 85, 4001, dtype=np.float32)
    x = np.concatenate([-sizes[::-1], [0.0], sizes]).astype(np.float32)[None]
    out = np.empty_like(x)
    program = Program(lib, 1, 1, [x, out])
    program.add_elementwise(x.shape[1], [Instruction("LOAD"), Instruction(code), Instruction("STORE", array=1)])
    program.run()
    np.testing.assert_allclose(out, COMPUTED[code](0, x.astype(np.float64), 0, 0), rtol=4e-7, atol=0)


def test_extreme_arguments(lib: Any) -> None:
    x = np.array([[np.nan, np.inf, -np.inf, 1e30, -1e30, 1000, -1000]], np.float32)
    expected = {
        "SIGMOID": [np.nan, 1, 0, 1, 0, 1, 0],
        "TANH": [np.nan, 1, -1, 1, -1, 1, -1],
        "RELU": [np.nan, np.inf, 0, 1e30, 0, 1000, 0],
        "SOFTPLUS": [np.nan, np.inf, 0, 1e30, 0, 1000, 0],
    }
    for code, values in expected.items():
        out = np.empty_like(x)
        program = Program(lib, 1, 1, [x, out])
        program.add_elementwise(7, [Instruction("LOAD"), Instruction(code), Instruction("STORE", array=1)])
        program.run()
        np.testing.assert_allclose(out, np.array([values], np.float32), rtol=4e-7, atol=1e-37)


@pytest.mark.parametrize("seed", range(12))
def test_instructions_act_as_if_in_turn(lib: Any, seed: int) -> None:
    """Loads by reference and stores in place are not to show: random lists, with reads of what was just stored."""
    generator = np.random.default_rng(seed)
    width, batch, time = int(generator.choice([16, 32, 128, 400, 21, 300])), int(generator.integers(1, 20)), 2
    given = [rows(generator, time, batch, 2 * width, gap=int(generator.integers(0, 20))) for _ in range(3)]
    copies = [each.astype(np.float64) for each in given]
    instructions = [Instruction("LOAD", to=r, array=r % 3, unit=r // 3 * width) for r in range(5)]
    for _ in range(30):
        code = str(
            generator.choice(["LOAD", "LOAD", "STORE", "STORE", "SUM_ROWS", "ADD", "SUBTRACT", "TANH", "RELU_SLOPE"])
        )
        to, a, b, c = map(int, generator.integers(0, 5, 4))
        unit = int(generator.integers(0, 2)) * width
        instructions.append(Instruction(code, to, a, b, c, int(generator.integers(0, 3)), unit))
    program = Program(lib, time, batch, list(given), 2 * width)
    program.add_elementwise(width, instructions)
    sums = program.run()
    expected = interpret(instructions, width, copies, time, 2 * width)
    for out, copy in zip(given, copies, strict=True):
        np.testing.assert_allclose(out, copy, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(sums, expected, rtol=1e-4, atol=2e-4 * batch)


def test_rows_of_a_table_one_vector_and_what_is_not_kept(lib: Any, generator: np.random.Generator) -> None:
    for width, batch, time in ((17, 13, 5), (32, 6, 3), (128, 5, 4)):
        table, bias, total = rows(generator, 7, width), rows(generator, width), np.zeros((batch, width), np.float32)
        symbols = generator.integers(0, 7, (time, batch))
        program = Program(lib, time, batch, [(table, symbols), bias, total])
        loads = [Instruction("LOAD", to=r, array=r) for r in range(3)]
        add = [Instruction("MULTIPLY_ADD", to=3, a=0, b=1, c=2), Instruction("STORE", a=3, array=2)]
        program.add_elementwise(width, [*loads, *add])
        program.run()
        np.testing.assert_allclose(total, (table[symbols] * bias).sum(0), rtol=1e-5, atol=1e-5)


@pytest.fixture(params=["expanded", "pairs"])
def instructions_for_bfloat16(request: pytest.FixtureRequest, lib: Any) -> Any:
    """The float32 instructions, or that for pairs of bfloat16."""
    if lib.train_use_pairs(request.param == "pairs") != (request.param == "pairs"):
        pytest.skip("this processor, or level, does not multiply pairs of bfloat16")
    yield
    lib.train_use_pairs(lib.train_bfloat16_is_fast())


@pytest.mark.parametrize("bfloat16", [False, True])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.usefixtures("instructions_for_bfloat16")
def test_products(lib: Any, generator: np.random.Generator, transposed: bool, bfloat16: bool) -> None:
    for width, columns, batch in ((1, 1, 1), (17, 33, 3), (33, 17, 13), (96, 128, 50), (32, 1000, 7), (1000, 31, 130)):
        matrix = rows(generator, *((columns, width) if transposed else (width, columns)))
        x, y = rows(generator, 2, batch, columns), rows(generator, 2, batch, width + 5)
        start = y.copy()
        program = Program(lib, 2, batch, [x, y])
        product = {"transposed": transposed, "bfloat16": bfloat16, "in": (0, 0)}
        program.add_product(matrix, out=(1, 5), **product)
        program.add_product(matrix, out=(1, 5), accumulates=1, **product)
        program.run()
        used = [to_bfloat16(each) if bfloat16 else each for each in (x, matrix.T if transposed else matrix)]
        expected = 2 * used[0].astype(np.float64) @ used[1].astype(np.float64).T
        np.testing.assert_allclose(y[..., 5:], expected, rtol=1e-5, atol=2e-6 * columns)
        np.testing.assert_array_equal(y[..., :5], start[..., :5])
        assert_gaps_untouched(y)


def test_not_a_number_shows_in_its_row_alone(lib: Any, generator: np.random.Generator) -> None:
    for bfloat16 in (False, True):
        x, y = rows(generator, 1, 13, 40), rows(generator, 1, 13, 40)
        x[0, 4, 11] = np.nan
        program = Program(lib, 1, 13, [x, y])
        program.add_product(rows(generator, 40, 40), bfloat16=bfloat16, out=(1, 0), **{"in": (0, 0)})
        program.add_elementwise(40, [Instruction("LOAD", array=1), Instruction("TANH"), Instruction("STORE", array=1)])
        program.run()
        assert np.isnan(y[0, 4]).all()
        assert np.isfinite(np.delete(y[0], 4, axis=0)).all()


def test_normalization_and_its_gradient(lib: Any, generator: np.random.Generator) -> None:
    for width, batch in ((1, 1), (17, 3), (33, 13), (128, 50), (1000, 3)):
        x, out, back = (rows(generator, 2, batch, width) for _ in range(3))
        grad, rstd = rows(generator, 2, batch, width), rows(generator, 2, batch, 1)
        program = Program(lib, 2, batch, [x, out, rstd, grad, back])
        program.add("normalize", width=width, out=(1, 0), rstd=(2, 0), **{"in": (0, 0)})
        program.add("normalize_back", width=width, out=(4, 0), rstd=(2, 0), normalized=(1, 0), **{"in": (3, 0)})
        program.run()
        wide = torch.tensor(x, dtype=torch.float64, requires_grad=True)
        expected = torch.nn.functional.layer_norm(wide, (width,))
        np.testing.assert_allclose(out, expected.detach(), rtol=1e-5, atol=1e-5)
        (gradient,) = torch.autograd.grad(expected, wide, torch.tensor(grad, dtype=torch.float64))
        np.testing.assert_allclose(back, gradient, rtol=1e-4, atol=1e-4 if width > 1 else 1e-2)
        assert_gaps_untouched(out)
        assert_gaps_untouched(rstd)


@pytest.mark.parametrize("bfloat16", [False, True])
@pytest.mark.usefixtures("instructions_for_bfloat16")
def test_a_row_is_the_same_for_any_number_of_threads(lib: Any, bfloat16: bool) -> None:
    """Also where the threads share each step, as they do where the matrix is too large for a cache of their own."""
    start, size = kernels.openmp(), kernels.openmp("omp_get_num_threads")
    assert start is not None
    assert size is not None
    for batch, width in ((1, 17), (13, 33), (150, 40), (9, 600)):
        alone, sums = recurrent(lib, batch, width, bfloat16=bfloat16)
        for threads in (2, 3):
            how = {"bfloat16": bfloat16, "threads": threads}
            runs = [recurrent(lib, batch, width, **how, start=start, team_size=size) for _ in range(2)]
            runs += [recurrent(lib, batch, width, **how, start=start), recurrent(lib, batch, width, **how)]
            for states, sums_of_threads in runs:
                np.testing.assert_array_equal(states, alone)
                np.testing.assert_array_equal(sums_of_threads, runs[0][1])
            np.testing.assert_allclose(runs[0][1], sums, rtol=1e-5, atol=1e-5 * batch)


def test_a_product_of_a_product(lib: Any, generator: np.random.Generator) -> None:
    """The second one reads what all threads wrote."""
    first, second = rows(generator, 700, 600), rows(generator, 500, 700)
    x, y, z = rows(generator, 9, 4, 600), rows(generator, 4, 700), rows(generator, 9, 4, 500)
    program = Program(lib, 9, 4, [x, y, z])
    program.add_product(first, out=(1, 0), **{"in": (0, 0)})
    program.add_product(second, out=(2, 0), **{"in": (1, 0)})
    program.run(2, kernels.openmp(), kernels.openmp("omp_get_num_threads"))
    np.testing.assert_allclose(z, x.astype(np.float64) @ first.T.astype(np.float64) @ second.T, rtol=1e-3, atol=1e-2)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_after_a_fork(lib: Any) -> None:
    """The pool's threads do not exist in a child: it computes alone, to the same bits."""
    start = kernels.openmp()
    expected, _ = recurrent(lib, 13, 40, threads=2, start=start)
    child = os.fork()
    if not child:
        signal.alarm(60)  # ends a child that waits for threads
        found, _ = recurrent(lib, 13, 40, threads=2, start=start)
        os._exit(0 if np.array_equal(found, expected, equal_nan=True) else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_every_thread_flushes_as_the_caller_does(lib: Any) -> None:
    x = np.full((1, 8, 16), 1e-39, np.float32)
    results = []
    try:
        for flushes in (False, True):
            if not torch.set_flush_denormal(flushes):
                pytest.skip("this processor's denormals cannot be flushed")
            out = np.empty_like(x)
            program = Program(lib, 1, 8, [x, out])
            program.add_elementwise(
                16, [Instruction("LOAD"), Instruction("SCALE", number=2.0), Instruction("STORE", array=1)]
            )
            program.run(4, kernels.openmp())
            results.append(np.unique(out.view(np.uint32)))
    finally:
        torch.set_flush_denormal(False)
    assert [len(result) for result in results] == [1, 1]
    assert results[0][0] != 0
    assert results[1][0] == 0


def test_sums_by_symbol(lib: Any, generator: np.random.Generator) -> None:
    for count, width, size in ((1, 1, 1), (50, 17, 3), (2500, 128, 65), (7, 33, 1000)):
        given = rows(generator, count, width)
        symbols = generator.integers(0, size, count)
        expected = torch.zeros(size, width, dtype=torch.float64)
        expected.index_add_(0, torch.from_numpy(symbols), torch.from_numpy(given).double())
        tables = [np.full((size, width), np.nan, np.float32) for _ in range(2)]
        for threads, table in enumerate(tables, 1):
            of_rows = given.ctypes.data, given.strides[0] // 4, symbols.ctypes.data, count
            lib.train_sum_by_symbol(*of_rows, table.ctypes.data, size, width, threads, kernels.openmp())
            np.testing.assert_allclose(table, expected, rtol=1e-4, atol=1e-4)
        np.testing.assert_array_equal(*tables)


def test_packed_memory_is_all_that_is_written(lib: Any, generator: np.random.Generator) -> None:
    matrix = rows(generator, 33, 7)
    for bfloat16 in (False, True):
        size = lib.train_packed_size(33, 7, bfloat16)
        packed = aligned(size + 64)
        packed[size:] = 77
        lib.train_pack(matrix.ctypes.data, 10, 33, 7, False, bfloat16, packed.ctypes.data)
        assert (packed[size:] == 77).all()
