"""Sources of a text: a named data set, a file, a folder of files, or standard input.

Also the files that a text consists of: their order, and which are left out and why.
"""

import difflib
import hashlib
import os
import shutil
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from char_rnn.data import DataError, TextNotFoundError, datasets
from char_rnn.data.cache import FULL_DISK, Cache
from char_rnn.data.reading import PIECE, is_valid, not_text, refusal
from char_rnn.data.text_files import SUFFIXES, TextFile, compression_of, natural_key, opened, text_files
from char_rnn.data.vocabulary import VocabularyKind
from char_rnn.utils.files import TextForPathError, check_is_path
from char_rnn.utils.terminal import visible_name

STANDARD_INPUT = "-"
GIVEN_TEXT = "<text>"
"""In place of a path: a text that a program gave to ``char_rnn.train``; it is not stored."""
CACHES_OF_2015 = ("vocab.t7", "data.t7")
NAMED = 5  # files that a message names

FileOrder = Literal["natural", "path"]
Sources = str | Path | Sequence[str | Path]
"""A text, or several that are read in order: names of data sets, paths, `-`."""


@dataclass(frozen=True)
class Fingerprint:
    """The state of a source's files, without reading them.

    Attributes:
        digest: Hash of their paths, sizes, times and inodes.
        newest_ns: Time of the last change of any, in nanoseconds since 1970.
        size: Their total size in bytes.
    """

    digest: str
    newest_ns: int
    size: int


@dataclass(frozen=True)
class Source:
    """The files of a text.

    Attributes:
        name: Name of the corpus.
        label: Name for messages, as the user gave it.
        candidates: The files, in order.
        found: Those of them that were found in a folder rather than named; left out if they are not text.
        ignored: Names of files that are not read, each with the reason.
        encoding: Encoding of the text.
        as_in_1_0: Whether a folder is read as in version 1.0: a file counts once for each of its names, and only .gz
            files are decompressed.
    """

    name: str
    label: str
    candidates: tuple[Path, ...]
    found: frozenset[Path] = frozenset()
    ignored: Mapping[str, str] = field(default_factory=dict)
    encoding: str = "utf-8"
    as_in_1_0: bool = False

    def fingerprint(self) -> Fingerprint:
        """Return the state of the candidates.

        Raises:
            DataError: A file no longer exists.
        """
        digest, newest, size = hashlib.sha256(), 0, 0
        for path in self.candidates:
            state = _state(path)
            parts = (str(path), state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino, state.st_dev)
            digest.update(repr(parts).encode("utf-8", "surrogateescape"))
            newest = max(newest, state.st_mtime_ns, state.st_ctime_ns)
            size += state.st_size
        return Fingerprint(digest.hexdigest(), newest, size)

    def files(self, kind: VocabularyKind = "characters") -> tuple[list[TextFile], dict[str, str]]:
        """Return the files of the text in order, and the names of those left out, each with the reason.

        A file with several names counts once. With the kind `"bytes"` a named file may be a document or an archive,
        and is read as it is.

        Raises:
            DataError: There are no files, one cannot be read, or a named one is not text.
        """
        left_out = dict(self.ignored)
        files = [file for path in self._different(left_out) for file in self._texts(path, kind, left_out)]
        if not files:
            found = f": {in_words(left_out, self.label)}" if left_out else ""
            raise DataError(f"{self.label}: contains no text files{found}; give a text file, or a folder with some")
        return files, left_out

    def _different(self, left_out: dict[str, str]) -> Iterator[Path]:
        first: dict[tuple[int, int], Path] = {}
        for path in self.candidates:
            state = _state(path)
            known = first.setdefault((state.st_dev, state.st_ino), path)
            if known is path or self.as_in_1_0 or not state.st_ino:  # some file systems have no inode numbers
                yield path
            elif known != path:
                left_out[str(path)] = f"the same file as {known.name}"

    def _texts(self, path: Path, kind: VocabularyKind, left_out: dict[str, str]) -> Iterator[TextFile]:
        if self.as_in_1_0 and path in self.found and path.suffix != ".gz" and compression_of(path):
            left_out[str(path)] = "compressed, not read with data.file_order path"
            return
        files = text_files(path)
        named = path not in self.found and len(files) == 1
        for file, text in opened(files):
            if named:
                if kind == "characters" and (reason := refusal(file, text, self.encoding)):
                    raise DataError(f"{file}: {reason}")
                yield file
            elif reason := not_text(file, text, self.encoding):
                left_out[str(file)] = reason
            else:
                yield file


def joined(sources: Sequence[Source]) -> Source:
    """Return several texts as one."""
    first, more = sources[0], len(sources) - 1
    if not more:
        return first
    named = {path for source in sources for path in source.candidates if path not in source.found}
    return replace(
        first,
        name=f"{first.name}-and-{more}-more",
        label=f"{first.label} and {more} more",
        candidates=tuple(path for source in sources for path in source.candidates),
        found=frozenset(path for source in sources for path in source.found) - named,
        ignored={name: reason for source in sources for name, reason in source.ignored.items()},
        as_in_1_0=all(source.as_in_1_0 for source in sources),
    )


def in_words(left_out: Mapping[str, str], folder: str) -> str:
    """Return the first names of left-out files for each reason; those in the folder without its name."""
    names: dict[str, list[str]] = {}
    for name, reason in left_out.items():
        names.setdefault(reason, []).append(name.removeprefix(folder + os.sep))
    words = []
    for reason, same in names.items():
        more = f" and {len(same) - NAMED:,} more" if len(same) > NAMED else ""
        words.append(f"{', '.join(same[:NAMED])}{more} ({reason})")
    return visible_name("; ".join(words))  # names, those in archives too, can have control characters


def _state(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None


def as_list(sources: Sources) -> list[str | Path]:
    """Return one text or several as a list.

    Raises:
        DataError: There is none, or one is not a name or a path.
    """
    found = [sources] if isinstance(sources, (str, Path)) else [*sources] if isinstance(sources, Iterable) else []
    if not found or not all(isinstance(each, (str, Path)) for each in found):
        raise DataError(f"{repr(sources)[:80]}: must be the path of a text, or a list of paths")
    return found


def is_stream(source: str | Path) -> bool:
    """Return whether a source can be read only once: `-`, or a pipe such as `<(command)`."""
    if source == STANDARD_INPUT:
        return True
    try:
        return stat.S_ISFIFO(Path(source).stat().st_mode)
    except (OSError, ValueError):
        return False


def find_source(
    source: str | Path, encoding: str, progress: datasets.Progress | None = None, file_order: FileOrder = "natural"
) -> Source:
    """Find the files of a text; a named data set is downloaded if needed.

    A data set's name means the data set (`./NAME` the file or folder of that name). A path that does not exist but ends
    in such a name, like `data/tinyshakespeare`, means it too. The arguments are those of `prepare_corpus`.

    Raises:
        DataError: The source does not exist, or has no text.
    """
    if source in datasets.NAMES:
        return _data_set(str(source), encoding, progress)
    if source == GIVEN_TEXT:
        raise DataError(
            "the text of this run was given as char_rnn.train(text=...) and is not stored: give it again in the same"
            " way, or as a file"
        )
    path = Path(source).expanduser()
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        if isinstance(error, FileNotFoundError) and path.name in datasets.NAMES:
            return _data_set(path.name, encoding, progress)
        raise _unreadable(str(source), path, error) from None
    if stat.S_ISDIR(mode):
        return _folder(path, encoding, file_order)
    if not stat.S_ISREG(mode):
        raise DataError(f"{path}: neither a file nor a folder; give a text file, a folder of them, or - for a pipe")
    stem = path.with_suffix("") if path.suffix.lower() in SUFFIXES else path
    name = path.resolve().parent.name if stem.name == "input.txt" else stem.stem
    return Source(name, str(path), (path,), encoding=encoding, as_in_1_0=file_order == "path")


@contextmanager
def spooled(stream: str | Path, cache: Cache, encoding: str) -> Iterator[Source]:
    """Copy a stream to a file, because a text is read twice; the file is removed afterwards.

    Raises:
        DataError: The stream cannot be read.
    """
    name, label = ("stdin", "standard input") if stream == STANDARD_INPUT else (Path(stream).stem, str(stream))
    with cache.temporary_file() as (path, file):
        try:
            with nullcontext(sys.stdin.buffer) if stream == STANDARD_INPUT else Path(stream).open("rb") as text:
                shutil.copyfileobj(text, file, PIECE)
        except OSError as error:
            if error.errno in FULL_DISK:
                raise
            raise DataError(f"{label}: cannot be read ({error.strerror})") from None
    try:
        yield Source(name, label, (path,), encoding=encoding)
    finally:
        path.unlink(missing_ok=True)


def _data_set(name: str, encoding: str, progress: datasets.Progress | None) -> Source:
    if name != datasets.STDLIB:
        return Source(name, name, (datasets.fetch(name, progress),), encoding=encoding)
    files = tuple(path for path in datasets.stdlib_files() if is_valid(path, "utf-8"))
    return Source(name, name, files, encoding=encoding, as_in_1_0=True)  # the text is that of all names


def _folder(folder: Path, encoding: str, file_order: FileOrder) -> Source:
    name, text = folder.resolve().name, folder / "input.txt"
    if text.is_file():
        others = (path for path in _files_in(folder) if path.name not in (text.name, *CACHES_OF_2015))
        ignored = {path.name: "the folder has an input.txt" for path in others}
        return Source(name, str(text), (text,), ignored=ignored, encoding=encoding)
    by_path = file_order == "path"
    paths = {path.relative_to(folder).as_posix(): path for path in _visible_files(folder)}
    files = tuple(paths[place] for place in (sorted(paths) if by_path else sorted(paths, key=natural_key)))
    return Source(name, str(folder), files, frozenset(files), encoding=encoding, as_in_1_0=by_path)


def _visible_files(folder: Path) -> Iterable[Path]:
    def refuse(error: OSError) -> None:
        raise DataError(f"{error.filename}: cannot be read ({error.strerror})")

    for place, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths = (Path(place, name) for name in names if not name.startswith("."))
        yield from (path for path in paths if path.is_file())


def _files_in(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    except OSError:
        return []  # the folder can be entered, but not listed


def _unreadable(source: str, path: Path, error: Exception) -> DataError:
    try:
        check_is_path(source)
    except TextForPathError as text:
        return TextNotFoundError(str(text))
    if not isinstance(error, FileNotFoundError):
        return DataError(f"{path!s}: cannot be read ({getattr(error, 'strerror', None) or error})")
    near = difflib.get_close_matches(path.name, datasets.NAMES, n=1)
    hint = f"did you mean {near[0]}?" if near else f"named data sets: {', '.join(datasets.NAMES)}"
    return TextNotFoundError(f"{path}: no such file or folder; {hint}")
