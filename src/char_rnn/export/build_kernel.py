"""Compiles the page's kernel: ``kernel.c`` to WebAssembly, in ``static/kernel_binary.js``.

It needs clang and lld. After a change of ``kernel.c`` or ``kernels/functions.h``, run ``python -m
char_rnn.export.build_kernel``. The result is kept with the sources, so that nobody else needs a compiler.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shlex
import subprocess
from pathlib import Path

FOLDER = Path(__file__).parent
SOURCES = (FOLDER / "kernel.c", FOLDER.parent / "kernels" / "functions.h")
BINARY = FOLDER / "static" / "kernel_binary.js"
_OPTIONS = (
    "--target=wasm32 -msimd128 -Os -std=c11 -Wall -Wextra -ffreestanding -nostdlib"
    " -Wl,--no-entry -Wl,--import-memory -Wl,--strip-all -Wl,-z,stack-size=16"
)


def binary() -> bytes:
    """Compile the module.

    Raises:
        OSError: There is no clang.
        subprocess.CalledProcessError: clang or lld fails.
    """
    command = [*shlex.split(os.environ.get("CLANG", "clang")), *_OPTIONS.split(), "-o", "-", str(SOURCES[0])]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout


def digest() -> str:
    """Return the digest of the sources and the compiler options; the script with the module contains it."""
    return hashlib.sha256(b"\0".join([_OPTIONS.encode(), *(path.read_bytes() for path in SOURCES)])).hexdigest()


def main() -> None:
    """Write the script."""
    module = base64.b64encode(binary()).decode()
    BINARY.write_text(f'// Compiled by build_kernel.py: digest {digest()}\nexport const BINARY = "{module}";\n')


if __name__ == "__main__":
    main()
