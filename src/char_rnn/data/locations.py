"""The file and line of an offset in a prepared text."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from char_rnn.data.corpus import Corpus
from char_rnn.data.mapped import PageReleaser
from char_rnn.data.reading import TextReader, check_encoding
from char_rnn.data.sources import FileOrder, Sources, as_list, find_source, is_stream, joined
from char_rnn.data.text_files import TextFile

PIECE = 4 << 20  # symbols searched for line ends at once


@dataclass(frozen=True)
class SourceLocation:
    """A location in a text.

    Attributes:
        offset: Symbols of the whole text before it.
        path: Its file, followed by the member of a zip archive; None for a text from a stream.
        line: Its line in that file, from 1.
    """

    offset: int
    path: Path | None
    line: int

    def __str__(self) -> str:
        return f"line {self.line:,}" if self.path is None else f"{self.path}:{self.line}"


def find_locations(
    source: Sources,
    corpus: Corpus,
    encoding: str,
    offsets: Sequence[int],
    separator: str = "",
    file_order: FileOrder = "natural",
) -> list[SourceLocation]:
    """Find the file and line of some offsets, in symbols, of a prepared text.

    The other arguments are those of `prepare_corpus`.

    Raises:
        DataError: A file of the text can no longer be read.
    """
    encoding = check_encoding(encoding)
    starts: list[int] = [0]
    paths: Sequence[Path | None] = [None]
    if not any(map(is_stream, as_list(source))):
        text = joined([find_source(each, encoding, None, file_order) for each in as_list(source)])
        starts, paths = _files(text.files(corpus.vocabulary.kind)[0], corpus, encoding, separator)
    owners = [bisect_right(starts, offset) - 1 for offset in offsets]
    line_ends = _line_ends(corpus, sorted({*starts, *offsets}))
    return [
        SourceLocation(offset, paths[owner], line_ends[offset] - line_ends[starts[owner]] + 1)
        for offset, owner in zip(offsets, owners, strict=True)
    ]


def _files(
    files: list[TextFile], corpus: Corpus, encoding: str, separator: str
) -> tuple[list[int], Sequence[Path | None]]:
    """Return the start of each file in the text, and its path; several files are read again."""
    if len(files) == 1:
        return [0], [files[0].place]
    starts: list[int] = []
    paths: list[Path] = []
    length = 0
    reader = TextReader(files, corpus.vocabulary.kind, encoding, lambda _: None, separator)
    for piece in reader:
        if not paths or paths[-1] != reader.file.place:
            starts.append(length)
            paths.append(reader.file.place)
        length += len(piece)
    return starts, paths


def _line_ends(corpus: Corpus, offsets: Sequence[int]) -> dict[int, int]:
    """Return the number of line ends before each of some increasing offsets."""
    if corpus.vocabulary.line_end is None:
        return dict.fromkeys(offsets, 0)
    line_end = corpus.vocabulary.char_to_idx[corpus.vocabulary.line_end]
    releaser = PageReleaser(corpus.ids)
    counts: dict[int, int] = {}
    count = done = 0
    for offset in offsets:
        for start in range(done, offset, PIECE):
            piece = corpus.ids[start : min(start + PIECE, offset)]
            count += int(np.count_nonzero(piece == line_end))
            releaser.touched_in_order(piece.nbytes)
        counts[offset], done = count, offset
    return counts
