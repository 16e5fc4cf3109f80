"""How much of a text is new, and how much of it occurs, word for word, in the text a model was trained on.

A passage is a part of the checked text that occurs in the corpus and cannot be extended at either end. Common phrases
make short passages in any text; a held-out part of the corpus, checked in the same way, shows what is usual.

Dimensions: T text, N corpus.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from char_rnn.data.mapped import PageReleaser
from char_rnn.data.vocabulary import Vocabulary
from char_rnn.generation.text_generator import TextGenerator
from char_rnn.generation.unknown_characters import spelled
from char_rnn.model_file import ModelFile
from char_rnn.novelty.verbatim import MAX_CELLS, Integers, VerbatimIndex
from char_rnn.sampling.options import Strategy

Ids = npt.NDArray[np.integer[Any]]
Progress = Callable[[int, int], None]
"""Receives the number of symbols read, and the total number."""

PIECE = 1 << 21  # symbols of the corpus read at once
NGRAMS = (4, 5, 6, 8, 10, 12, 16, 20)
COPIED = (20, 50, 100)
QUANTILES = (0.5, 0.9, 0.99)
PASS_CELLS = MAX_CELLS // 4
MANY = 1000


@dataclass(frozen=True)
class Passage:
    """A part of a checked text that occurs in the corpus: the number of the text, the start in it, and the length."""

    text: int
    start: int
    length: int


@dataclass(frozen=True)
class Novelty:
    """The figures of some texts.

    Attributes:
        symbols: Number of symbols checked.
        longest: Length of the longest passage.
        quantiles: Quantiles, over the symbols, of the length of the longest passage around a symbol; by `QUANTILES`.
        copied: Fraction of the symbols in a passage of at least this length; by `COPIED`.
        novel: Fraction of the n-grams that do not occur in the corpus, by n; ``None`` if no text has n symbols.
    """

    symbols: int
    longest: int
    quantiles: dict[float, int]
    copied: dict[int, float]
    novel: dict[int, float | None]


@dataclass(frozen=True)
class Found:
    """Where a passage occurs in the corpus: the first place, and the number of places, at most `MANY`."""

    first: int
    count: int


@dataclass(frozen=True)
class Comparison:
    """Some texts beside held-out ones.

    Attributes:
        judged: Figures of the texts.
        usual: Figures of the held-out ones; ``None`` if there are none.
        copied: The longest different passages of the texts, the longest first, and where each occurs.
    """

    judged: Novelty
    usual: Novelty | None
    copied: list[tuple[Passage, Found]]


def compare(
    texts: Sequence[Integers], corpus: Ids, others: Ids, size: int, count: int = 10, report: Progress | None = None
) -> Comparison:
    """Compute the figures of texts, and of equally long pieces of held-out text.

    Args:
        texts: Symbols (T,) of each; symbols unknown to the corpus are ``size`` or more.
        corpus: The training text, symbols (N,) from 0 to ``size`` - 1.
        others: The held-out text; may be empty.
        size: Number of different symbols.
        count: Number of passages to find in the corpus.
        report: Receives the progress.

    Raises:
        ValueError: A text is too long.
    """
    usual = held_out(others, texts) if len(others) >= len(texts) > 0 else []
    ends = match([*texts, *usual], corpus, size, report)
    own = ends[: len(texts)]
    longest = longest_passages(texts, own, count)
    found = find([texts[each.text][each.start : each.start + each.length] for each in longest], corpus)
    return Comparison(judge(own), judge(ends[len(texts) :]) if usual else None, list(zip(longest, found, strict=True)))


def copied_stretches(
    corpus: Ids, vocabulary: Vocabulary, text: str, at_least: int, report: Progress | None = None
) -> list[tuple[int, int]]:
    """Return the start and end, in characters, of each passage of at least this many characters, in order.

    Args:
        corpus: The training text, symbols (N,) of the vocabulary.
        vocabulary: The corpus's vocabulary.
        text: Text to check.
        at_least: Smallest length of a stretch, in characters.
        report: Receives the progress; it may raise an error to stop.

    Raises:
        ValueError: The text is too long.
    """
    found = passages(match([to_symbols(text, vocabulary)], corpus, vocabulary.size, report))
    stretches = sorted((each.start, each.start + each.length) for each in found if each.length >= at_least)
    if vocabulary.kind == "bytes":
        stretches = _in_characters(text, stretches)
    return [(start, end) for start, end in stretches if end - start >= at_least]


def to_symbols(text: str | bytes, vocabulary: Vocabulary) -> Integers:
    """Symbols (T,) of a text in a corpus's vocabulary; an unknown symbol is its size. Bytes need a byte vocabulary."""
    if vocabulary.kind == "bytes":
        text = (text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text).decode("latin-1")
    assert isinstance(text, str)
    return np.array([vocabulary.char_to_idx.get(character, vocabulary.size) for character in text], np.int64)


def sampled_symbols(
    file: ModelFile, vocabulary: Vocabulary, prime: str, length: int, count: int, strategy: Strategy, seed: int | None
) -> list[Integers]:
    """Samples of a model, in a corpus's vocabulary of the same kind, including bytes that are not UTF-8.

    Each of `count` samples has `length` symbols after the prime. A seed of ``None`` = different samples each time.

    Raises:
        UnknownCharacterError: ``prime`` has a character that the model does not know.
        ValueError: The model's predictions are not numbers.
    """
    generator = TextGenerator.load(file)
    prime = spelled(file.vocabulary, prime).text
    if file.vocabulary.kind == "bytes":  # each byte is written as the character of its number
        generator = TextGenerator(generator.model, Vocabulary("characters", file.vocabulary.symbols))
        prime = prime.encode("utf-8", "surrogateescape").decode("latin-1")
    texts = generator.generate_many(prime, length, **asdict(strategy), num_samples=count, seed=seed)
    written = [text[len(prime) :] for text in texts]
    is_bytes = vocabulary.kind == "bytes"
    return [to_symbols(text.encode("latin-1") if is_bytes else text, vocabulary) for text in written]


def held_out(ids: Ids, texts: Sequence[Integers]) -> list[Integers]:
    """Evenly spread pieces of held-out text (N,), as many and as long as the texts, or shorter if it is too short."""
    room = len(ids) // len(texts)
    return [ids[n * room : n * room + min(len(text), room)].astype(np.int64) for n, text in enumerate(texts)]


def match(texts: Sequence[Integers], corpus: Ids, size: int, report: Progress | None = None) -> list[Integers]:
    """For each text (T,), the length of the longest passage that ends at each place.

    The corpus is read once, or several times for much text. Arguments and errors are those of :func:`compare`.
    """
    groups = list(_groups(texts))
    total, done = len(groups) * len(corpus), 0
    ends: list[Integers] = []
    for group in groups:
        index = VerbatimIndex(group, size)
        for piece in _pieces(corpus):
            index.read(piece)
            done += len(piece)
            if report is not None:
                report(done, total)
        ends += index.lengths()
    return ends


def judge(ends: Sequence[Integers]) -> Novelty:
    """The figures from the result of :func:`match`."""
    covers = np.concatenate([*map(_cover, ends), np.empty(0, np.int64)])
    symbols = len(covers)
    return Novelty(
        symbols,
        int(covers.max(initial=0)),
        {share: int(np.quantile(covers, share, method="lower")) if symbols else 0 for share in QUANTILES},
        {length: float(np.mean(covers >= length)) if symbols else 0.0 for length in COPIED},
        {length: _novel(ends, length) for length in NGRAMS},
    )


def passages(ends: Sequence[Integers]) -> list[Passage]:
    """All passages, the longest first, equals in their order."""
    found = [Passage(text, start, length) for text, lengths in enumerate(ends) for start, length in _maximal(lengths)]
    return sorted(found, key=lambda passage: -passage.length)


def longest_passages(texts: Sequence[Integers], ends: Sequence[Integers], count: int) -> list[Passage]:
    """The longest different passages, of equal ones the first."""
    different: dict[bytes, Passage] = {}
    for each in passages(ends):
        if len(different) == count:
            break
        different.setdefault(texts[each.text][each.start : each.start + each.length].tobytes(), each)
    return list(different.values())


def find(stretches: Sequence[Integers], corpus: Ids) -> list[Found]:
    """The places of some passages in the corpus (N,), which has each of them."""
    needles = [stretch.astype(corpus.dtype).tobytes() for stretch in stretches]
    places: list[list[int]] = [[] for _ in needles]
    overlap = max(map(len, stretches), default=1) - 1
    start = 0
    for piece in _pieces(corpus, overlap):
        text = piece.tobytes()
        for needle, found in zip(needles, places, strict=True):
            end = min(len(piece), PIECE) * corpus.itemsize
            occurrences = _occurrences(text, needle, corpus.itemsize, end, MANY - len(found))
            found.extend(start + place for place in occurrences)
        start += PIECE
    return [Found(found[0], len(found)) for found in places]


def _groups(texts: Sequence[Integers]) -> Iterator[list[Integers]]:
    """Groups of texts, each with a small index."""
    group: list[Integers] = []
    length, different = 0, frozenset[int]()
    for text in texts:
        own = frozenset(np.unique(text).tolist())
        if group and (length + len(text)) * len(different | own) > PASS_CELLS:
            yield group
            group, length, different = [], 0, frozenset()
        group.append(text)
        length, different = length + len(text), different | own
    if group:
        yield group


def _pieces(corpus: Ids, overlap: int = 0) -> Iterator[Ids]:
    """Pieces of a corpus, each with `overlap` symbols of the next."""
    releaser = PageReleaser(corpus)
    for start in range(0, len(corpus), PIECE):
        piece = corpus[start : start + PIECE + overlap]
        yield piece
        releaser.touched_in_order(piece.nbytes)


def _occurrences(text: bytes, needle: bytes, size: int, end: int, most: int) -> Iterator[int]:
    """Places, in symbols of `size` bytes, where a needle begins before byte `end`."""
    place = text.find(needle)
    while 0 <= place < end and most > 0:
        if place % size == 0:
            yield place // size
            most -= 1
        place = text.find(needle, place + 1)


def _maximal(lengths: Integers) -> list[tuple[int, int]]:
    """Start and length of the passages of a text (T,) that are not part of a longer one."""
    last = np.append(lengths[1:] != lengths[:-1] + 1, True)[: len(lengths)] & (lengths > 0)
    ends = np.flatnonzero(last)
    return [(int(end - lengths[end] + 1), int(lengths[end])) for end in ends]


def _cover(lengths: Integers) -> Integers:
    """For each place of a text (T,), the length of the longest passage around it."""
    cover = np.zeros(len(lengths), np.int64)
    for start, length in sorted(_maximal(lengths), key=lambda each: each[1]):
        cover[start : start + length] = length
    return cover


def _in_characters(text: str, stretches: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Convert places in bytes to places in characters; a part of a character at either end does not count."""
    sizes = [len(character.encode("utf-8", "surrogateescape")) for character in text]
    places = np.cumsum([0, *sizes])
    starts, ends = (np.array([stretch[part] for stretch in stretches], np.int64) for part in (0, 1))
    first, last = np.searchsorted(places, starts, "left"), np.searchsorted(places, ends, "right") - 1
    return list(zip(first.tolist(), last.tolist(), strict=True))


def _novel(ends: Sequence[Integers], length: int) -> float | None:
    last = np.concatenate([*(lengths[length - 1 :] for lengths in ends), np.empty(0, np.int64)])
    return float(np.mean(last < length)) if len(last) else None
