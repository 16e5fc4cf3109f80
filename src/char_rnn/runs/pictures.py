"""How this project's pictures look, and how they are written.

The same picture gives the same bytes: the user's matplotlibrc has no say, and no date is written.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from warnings import catch_warnings, filterwarnings

import matplotlib as mpl

from char_rnn.utils.files import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIXES: dict[str, dict[str, Any]] = {  # and what is not written into each
    ".png": {"Software": None},
    ".svg": {"Date": None, "Creator": None},
    ".pdf": {"CreationDate": None},
}
GREY = "#555555"
STYLE: dict[Any, Any] = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "xtick.color": GREY,
    "ytick.color": GREY,
    "legend.fontsize": 9,
    "legend.edgecolor": "none",
    "savefig.dpi": 150,
    "svg.hashsalt": "char-rnn",
    "svg.fonttype": "none",  # the reader's own fonts have more scripts
}


@contextmanager
def style() -> Iterator[None]:
    """Draw in the project's own style, whatever the user's is; a script that the font lacks is no fault."""
    with mpl.rc_context(), catch_warnings():
        filterwarnings("ignore", "Glyph .* missing from")
        filterwarnings("ignore", "Matplotlib currently does not support")
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        yield


def save_figure(figure: Figure, path: str | Path) -> Path:
    """Write a figure in the format that the suffix names, in one step; the same figure gives the same bytes.

    Raises:
        ValueError, FileNotFoundError: as ``check_picture``.
    """
    path = check_picture(path)
    suffix = path.suffix.lower()
    with style(), replacing(path) as temporary:
        figure.savefig(temporary, format=suffix[1:], metadata=SUFFIXES[suffix])
    return path


def check_picture(path: str | Path) -> Path:
    """Return the path of a picture that is to be written.

    Raises:
        ValueError: its suffix names no known format, or it is a folder.
        FileNotFoundError: the folder for it is not there.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{path}: a picture's name must end in one of {', '.join(SUFFIXES)}")
    if path.is_dir():
        raise ValueError(f"{path}: is a folder; name a file")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path.parent}: no such folder")
    return path
