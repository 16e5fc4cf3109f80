"""The Torch7 file format (.t7): bytes to tables, tensors and objects.

Which files are those of Torch7; light, as every command that opens a model asks.
"""

from __future__ import annotations

from pathlib import Path

from char_rnn.utils.files import open_regular

SUFFIX = ".t7"
# A table with the index 1, as a checkpoint begins: binary in both byte orders (in a safetensors file these eight bytes
# would be the length of a header of gigabytes), and ascii.
_BEGINNINGS = (b"\x03\0\0\0\x01\0\0\0", b"\0\0\0\x03\0\0\0\x01", b"3\n1\n")


def is_t7(path: str | Path) -> bool:
    """Say whether a path is meant as a .t7 file: it ends so, or the file begins as one of Torch7."""
    path = Path(path)
    if path.suffix == SUFFIX:
        return not path.is_dir()
    try:
        with open_regular(path) as file:
            return file.read(8).startswith(_BEGINNINGS)
    except OSError:
        return False
