"""Finds model files, and reads and writes safetensors files: model files and training states.

Reading runs nothing, imports no torch, and allocates at most the size of the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from char_rnn.utils.files import HEAD, check_is_path, check_regular, not_a_model, open_regular, replacing
from char_rnn.utils.hub import MODEL, Address, Progress, fetch, is_address
from char_rnn.utils.terminal import first_line

MAX_BYTES = 64 << 30  # of a model file or a training state
BEST, LAST = "best.safetensors", "last.safetensors"
DEMO = "demo"
DEMO_FILE = Path(__file__).parents[1] / "demo" / "demo.safetensors"
"""Name and file of the model in the package; the licence of its training text is beside it."""
Shape = tuple[int, ...]


class ModelFileError(ValueError):
    """A model file that cannot be read; the message says which, why, and what to do."""


def find_model(path: str | Path, progress: Progress | None = None) -> Path:
    """Return the model file that ``path`` means: itself, or the best (else the last) model of a folder.

    `DEMO` means the model in the package, unless there is a file or folder of this name. ``hf://USER/NAME`` means a
    model on the Hub (:mod:`char_rnn.utils.hub`), which is downloaded with `progress`.

    Raises:
        FileNotFoundError: nothing is there.
        OSError: what is there is not a regular file, or larger than `MAX_BYTES`; or the Hub cannot be reached, ...
    """
    if is_address(path):
        return fetch(Address.parse(path), MAX_BYTES, progress)
    path = check_is_path(path)
    if path == Path(DEMO) and not path.exists():
        path = DEMO_FILE
    if path.is_dir():
        for name in (BEST, LAST, MODEL):
            if (path / name).exists():
                check_regular(path / name, MAX_BYTES)
                return path / name
        raise FileNotFoundError(f"{path}: no model in this folder (looked for {BEST}, {LAST} and {MODEL})")
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such model file or run folder")
    check_regular(path, MAX_BYTES)
    return path


def read_tensors(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Read a safetensors file: its arrays by name, and its metadata strings.

    Raises:
        ModelFileError: not a safetensors file, cut short, or of an element type NumPy does not have.
    """
    with _opened(path) as file:
        metadata = dict(file.metadata() or {})
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    return tensors, metadata


def read_shapes(path: Path) -> tuple[dict[str, Shape], dict[str, str]]:
    """Read the header of a safetensors file: the shapes of its arrays by name, and its metadata strings.

    Raises:
        ModelFileError: not a safetensors file, or cut short.
    """
    with _opened(path) as file:
        metadata = dict(file.metadata() or {})
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 (no mapping)
    return shapes, metadata


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    check_regular(path, MAX_BYTES)
    try:
        with safe_open(path, framework="np") as file:
            yield file
    except SafetensorError as error:
        with open_regular(path) as file:
            what = not_a_model(file.read(HEAD)) or f"not a model file, or cut short ({first_line(error)})"
        raise ModelFileError(f"{path}: {what}") from None
    except OSError as error:  # which does not name the file
        raise ModelFileError(f"{path}: cannot be read ({first_line(error)})") from None
    except (TypeError, AttributeError) as error:
        raise ModelFileError(f"{path}: contains tensors of an unsupported type ({error})") from None


def write_tensors(path: str | Path, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file atomically and durably."""
    contiguous = {name: np.asarray(array, order="C") for name, array in tensors.items()}
    with replacing(path) as temporary:
        temporary.write_bytes(save(contiguous, dict(metadata)))
