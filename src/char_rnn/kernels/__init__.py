"""Kernels in C for what neither NumPy nor PyTorch does fast: steps of decoding, steps of layers with options.

They are optional. A build with a C compiler at hand has them; without one, and where the environment variable
``CHAR_RNN_KERNELS`` is ``off``, NumPy and PyTorch compute the same, more slowly. That variable may also name a level.
"""

from __future__ import annotations

import ctypes
import logging
import os
from functools import cache
from pathlib import Path
from typing import Any

from char_rnn.kernels.build import LEVELS, architecture, digest, library

_AVX2 = "avx2 fma f16c bmi1 bmi2 abm movbe"
_NEEDED = {"avx512": f"{_AVX2} avx512f avx512bw avx512cd avx512dq avx512vl", "avx2": _AVX2}
_BFLOAT16 = {"avx512_bf16", "amx_bf16", "bf16"}  # the last is ARM's

_logger = logging.getLogger("char_rnn")


@cache
def load() -> ctypes.CDLL | None:
    """Return the best library that is built and that this processor can run, or None."""
    wanted = os.environ.get("CHAR_RNN_KERNELS", "")
    if wanted == "off":
        return None
    for level in LEVELS.get(architecture(), {}):
        if library(level).is_file() and wanted in ("", level) and _runs(level):
            kernels = _opened(library(level))
            if kernels is not None:
                return kernels
    if wanted:
        levels = ", ".join(LEVELS.get(architecture(), {})) or "none"
        _logger.warning(
            "CHAR_RNN_KERNELS=%s: must be off or a level that is built and that this processor runs (of %s);"
            " going on without kernels",
            wanted,
            levels,
        )
    return None


def openmp() -> Any:
    """Return ``GOMP_parallel`` of the OpenMP library that this process has loaded with PyTorch; None without one."""
    return _of_openmp("GOMP_parallel")


def openmp_team_size() -> Any:
    """Return its ``omp_get_num_threads``; None without one."""
    return _of_openmp("omp_get_num_threads")


@cache
def _of_openmp(function: str) -> Any:
    try:
        mapped = {line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines()}
    except OSError:
        return None
    for path in sorted(mapped, key=lambda path: ("torch" not in path, path)):  # other packages may have their own
        if "libgomp" in Path(path).name:
            return ctypes.cast(getattr(ctypes.CDLL(path), function), ctypes.c_void_p)
    return None


def level() -> str | None:
    """Return the level of the library that is in use, or None where there is none."""
    kernels = load()
    return None if kernels is None else Path(kernels._name).stem.removeprefix("kernels-")


def why_none() -> str:
    """Return why no library is in use, for :func:`load` that returned None."""
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
    """Return whether the processor has instructions for products in bfloat16; false where Linux does not report it."""
    return not _BFLOAT16.isdisjoint(processor_features())


def _opened(path: Path) -> ctypes.CDLL | None:
    """Return a library; None for one that does not open, and, with a warning, for one of other sources than these."""
    try:
        kernels = ctypes.CDLL(str(path))
    except OSError:  # cut short, or made for another system
        return None
    expected = digest()
    if expected is None or _sources(kernels) == expected:
        return kernels
    _logger.warning("%s: not used, it was made of other sources; run python -m char_rnn.kernels.build", path)
    return None


def _sources(kernels: ctypes.CDLL) -> str | None:
    """Return the digest of the sources that a library was made of; None for one that does not tell."""
    try:
        told = kernels.kernels_sources
    except AttributeError:
        return None
    told.restype = ctypes.c_char_p
    return str(told().decode())


def _runs(level: str) -> bool:
    """Whether this processor has what a level needs."""
    return level not in _NEEDED or set(_NEEDED[level].split()) <= processor_features()


@cache
def processor_features() -> frozenset[str]:
    """Return the processor's features by the names of Linux; empty on other systems."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line.split(":")[1] for line in lines if line.startswith(("flags", "Features"))), "").split())
