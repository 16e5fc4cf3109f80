"""Finds model files, and reads and writes safetensors files: model files and training states.

Reading runs nothing, imports no torch, and allocates at most the size of the file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from char_rnn.cells import BUILT_IN, CELLS
from char_rnn.utils.config import Config, config_from_dict
from char_rnn.utils.config.fields import one_line
from char_rnn.utils.files import HEAD, check_is_path, check_regular, not_a_model, open_regular, replacing
from char_rnn.utils.hub import MODEL, Address, Progress, fetch, is_address, is_repository
from char_rnn.utils.terminal import counted, first_line

FORMAT = "char-rnn"
FORMAT_VERSION, PLAIN_VERSION = 2, 1  # the latest; and that of files without matrices in 8 bits
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
        found = (each for pattern in ("*.t7", "lm_*.safetensors") for each in path.glob(pattern))
        others = [each for each in found if each.name not in ("data.t7", "vocab.t7")]
        others.sort(key=lambda each: each.stat().st_mtime)
        hint = f"; it has {counted(len(others), 'checkpoint')}: give one, such as {others[-1]}" if others else ""
        raise FileNotFoundError(f"{path}: no model in this folder (looked for {BEST}, {LAST} and {MODEL}){hint}")
    if not path.exists():
        is_on_hub = is_repository(path) and not path.parent.exists()
        hint = f"; for a model on the Hub, write hf://{path.as_posix()}" if is_on_hub else ""
        raise FileNotFoundError(f"{path}: no such model file or run folder{hint}")
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


def write_configuration(folder: Path, config: Mapping[str, Any]) -> None:
    """Write ``config.json`` beside a model file, for programs that look for it."""
    with replacing(folder / "config.json") as temporary:
        text = json.dumps({"model_type": "char-rnn", **config}, indent=2)
        temporary.write_text(text + "\n", encoding="utf-8", newline="\n")


def read_config(path: Path, metadata: Mapping[str, str], any_cell: bool = False) -> Config:
    """Return the configuration in the metadata of a model file; with `any_cell`, its cell need not be defined here.

    Raises:
        ModelFileError: not a model file of this program, damaged, or of a later version.
    """
    _check_format(path, metadata)
    with described(path):
        settings = json.loads(metadata["config"])
        if not any_cell:
            _check_cell(path, settings)
        config = config_from_dict(settings, "its configuration", saved=True, any_cell=any_cell)
        if "file_order" not in settings.get("data", {}):  # version 1.0 read folders so
            config.data.file_order = "path"
    return config


@contextmanager
def described(path: Path) -> Iterator[None]:
    """Raise `ModelFileError` if the metadata of a model file cannot be read."""
    try:
        yield
    except ModelFileError:
        raise
    except (KeyError, ValueError, RecursionError, TypeError) as error:
        reason = f"missing {error}" if isinstance(error, KeyError) else first_line(error)
        raise ModelFileError(f"{path}: its description of the model is damaged ({reason})") from None


def is_in_8_bits(metadata: Mapping[str, str]) -> bool:
    """Return whether a model file stores its matrices in 8 bits; its format has been checked."""
    return int(metadata["format_version"]) > PLAIN_VERSION


def _check_format(path: Path, metadata: Mapping[str, str]) -> None:
    if metadata.get("format") != FORMAT:
        raise ModelFileError(
            f"{path}: a safetensors file, but not one of char-rnn (no configuration and vocabulary in it)"
        )
    version = metadata.get("format_version", "")
    if not version.isdecimal():
        raise ModelFileError(f"{path}: its format version {version!r} is not a number")
    if int(version) > FORMAT_VERSION:
        raise ModelFileError(
            f"{path}: written by a later char-rnn (format {version}, this one reads {FORMAT_VERSION}); update char-rnn"
        )


def _check_cell(path: Path, settings: Any) -> None:
    model = settings.get("model") if isinstance(settings, dict) else None
    name = model.get("type") if isinstance(model, dict) else None
    if isinstance(name, str) and name not in CELLS:
        raise ModelFileError(
            f"{path}: unknown cell {one_line(repr(name))} (known: {', '.join(BUILT_IN)}); if it is a cell of your own,"
            " import the module that defines it before reading the file"
        )
