"""A corpus: a text as indices in a memory map, prepared once and found again by its content."""

import hashlib
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np

from char_rnn.data import datasets
from char_rnn.data.cache import Cache
from char_rnn.data.errors import DataError
from char_rnn.data.mapped import open_ids
from char_rnn.data.preparation import Preparation
from char_rnn.data.sources import FileOrder, Sources, as_list, find_source, is_stream, spooled
from char_rnn.data.splits import SPLITS, Split, split_bounds
from char_rnn.data.symbols import VocabularyKind
from char_rnn.data.text_source import joined
from char_rnn.data.vocabulary import Indices, Vocabulary

__all__ = ["Corpus", "DataError", "Split", "prepare_corpus"]


@dataclass(frozen=True, eq=False)
class Corpus:
    """A text, encoded.

    Pickles without the text where it is mapped from a file: the copy maps the same file.

    Attributes:
        name: The data set's name, the file's without its ending, or the folder's; of several texts
            the first one's and the number of the others.
        ids: Indices of all characters, shape (N,), mapped from the cache.
        vocabulary: What they stand for.
        sha256: Hash of the text's bytes, in hexadecimal; of files one after the other, with their separators.
    """

    name: str
    ids: Indices
    vocabulary: Vocabulary
    sha256: str

    @classmethod
    def from_text(
        cls, text: str | bytes, *, name: str = "text", vocabulary: VocabularyKind | Vocabulary = "characters"
    ) -> "Corpus":
        """Make a corpus of a (small) text in memory.

        Raises:
            ValueError: If the text is empty, or not in the vocabulary.
        """
        known = vocabulary if isinstance(vocabulary, Vocabulary) else Vocabulary.from_text(text, vocabulary)
        data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")
        return cls(name, known.encode(text), known, hashlib.sha256(data).hexdigest())

    def __len__(self) -> int:
        return len(self.ids)

    def split(self, name: str, train_frac: float = 0.95, val_frac: float = 0.05) -> Split:
        """Give a part of the corpus.

        Args:
            name: `train`, `val`, `test`, or `all` for the whole.
            train_frac: Fraction of the characters to train on.
            val_frac: Fraction to validate on; the rest is the test split, which may be empty.

        Raises:
            DataError: If the name is another, or the fractions are impossible.
        """
        bounds = split_bounds(len(self.ids), train_frac, val_frac)
        if name not in bounds:
            raise DataError(f"split {name!r}: must be one of {', '.join(bounds)}")
        start, end = bounds[name]
        return Split(name, self.ids[start:end].view(np.ndarray), int(self.ids[start - 1]) if start else None)

    def splits(self, train_frac: float = 0.95, val_frac: float = 0.05) -> dict[str, Split]:
        """Give `train`, `val` and `test`, one after the other, some maybe empty.

        Raises:
            DataError: If the fractions are impossible.
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
    encoding: str = "utf-8",
    separator: str = "",
    file_order: FileOrder = "natural",
    cache_dir: str | Path | None = None,
    progress: datasets.Progress | None = None,
) -> Corpus:
    r"""Find a text, encode it if that has not been done before, and map it.

    The text is read twice, in pieces: for its symbols and its hash, and to encode it. Memory does not grow with it.
    Nothing in it is changed: `\r\n`, NUL and combining marks stay, and so does a byte-order mark (U+FEFF) unless the
    encoding takes it away (`utf-8-sig`, `utf-16`).

    Args:
        source: A data set's name, a file, a folder (its `input.txt`, or every text file under it, without hidden and
            binary ones), or `-` for standard input; or several of these, read one after the other. Files compressed by
            gzip, bzip2 or xz are decompressed; a zip archive stands for its text files in natural order. One file
            behind several names counts once.
        vocabulary: `"characters"` or `"bytes"`, made of the text's own symbols; or one to encode with.
        encoding: Of the text; bytes are not decoded.
        separator: Text put between two files.
        file_order: Order of a folder's files: `"natural"` (2 before 10), or `"path"`, as version 1.0 read them: by
            their paths, and one file behind several names several times.
        cache_dir: Folder of prepared texts; by default `cache` in `datasets.data_root()`.
        progress: Told of the stages "downloading", "reading" and "encoding", with bytes done and in all.

    Raises:
        DataError: If there is no such text, it cannot be read or decoded, is empty, or changes meanwhile.
        UnknownCharacterError: If the given vocabulary lacks a symbol of it.
        ValueError: If the kind of vocabulary or the order of files is unknown, or the separator is not a text.
    """
    if file_order not in get_args(FileOrder):
        raise ValueError(f"file_order {file_order!r}: must be one of {', '.join(get_args(FileOrder))}")
    cache = Cache(Path(cache_dir) if cache_dir is not None else datasets.data_root() / "cache")
    preparation = Preparation(cache, vocabulary, encoding, progress, separator)
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
