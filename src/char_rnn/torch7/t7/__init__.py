"""The Torch7 file format (.t7). Importing this is cheap: every command that opens a model asks :func:`is_t7`."""

from __future__ import annotations

from pathlib import Path

from char_rnn.utils.files import HEAD, is_torch7, open_regular

SUFFIX = ".t7"


def is_t7(path: str | Path) -> bool:
    """Return whether a path is a .t7 file: by its suffix, or by how the file begins."""
    path = Path(path)
    if path.suffix == SUFFIX:
        return not path.is_dir()
    try:
        with open_regular(path) as file:
            return is_torch7(file.read(HEAD))
    except OSError:
        return False
