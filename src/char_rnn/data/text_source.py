"""The files that a text is made of: in what order, which of them are left out and why."""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from char_rnn.data.errors import DataError
from char_rnn.data.symbols import VocabularyKind
from char_rnn.data.text_files import TextFile, is_compressed, not_text, opened, refusal, text_files
from char_rnn.utils.terminal import visible_name

NAMED = 5  # files that are left out and named


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
        candidates: The files, in order.
        found: Those of them that nobody named, found in a folder; left out where they are not text.
        ignored: Files that are not looked at, and why.
        encoding: Of the text.
        as_in_1_0: Whether a folder is read as in version 1.0: a file counts for each of its names, and only .gz files
            are decompressed.
    """

    name: str
    label: str
    candidates: tuple[Path, ...]
    found: frozenset[Path] = frozenset()
    ignored: Mapping[str, str] = field(default_factory=dict)
    encoding: str = "utf-8"
    as_in_1_0: bool = False

    def fingerprint(self) -> Fingerprint:
        """Look at the candidates' state.

        Raises:
            DataError: If one is gone.
        """
        digest, newest, size = hashlib.sha256(), 0, 0
        for path in self.candidates:
            state = _state(path)
            facts = (str(path), state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino, state.st_dev)
            digest.update(repr(facts).encode("utf-8", "surrogateescape"))
            newest = max(newest, state.st_mtime_ns, state.st_ctime_ns)
            size += state.st_size
        return Fingerprint(digest.hexdigest(), newest, size)

    def files(self, kind: VocabularyKind = "characters") -> tuple[list[TextFile], dict[str, str]]:
        """Find the files of the text, in order; one file behind several names counts once.

        Args:
            kind: With `"bytes"` a file that was named may be a document or an archive; it is read as it is.

        Returns:
            The files, and the names of those that are left out, each with the reason.

        Raises:
            DataError: If there are none, one cannot be read, or one that was named is not text.
        """
        left_out = dict(self.ignored)
        files = [file for path in self._different(left_out) for file in self._texts(path, kind, left_out)]
        if not files:
            found = f": {in_words(left_out, self.label)}" if left_out else ""
            raise DataError(f"{self.label}: no text files in it{found}; give a text file, or a folder that holds some")
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
        if self.as_in_1_0 and path in self.found and path.suffix != ".gz" and is_compressed(path):
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
    """Return some texts as one, the files of each after those of the one before."""
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
    """Return the names of files that are left out by the reason, the first of each; those in a folder without it."""
    names: dict[str, list[str]] = {}
    for name, reason in left_out.items():
        names.setdefault(reason, []).append(name.removeprefix(folder + os.sep))
    words = "; ".join(f"{_first_of(same)} ({reason})" for reason, same in names.items())
    return visible_name(words)  # names, those in archives too, can hold control characters


def _first_of(names: Sequence[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more:,} more" if more > 0 else "")


def _state(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
