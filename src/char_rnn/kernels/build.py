"""Compiles the kernels: shared libraries beside this file, one for each processor level.

It needs a C compiler (`cc`, or the one in the environment variable CC) and nothing of this package. The build of the
package runs it (``hatch_build.py``). After a change of the sources, run ``python -m char_rnn.kernels.build``.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
_OPTIONS = "-O3 -std=c11 -Wall -Wextra -fPIC -shared -fno-math-errno -fno-trapping-math -ffp-contract=fast"
LEVELS: dict[str, dict[str, str]] = {
    "x86_64": {"avx512": "-march=x86-64-v4 -mprefer-vector-width=512", "avx2": "-march=x86-64-v3"},
    "arm64": {"neon": ""},
}
"""Levels by architecture, best first, with the compiler options of each."""


def architecture() -> str:
    """Return the machine's architecture, with the same name on every system."""
    name = platform.machine().lower()
    return {"amd64": "x86_64", "aarch64": "arm64"}.get(name, name)


def library(level: str) -> Path:
    """Return the path of a level's library."""
    return FOLDER / f"kernels-{level}.so"


def digest() -> str | None:
    """Return the digest of the sources and compiler options; None without sources. A library contains its own."""
    sources = [path.read_bytes() for path in sorted((*FOLDER.glob("*.c"), *FOLDER.glob("*.h")))]
    return hashlib.sha256(b"\0".join((f"{_OPTIONS} {LEVELS}".encode(), *sources))).hexdigest() if sources else None


def build() -> list[Path]:
    """Compile every level of this architecture in parallel; return the libraries.

    There are none without a compiler. The library of an earlier build is removed if its level does not compile.
    """
    compiler = shlex.split(os.environ.get("CC", "cc"))
    levels = LEVELS.get(architecture(), {}) if os.name == "posix" else {}
    sources = [f'-DKERNELS_SOURCES="{digest()}"', *map(str, sorted(FOLDER.glob("*.c")))]
    running = {}
    for level, options in levels.items():
        temporary = library(level).with_suffix(f".{os.getpid()}.tmp")
        command = [*compiler, *_OPTIONS.split(), *options.split(), *sources, "-lm", "-lpthread", "-o", str(temporary)]
        try:
            running[level] = temporary, subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        except OSError as error:
            print(f"kernels: no C compiler ({error}); NumPy and PyTorch compute instead", file=sys.stderr)
            return []
    return [library(level) for level, job in running.items() if _finished(level, *job)]


def _finished(level: str, temporary: Path, compiling: subprocess.Popen[str]) -> bool:
    """Wait for a compiler and move its library into place; return whether there is one."""
    errors = compiling.communicate()[1]
    if compiling.returncode == 0:
        temporary.replace(library(level))
        return True
    print(f"kernels: not built for {level}\n{errors}", file=sys.stderr)
    for path in (temporary, library(level)):
        path.unlink(missing_ok=True)
    return False


if __name__ == "__main__":
    print("\n".join(str(path) for path in build()) or "none built")
