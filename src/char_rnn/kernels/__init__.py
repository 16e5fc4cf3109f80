"""Kernels in C for what is slow in NumPy and PyTorch: decoding steps, and steps of recurrent layers with options.

They are optional: built if there is a C compiler. Without them, or if the environment variable ``CHAR_RNN_KERNELS`` is
``off``, NumPy and PyTorch compute the same, more slowly. That variable may also name a level.

This module loads the library and has the structures of elementwise.h, which programs for training and for decoding
share, and those of train.h.
"""

from __future__ import annotations

import ctypes
import logging
import os
from collections.abc import Sequence
from enum import IntEnum, auto
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from char_rnn.kernels.build import LEVELS, architecture, digest, library

_AVX2 = "avx2 fma f16c bmi1 bmi2 abm movbe"
_NEEDED = {"avx512": f"{_AVX2} avx512f avx512bw avx512cd avx512dq avx512vl", "avx2": _AVX2}
_BFLOAT16 = {"avx512_bf16", "amx_bf16", "bf16"}  # the last is ARM's

_logger = logging.getLogger("char_rnn")


@cache
def load() -> Any:
    """Return the best library that is built and that this processor can run; None without one."""
    wanted = os.environ.get("CHAR_RNN_KERNELS", "")
    if wanted == "off":
        return None
    for level in LEVELS.get(architecture(), {}):
        can_run = library(level).is_file() and wanted in ("", level) and _runs(level)
        if can_run and (kernels := _opened(library(level))) is not None:
            return kernels
    if wanted:
        levels = ", ".join(LEVELS.get(architecture(), {})) or "none"
        _logger.warning(
            "CHAR_RNN_KERNELS=%s: must be off, or a built level that this processor supports (%s);"
            " continuing without kernels",
            wanted,
            levels,
        )
    return None


@cache
def openmp(function: str = "GOMP_parallel") -> Any:
    """Return a function of the OpenMP library that PyTorch has loaded into this process; None without one."""
    try:
        mapped = {line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines()}
    except OSError:
        return None
    for path in sorted(mapped, key=lambda path: ("torch" not in path, path)):  # other packages may have one too
        if "libgomp" in Path(path).name:
            return ctypes.cast(getattr(ctypes.CDLL(path), function), ctypes.c_void_p)
    return None


def level() -> str | None:
    """Return the level of the library in use; None without one."""
    kernels = load()
    return None if kernels is None else Path(kernels._name).stem.removeprefix("kernels-")


def why_none() -> str:
    """Return why :func:`load` returned None."""
    wanted, here = os.environ.get("CHAR_RNN_KERNELS", ""), LEVELS.get(architecture(), {})
    if wanted:
        return f"CHAR_RNN_KERNELS={wanted}"
    if not here:
        return f"no kernels for {architecture()}"
    built = [level for level in here if library(level).is_file()]
    if not built:
        return "kernels not built: no C compiler at installation"
    if not any(map(_runs, built)):
        return f"no kernels for this processor, which lacks {' and '.join(built)}"
    return "kernels built from other sources: run python -m char_rnn.kernels.build"


def multiplies_bfloat16() -> bool:
    """Whether the processor has instructions for bfloat16 products; False if Linux does not report it."""
    return not _BFLOAT16.isdisjoint(processor_features())


def _opened(path: Path) -> Any:
    """Return a library; None if it does not open, and, with a warning, if it was built from other sources."""
    expected = digest()
    try:
        kernels = ctypes.CDLL(str(path))
        kernels.kernels_sources.restype = ctypes.c_char_p
        if expected is None or kernels.kernels_sources().decode() == expected:
            return declared(kernels)
    except OSError:  # truncated, or built for another system
        return None
    except AttributeError:  # another library
        pass
    _logger.warning("%s: not used, it was built from other sources; run python -m char_rnn.kernels.build", path)
    return None


def declared(library: Any) -> Any:
    """Return a library with the functions of train.h, optimizer.h, loss.h and matches.h declared."""
    integer, number, pointer = ctypes.c_int64, ctypes.c_double, ctypes.c_void_p
    library.train_run.argtypes = pointer, integer, pointer, pointer
    library.elementwise_prepare.argtypes, library.elementwise_prepare.restype = (pointer, integer, integer), None
    library.train_packed_size.argtypes = integer, integer, integer
    library.train_packed_size.restype = integer
    library.train_pack.argtypes = pointer, integer, integer, integer, integer, integer, pointer
    of_rows, of_table = (pointer, integer, pointer, integer), (pointer, integer, integer)
    library.train_sum_by_symbol.argtypes = *of_rows, *of_table, integer, pointer
    library.optimizer_norm.argtypes, library.optimizer_norm.restype = (pointer, integer, integer, pointer), number
    library.optimizer_adamw.argtypes = pointer, integer, number, number, number, number, integer, pointer
    library.optimizer_adamw.restype = None
    library.loss_cross_entropy.argtypes = *[pointer] * 4, *[integer] * 3, number, number, integer, pointer
    library.matches_find.argtypes = pointer, *[integer] * 3, pointer, integer, pointer, integer, pointer
    return library


def _runs(level: str) -> bool:
    """Whether this processor has the features that a level needs."""
    return level not in _NEEDED or set(_NEEDED[level].split()) <= processor_features()


@cache
def processor_features() -> frozenset[str]:
    """Return the processor's features by their Linux names; empty on other systems."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line.split(":")[1] for line in lines if line.startswith(("flags", "Features"))), "").split())


class BufferRef(NamedTuple):
    """Reference to a value in memory: the rows of an array, from a unit on."""

    array: int
    unit: int = 0

    def after(self, units: int) -> BufferRef:
        """Return the reference so many units further on."""
        return BufferRef(self.array, self.unit + units)


class Code(IntEnum):
    """Codes of instructions, in the order of elementwise.h (where RELU_SLOPE is STEP)."""

    LOAD = 0
    STORE = auto()
    SUM_ROWS = auto()
    NUMBER = auto()
    SCALE = auto()
    ADD = auto()
    SUBTRACT = auto()
    MULTIPLY = auto()
    MULTIPLY_ADD = auto()
    SIGMOID = auto()
    TANH = auto()
    RELU = auto()
    SOFTPLUS = auto()
    SIGMOID_SLOPE = auto()
    TANH_SLOPE = auto()
    RELU_SLOPE = auto()
    SOFTPLUS_SLOPE = auto()


class Instruction(NamedTuple):
    """An ``instruction`` of elementwise.h, with the name of its code."""

    code: str
    to: int = 0
    operands: tuple[int, ...] = ()
    ref: BufferRef = BufferRef(0)
    number: float = 0.0


def structure(name: str, fields: str, default: Any = ctypes.c_int64, **types: Any) -> Any:
    """Return a structure whose fields have the given types, or the default."""
    listed = [(each, types.get(each, default)) for each in fields.split()]
    return type(name, (ctypes.Structure,), {"_fields_": listed})


ArrayStructure = structure("ArrayStructure", "base step row rows rows_step", base=ctypes.c_void_p, rows=ctypes.c_void_p)
InstructionStructure = structure(
    "InstructionStructure", "code to a b c array unit in_place number", ctypes.c_int32, number=ctypes.c_double
)
UnitsStructure = structure("UnitsStructure", "array unit")
OperationStructure = structure(
    "OperationStructure",
    "operator width columns accumulates is_bfloat16 weights out in rstd normalized instructions length",
    weights=ctypes.c_void_p,
    instructions=ctypes.c_void_p,
    **dict.fromkeys(("out", "in", "rstd", "normalized"), UnitsStructure),
)
ProgramStructure = structure(
    "ProgramStructure",
    "time batch is_backward operations length arrays sums sums_width",
    operations=ctypes.c_void_p,
    arrays=ctypes.c_void_p,
    sums=ctypes.c_void_p,
)


def packed(instructions: Sequence[Instruction]) -> Any:
    """Return instructions as an array for the kernels."""
    array = (InstructionStructure * len(instructions))()
    for number, (code, to, operands, ref, value) in enumerate(instructions):
        array[number] = InstructionStructure(Code[code], to, *(*operands, 0, 0, 0)[:3], *ref, 0, value)
    return array
