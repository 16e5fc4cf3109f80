"""Encoding a text into the cache, in two passes of constant memory."""

import hashlib
import shutil
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from char_rnn.data.cache import FORMAT, Cache, Entry, is_settled, logger
from char_rnn.data.datasets import Progress
from char_rnn.data.errors import DataError
from char_rnn.data.reading import TextReader, check_encoding
from char_rnn.data.symbols import SymbolSet, check_kind
from char_rnn.data.text_files import TextFile
from char_rnn.data.text_source import Source, in_words
from char_rnn.data.vocabulary import Indices, UnknownCharacterError, Vocabulary

WORKING_MEMORY = 4 << 20  # bytes; more than all that is made of a piece of text


class Preparation:
    """How texts are encoded.

    Args:
        cache: Where prepared texts are.
        vocabulary: `"characters"` or `"bytes"`, for the text's own symbols; or the vocabulary to encode with.
        encoding: Of the text; of no account for bytes.
        progress: Told of the stages "reading" and "encoding", with bytes done and in all.
        separator: Text between two files.

    Raises:
        ValueError: If the vocabulary's kind or the encoding is none.
    """

    def __init__(
        self,
        cache: Cache,
        vocabulary: str | Vocabulary,
        encoding: str,
        progress: Progress | None = None,
        separator: str = "",
    ) -> None:
        self.given = vocabulary if isinstance(vocabulary, Vocabulary) else None
        self.kind = check_kind(vocabulary.kind if isinstance(vocabulary, Vocabulary) else vocabulary)
        self.encoding = check_encoding(encoding)
        self._cache = cache
        self._progress = progress
        self._separator = separator

    def prepared(self, source: Source) -> tuple[Entry, str]:
        """Give a text, encoded, and the SHA-256 of its bytes; from the cache if it is there.

        Raises:
            DataError: If the text cannot be read or decoded, is empty, or changes meanwhile.
            UnknownCharacterError: If the given vocabulary lacks a symbol of it.
        """
        started_ns = time.time_ns()
        fingerprint = source.fingerprint()
        memo = self._description(source)
        sha256 = self._cache.recall(memo, fingerprint.digest)
        entry = self._load(sha256) if sha256 else None
        if sha256 is None or entry is None:
            entry, sha256 = self._prepare(source, fingerprint.size)
            if is_settled(fingerprint.newest_ns, started_ns):
                self._cache.remember(memo, fingerprint.digest, sha256)
        return entry, sha256

    def _description(self, source: Source) -> str:
        """Describe everything but the files' content that the text depends on."""
        files = [f"{path.absolute()}{'?' if path in source.found else ''}" for path in source.candidates]
        return "\n".join([self.encoding, repr(self._separator), str(source.as_in_1_0), *files])

    def _prepare(self, source: Source, size: int) -> tuple[Entry, str]:
        _keep_freed_memory()
        files, left_out = source.files(self.kind)
        if left_out:
            logger.warning("%s: left out: %s", source.label, in_words(left_out, source.label))
        reader = self._reader(files, "reading", size)
        symbols = SymbolSet(self.kind)
        length = 0
        for piece in reader:
            length += len(piece)
            if self.given is None:
                symbols.update(piece)
        if length == 0:
            raise DataError(
                f"{source.label}: the text is empty; training needs batch_size x seq_length + 1 characters or more"
            )
        if entry := self._load(reader.sha256):
            return entry, reader.sha256
        vocabulary = self.given or Vocabulary(self.kind, symbols.symbols())
        self._check_space(source.label, length * vocabulary.dtype.itemsize)
        pieces = self._encoded(self._reader(files, "encoding", size), vocabulary, reader.sha256, source.label)
        return self._cache.store(self._key(reader.sha256), vocabulary, pieces), reader.sha256

    def _encoded(self, reader: TextReader, vocabulary: Vocabulary, sha256: str, label: str) -> Iterator[Indices]:
        """Encode the text of the first pass; the hash shows whether it still is that one."""
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
        return TextReader(files, self.kind, self.encoding, self._meter(stage, size), self._separator)

    def _meter(self, stage: str, size: int) -> Callable[[int], None]:
        def report(done: int) -> None:
            if self._progress is not None:
                self._progress(stage, done, size)

        return report

    def _load(self, sha256: str) -> Entry | None:
        entry = self._cache.load(self._key(sha256))
        return entry if entry is not None and self.given in (None, entry.vocabulary) else None

    def _key(self, sha256: str) -> str:
        """Name the encoding of a text: bytes are the same in every encoding, a given vocabulary is part of it."""
        parts = [str(FORMAT), sha256, self.kind, self.encoding if self.kind == "characters" else ""]
        if self.given is not None:
            parts.append(repr(self.given.symbols))
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:40]

    def _check_space(self, label: str, needed: int) -> None:
        free = shutil.disk_usage(self._cache.writable_folder()).free
        if needed > free:
            raise DataError(
                f"{label}: {needed:,} bytes are needed to prepare it and {free:,} are free in {self._cache.folder}; "
                "make room, or set data.cache_dir"
            )


def _keep_freed_memory() -> None:
    """Have glibc keep the memory of one piece for the next; other allocators take no notice.

    It gives freed memory back to the system, page by page, beyond twice the largest block that it has seen mapped and
    freed again (`M_TRIM_THRESHOLD` in mallopt(3)). Fetching it anew for every piece cost ASCII text a third of the
    speed. The block is never touched, so it takes no memory.
    """
    np.empty(WORKING_MEMORY, dtype=np.uint8)
