"""Which file and line a place of a prepared text is in."""

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

PIECE = 4 << 20  # symbols looked at at once


@dataclass(frozen=True)
class SourceLocation:
    """A place in a text.

    Attributes:
        offset: Symbols of the whole text before it.
        path: The file it is in, with the member of a zip archive behind it; ``None`` for a text from a stream.
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
    """Say which file and line some places of a text are in.

    Args:
        source: As `prepare_corpus` was given it.
        corpus: What that made of it.
        encoding: Of the text.
        offsets: The places, in symbols.
        separator: As `prepare_corpus` was given it.
        file_order: As `prepare_corpus` was given it.

    Raises:
        DataError: If a file of the text cannot be read any more.
    """
    encoding = check_encoding(encoding)
    if any(map(is_stream, as_list(source))):
        starts: list[int] = [0]
        paths: Sequence[Path | None] = [None]
    else:
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
    """Where the files of a text begin in it, and which they are; those of more than one are read again."""
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
    """How many line ends stand before each of some places, in order."""
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
