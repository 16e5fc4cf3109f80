"""Kernels in C for what neither NumPy nor PyTorch does fast: steps of decoding, steps of layers with options.

They are optional. A build with a C compiler at hand has them; without one, and where the environment variable
``CHAR_RNN_KERNELS`` is ``off``, NumPy and PyTorch compute the same, more slowly.
"""

from __future__ import annotations

import ctypes
import os
from functools import cache
from pathlib import Path

from char_rnn.kernels.build import LEVELS, architecture, library

_VERSION = 2
"""What the libraries say of themselves: another one is left over from another version of this package."""
_NEEDED = {"avx512": "avx512f avx512bw avx512cd avx512dq avx512vl avx2 fma bmi2 f16c", "avx2": "avx2 fma bmi2 f16c"}


@cache
def load() -> ctypes.CDLL | None:
    """Return the best library that is built and that this processor can run, or None."""
    wanted = os.environ.get("CHAR_RNN_KERNELS", "")
    if wanted == "off":
        return None
    for level in LEVELS.get(architecture(), {}):
        if library(level).is_file() and wanted in ("", level) and _runs(level):
            try:
                kernels = ctypes.CDLL(str(library(level)))
            except OSError:  # cut short, or made for another system
                continue
            if kernels.kernels_version() == _VERSION:
                return kernels
    return None


def level() -> str | None:
    """Return the level of the library that is in use, or None where there is none."""
    kernels = load()
    return None if kernels is None else Path(kernels._name).stem.removeprefix("kernels-")


def _runs(level: str) -> bool:
    """Whether this processor has what a level needs."""
    return level not in _NEEDED or set(_NEEDED[level].split()) <= _features()


@cache
def _features() -> frozenset[str]:
    """What the processor can do, as Linux names it; elsewhere PyTorch is to be had for other processors alone."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line.split(":")[1] for line in lines if line.startswith("flags")), "").split())
