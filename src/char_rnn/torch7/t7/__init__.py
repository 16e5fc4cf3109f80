"""The Torch7 file format (.t7). Importing this is cheap: every command that opens a model asks :func:`is_t7`."""

from __future__ import annotations

from pathlib import Path

from char_rnn.utils.files import open_regular

SUFFIX = ".t7"
# A table with the index 1, which begins a checkpoint: binary in both byte orders (in a safetensors file these eight
# bytes would be the length of a header of gigabytes), and ascii.
_BEGINNINGS = (b"\x03\0\0\0\x01\0\0\0", b"\0\0\0\x03\0\0\0\x01", b"3\n1\n")


def is_t7(path: str | Path) -> bool:
    """Return whether a path is a .t7 file: by its suffix, or by how the file begins."""
    path = Path(path)
    if path.suffix == SUFFIX:
        return not path.is_dir()
    try:
        with open_regular(path) as file:
            return file.read(8).startswith(_BEGINNINGS)
    except OSError:
        return False
