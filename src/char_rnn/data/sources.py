"""Where a text comes from: a named data set, a file, a folder of files, or standard input."""

import difflib
import hashlib
import os
import shutil
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from char_rnn.data import datasets
from char_rnn.data.cache import FULL_DISK, Cache
from char_rnn.data.errors import DataError, TextNotFoundError
from char_rnn.data.reading import COMPRESSED, PIECE, is_text, is_valid

STANDARD_INPUT = "-"


@dataclass(frozen=True)
class Fingerprint:
    """The state of a source's files, without reading them.

    Attributes:
        digest: Hash over their paths, sizes, times and inodes.
        newest_ns: Time of the last change of any, in nanoseconds since 1970.
        size: Bytes in all.
    """

    digest: str
    newest_ns: int
    size: int


@dataclass(frozen=True)
class Source:
    """The files of a text.

    Attributes:
        name: What to call the corpus.
        label: What the person called it, for messages.
        candidates: The files, in order; those that `keep` refuses are no part of the text.
        keep: Looks into a file and says whether it belongs.
    """

    name: str
    label: str
    candidates: tuple[Path, ...]
    keep: Callable[[Path], bool] = lambda _: True

    def fingerprint(self) -> Fingerprint:
        """Look at the candidates' state.

        Raises:
            DataError: If one is gone.
        """
        digest, newest, size = hashlib.sha256(), 0, 0
        for path in self.candidates:
            try:
                state = path.stat()
            except OSError as error:
                raise DataError(f"{path}: cannot be read ({error.strerror})") from None
            facts = (str(path), state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino, state.st_dev)
            digest.update(repr(facts).encode("utf-8", "surrogateescape"))
            newest = max(newest, state.st_mtime_ns, state.st_ctime_ns)
            size += state.st_size
        return Fingerprint(digest.hexdigest(), newest, size)

    def files(self) -> list[Path]:
        """Give the files of the text, in order.

        Raises:
            DataError: If there are none, or one cannot be read.
        """
        kept = [path for path in self.candidates if self.keep(path)]
        if not kept:
            raise DataError(f"{self.label}: no text files in it; give a text file, or a folder that holds some")
        return kept


def is_stream(source: str | Path) -> bool:
    """Say whether the source can be read only once: `-`, or a pipe such as `<(command)`."""
    if source == STANDARD_INPUT:
        return True
    try:
        return stat.S_ISFIFO(Path(source).stat().st_mode)
    except (OSError, ValueError):
        return False


def find_source(source: str | Path, encoding: str, progress: datasets.Progress | None = None) -> Source:
    """Find the files of a text; a named data set is downloaded if need be.

    A string that is a data set's name means the data set (`./NAME` the file or folder of that name). A path that
    does not exist but ends in such a name, like `data/tinyshakespeare`, means it too.

    Args:
        source: Name or path.
        encoding: Of the text: in UTF-16 and UTF-32 NUL bytes are no sign of a binary file.
        progress: Told of a download.

    Raises:
        DataError: If there is no such thing, or it holds no text.
    """
    if source in datasets.NAMES:
        return _named(str(source), progress)
    path = Path(source).expanduser()
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        if isinstance(error, FileNotFoundError) and path.name in datasets.NAMES:
            return _named(path.name, progress)
        raise _unreadable(path, error) from None
    if stat.S_ISDIR(mode):
        return _folder(path, encoding)
    if not stat.S_ISREG(mode):
        raise DataError(f"{path}: neither a file nor a folder; give a text file, a folder of them, or - for a pipe")
    return Source(_file_name(path), str(path), (path,))


@contextmanager
def spooled(stream: str | Path, cache: Cache) -> Iterator[Source]:
    """Copy a stream to a file, as a text is read twice; the file is removed afterwards.

    Raises:
        DataError: If it cannot be read.
    """
    name, label = ("stdin", "standard input") if stream == STANDARD_INPUT else (Path(stream).stem, str(stream))
    with cache.temporary_file() as (path, file):
        try:
            with _opened_stream(stream) as text:
                shutil.copyfileobj(text, file, PIECE)
        except OSError as error:
            if error.errno in FULL_DISK:
                raise
            raise DataError(f"{label}: cannot be read ({error.strerror})") from None
    try:
        yield Source(name, label, (path,))
    finally:
        path.unlink(missing_ok=True)


def _opened_stream(stream: str | Path) -> AbstractContextManager[BinaryIO]:
    return nullcontext(sys.stdin.buffer) if stream == STANDARD_INPUT else Path(stream).open("rb")


def _named(name: str, progress: datasets.Progress | None) -> Source:
    if name == datasets.STDLIB:
        return Source(name, name, tuple(datasets.stdlib_files()), keep=lambda path: is_valid(path, "utf-8"))
    return Source(name, name, (datasets.fetch(name, progress),))


def _folder(folder: Path, encoding: str) -> Source:
    name = folder.resolve().name
    text = folder / "input.txt"
    if text.is_file():
        return Source(name, str(text), (text,))
    files = tuple(sorted(_visible_files(folder), key=lambda path: path.relative_to(folder).as_posix()))
    return Source(name, str(folder), files, keep=lambda path: is_text(path, encoding))


def _visible_files(folder: Path) -> Iterable[Path]:
    def refuse(error: OSError) -> None:
        raise DataError(f"{error.filename}: cannot be read ({error.strerror})")

    for place, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths = (Path(place, name) for name in names if not name.startswith("."))
        yield from (path for path in paths if path.is_file())


def _file_name(path: Path) -> str:
    stem = path.with_suffix("") if path.suffix == COMPRESSED else path
    return path.resolve().parent.name if stem.name == "input.txt" else stem.stem


def _unreadable(path: Path, error: Exception) -> DataError:
    if not isinstance(error, FileNotFoundError):
        return DataError(f"{path!s}: cannot be read ({getattr(error, 'strerror', None) or error})")
    near = difflib.get_close_matches(path.name, datasets.NAMES, n=1)
    hint = f"did you mean {near[0]}?" if near else f"named data sets: {', '.join(datasets.NAMES)}"
    return TextNotFoundError(f"{path}: no such file or folder; {hint}")
