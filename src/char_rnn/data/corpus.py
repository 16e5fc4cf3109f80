"""A corpus: a text as indices in a memory map, prepared once and found again by its content, and its splits."""

import hashlib
import math
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from char_rnn.data import DataError, datasets
from char_rnn.data.cache import FORMAT, Cache, Entry, is_settled, logger
from char_rnn.data.mapped import open_ids
from char_rnn.data.reading import TextReader, check_encoding
from char_rnn.data.sources import FileOrder, Source, Sources, as_list, find_source, in_words, is_stream, joined, spooled
from char_rnn.data.text_files import TextFile
from char_rnn.data.vocabulary import Indices, SymbolSet, UnknownCharacterError, Vocabulary, check_kind
from char_rnn.utils.resources import memory_kept

SPLITS = ("train", "val", "test")
TOLERANCE = 1e-9


@dataclass(frozen=True, eq=False)
class Split:
    """A contiguous part of a corpus.

    Attributes:
        name: `train`, `val`, `test`, or `all` for the whole corpus.
        ids: Indices of the characters, shape (N,); a view, not a copy.
        context: Index of the character before the part, which predicts its first one; None at the start of the corpus.
    """

    name: str
    ids: npt.NDArray[np.unsignedinteger[Any]]
    context: int | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def predicted(self) -> int:
        """Number of characters that can be predicted: all, without the first one if it has no context."""
        return max(0, len(self.ids) - (self.context is None))

    def read(self, places: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the ids at places of the sequence [context,] split, of any shape."""
        if self.context is None:
            return self.ids[places].astype(np.int64)
        values = self.ids[np.maximum(places - 1, 0)].astype(np.int64)
        values[places == 0] = self.context
        return values

    def history(self, ends: npt.NDArray[np.int64], size: int) -> npt.NDArray[np.int64]:
        """Return the `size` symbols before each of B places of that sequence, (B, size): ids + 1, and 0 before it."""
        places = ends[:, None] + np.arange(-size, 0)
        return (self.read(np.maximum(places, 0)) + 1) * (places >= 0)


def split_bounds(length: int, train_frac: float, val_frac: float) -> dict[str, tuple[int, int]]:
    """Return the start and the end of each split of so many characters.

    Raises:
        DataError: A fraction is not between 0 and 1, or their sum is above 1.
    """
    for name, fraction in (("train_frac", train_frac), ("val_frac", val_frac)):
        if not 0 <= fraction <= 1:
            raise DataError(f"{name} {fraction}: must be between 0 and 1")
    if train_frac + val_frac > 1 + TOLERANCE:
        total = f"train_frac {train_frac} and val_frac {val_frac} add up to {train_frac + val_frac:g}"
        raise DataError(f"{total}; lower one, so that the sum is at most 1")
    train_end, val_end = _part(length, train_frac), _part(length, train_frac, val_frac)
    return {"train": (0, train_end), "val": (train_end, val_end), "test": (val_end, length), "all": (0, length)}


def _part(length: int, *fractions: float) -> int:
    """Round down, but not for a float's error: 0.29 of 100 is 29, 0.9 + 0.1 of anything is all of it."""
    fraction = sum(Fraction(str(float(fraction))) for fraction in fractions)
    return length if fraction > 1 - TOLERANCE else math.floor(length * fraction)


@dataclass(frozen=True, eq=False)
class Corpus:
    """An encoded text.

    Pickles without the text if it is mapped from a file: the copy maps the same file.

    Attributes:
        name: Name of the data set, of the file without its suffix, or of the folder; of several texts the name of the
            first and the number of the others.
        ids: Indices of all characters, shape (N,), mapped from the cache.
        vocabulary: Vocabulary of the indices.
        sha256: Hash of the text's bytes, in hexadecimal; of several files in order, with their separators.
    """

    name: str
    ids: Indices
    vocabulary: Vocabulary
    sha256: str

    @classmethod
    def from_text(
        cls,
        text: str | bytes,
        *,
        name: str = "text",
        vocabulary: str | Vocabulary = "characters",
        grow: bool = False,
    ) -> "Corpus":
        """Make a corpus of a (small) text in memory; with `grow`, add the symbols that a given vocabulary lacks.

        Raises:
            ValueError: The text is empty or has symbols that the vocabulary lacks.
        """
        known = vocabulary if isinstance(vocabulary, Vocabulary) else Vocabulary.from_text(text, check_kind(vocabulary))
        known = known.extended(Vocabulary.from_text(text, known.kind).symbols) if grow else known
        data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")
        return cls(name, known.encode(text), known, hashlib.sha256(data).hexdigest())

    def __len__(self) -> int:
        return len(self.ids)

    def split(self, name: str, train_frac: float = 0.95, val_frac: float = 0.05) -> Split:
        """Return a part of the corpus.

        Args:
            name: `train`, `val`, `test` or `all`.
            train_frac: Fraction of the characters to train on.
            val_frac: Fraction to validate on; the rest is the test split, which may be empty.

        Raises:
            DataError: The name is unknown, or the fractions are invalid.
        """
        bounds = split_bounds(len(self.ids), train_frac, val_frac)
        if name not in bounds:
            raise DataError(f"split {name!r}: must be one of {', '.join(bounds)}")
        start, end = bounds[name]
        return Split(name, self.ids[start:end].view(np.ndarray), int(self.ids[start - 1]) if start else None)

    def splits(self, train_frac: float = 0.95, val_frac: float = 0.05) -> dict[str, Split]:
        """Return `train`, `val` and `test`; some may be empty.

        Raises:
            DataError: The fractions are invalid.
        """
        return {name: self.split(name, train_frac, val_frac) for name in SPLITS}

    def __getstate__(self) -> dict[str, Any]:
        state = dict(self.__dict__)
        if isinstance(self.ids, np.memmap):
            state["ids"] = (self.ids.filename, self.ids.dtype, len(self.ids))
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        if isinstance(state["ids"], tuple):
            state = {**state, "ids": open_ids(*state["ids"])}
        self.__dict__.update(state)


def prepare_corpus(
    source: Sources,
    *,
    vocabulary: str | Vocabulary = "characters",
    grow: bool = False,
    encoding: str = "utf-8",
    separator: str = "",
    file_order: FileOrder = "natural",
    cache_dir: str | Path | None = None,
    progress: datasets.Progress | None = None,
) -> Corpus:
    r"""Find a text, encode it if the cache lacks it, and map it.

    The text is read twice, in pieces: for its symbols and its hash, and to encode it. Memory does not grow with it.
    Nothing in it is changed: `\r\n`, NUL and combining marks stay, and so does a byte-order mark (U+FEFF) unless the
    encoding removes it (`utf-8-sig`, `utf-16`).

    Args:
        source: Name of a data set, a file, a folder (its `input.txt`, or every text file in it, without hidden and
            binary ones), or `-` for standard input; or several of these, read in order. Files compressed by gzip,
            bzip2 or xz are decompressed; a zip archive stands for its text files in natural order. A file with several
            names counts once.
        vocabulary: `"characters"` or `"bytes"`, for a vocabulary of the text's symbols; or a vocabulary.
        grow: Whether the symbols of the text that a given vocabulary lacks are added to its end.
        encoding: Encoding of the text; unused for bytes.
        separator: Text between two files.
        file_order: Order of a folder's files: `"natural"` (2 before 10), or `"path"` as in version 1.0: by path, and a
            file with several names several times.
        cache_dir: Folder of prepared texts; by default `cache` in `datasets.data_root()`.
        progress: Called in the stages "downloading", "reading" and "encoding" with the bytes done and in all.

    Raises:
        DataError: The text does not exist, cannot be read or decoded, is empty, or changes meanwhile.
        UnknownCharacterError: The given vocabulary lacks a symbol of the text.
        ValueError: The kind of vocabulary or the file order is unknown, or the separator is not a text.
    """
    if file_order not in get_args(FileOrder):
        raise ValueError(f"file_order {file_order!r}: must be one of {', '.join(get_args(FileOrder))}")
    cache = Cache(Path(cache_dir) if cache_dir is not None else datasets.data_root() / "cache")
    preparation = _Preparation(cache, vocabulary, encoding, progress, separator, grow=grow)
    with ExitStack() as copies:
        found = [
            copies.enter_context(spooled(each, cache, preparation.encoding))
            if is_stream(each)
            else find_source(each, preparation.encoding, progress, file_order)
            for each in as_list(source)
        ]
        text = joined(found)
        entry, sha256 = preparation.prepared(text)
    return Corpus(text.name, entry.ids, entry.vocabulary, sha256)


def prepared_corpus(
    sha256: str, vocabulary: Vocabulary, encoding: str = "utf-8", cache_dir: str | Path | None = None
) -> Corpus | None:
    """Return a text of this hash and vocabulary from the cache, wherever its files are now; None if it is not there."""
    cache = Cache(Path(cache_dir) if cache_dir is not None else datasets.data_root() / "cache")
    for known in (vocabulary.kind, vocabulary):
        entry = _Preparation(cache, known, encoding, None, "").load(sha256)
        if entry is not None and entry.vocabulary == vocabulary:
            return Corpus("text", entry.ids, vocabulary, sha256)
    return None


class _Preparation:
    """Encodes texts into the cache, in two passes of constant memory. Arguments as of `prepare_corpus`."""

    def __init__(
        self,
        cache: Cache,
        vocabulary: str | Vocabulary,
        encoding: str,
        progress: datasets.Progress | None,
        separator: str,
        *,
        grow: bool = False,
    ) -> None:
        self.given = vocabulary if isinstance(vocabulary, Vocabulary) else None
        self.grow = grow and self.given is not None
        self.kind = check_kind(vocabulary.kind if isinstance(vocabulary, Vocabulary) else vocabulary)
        self.encoding = check_encoding(encoding)
        self.cache, self.progress, self.separator = cache, progress, separator

    def prepared(self, source: Source) -> tuple[Entry, str]:
        """Return an encoded text and the SHA-256 of its bytes, from the cache if possible."""
        started_ns = time.time_ns()
        fingerprint, memo = source.fingerprint(), self._description(source)
        sha256 = self.cache.recall(memo, fingerprint.digest)
        entry = self.load(sha256) if sha256 and not self.grow else None  # the first pass finds what it grows by
        if sha256 is None or entry is None:
            with memory_kept():  # else every piece's memory is returned and requested again, a third of the time
                entry, sha256 = self._prepare(source, fingerprint.size)
            if is_settled(fingerprint.newest_ns, started_ns):
                self.cache.remember(memo, fingerprint.digest, sha256)
        return entry, sha256

    def _description(self, source: Source) -> str:
        """Describe everything that the text depends on except the content of the files."""
        files = [f"{path.absolute()}{'?' if path in source.found else ''}" for path in source.candidates]
        return "\n".join([self.encoding, repr(self.separator), str(source.as_in_1_0), *files])

    def _prepare(self, source: Source, size: int) -> tuple[Entry, str]:
        files, left_out = source.files(self.kind)
        if left_out:
            logger.warning("%s: left out: %s", source.label, in_words(left_out, source.label))
        reader = self._reader(files, "reading", size)
        symbols, length = SymbolSet(self.kind), 0
        for piece in reader:
            length += len(piece)
            if self.given is None or self.grow:
                symbols.update(piece)
        if length == 0:
            needs = "; training needs batch_size x seq_length + 1 characters or more" if self.given is None else ""
            raise DataError(f"{source.label}: the text is empty{needs}")
        sha256 = reader.sha256
        if self.given is not None and self.grow:
            self.given = self.given.extended(symbols.symbols())
        if entry := self.load(sha256):
            return entry, sha256
        vocabulary = self.given or Vocabulary(self.kind, symbols.symbols())
        needed, free = length * vocabulary.dtype.itemsize, shutil.disk_usage(self.cache.writable_folder()).free
        if needed > free:
            space = f"{needed:,} bytes are needed to prepare it and {free:,} are free in {self.cache.folder}"
            raise DataError(f"{source.label}: {space}; make room, or set data.cache_dir")
        pieces = self._encoded(self._reader(files, "encoding", size), vocabulary, sha256, source.label)
        return self.cache.store(self._key(sha256), vocabulary, pieces), sha256

    def _encoded(self, reader: TextReader, vocabulary: Vocabulary, sha256: str, label: str) -> Iterator[Indices]:
        """Encode the text, and check by its hash that it is that of the first pass."""
        try:
            for piece in reader:
                yield vocabulary.encode(piece)
        except UnknownCharacterError as error:
            if self.given is not None:
                position = reader.position + error.position
                raise UnknownCharacterError(error.character, position, self.kind, where=str(reader.file)) from None
        if reader.sha256 != sha256:
            raise DataError(f"{label}: changed while it was being read; try again when it is complete")

    def _reader(self, files: Sequence[TextFile], stage: str, size: int) -> TextReader:
        def report(done: int) -> None:
            if self.progress is not None:
                self.progress(stage, done, size)

        return TextReader(files, self.kind, self.encoding, report, self.separator)

    def load(self, sha256: str) -> Entry | None:
        """Return the encoded text of this hash from the cache, if it is there."""
        entry = self.cache.load(self._key(sha256))
        return entry if entry is not None and self.given in (None, entry.vocabulary) else None

    def _key(self, sha256: str) -> str:
        """Return the cache key of a text: bytes are the same in every encoding; a given vocabulary is part of it."""
        parts = [str(FORMAT), sha256, self.kind, self.encoding if self.kind == "characters" else ""]
        if self.given is not None:
            parts.append(repr(self.given.symbols))
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:40]
