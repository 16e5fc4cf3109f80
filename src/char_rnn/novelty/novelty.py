"""How much of a text is new, and how much of it stands, word for word, in the text a model was trained on.

A run is a stretch of the judged text that stands in the corpus and can be made longer at neither end. Common phrases
make short runs in any text; what is usual is told by a part of the corpus that was held out, judged in the same way.

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
from char_rnn.generation.spelling import spelled
from char_rnn.generation.text_generator import TextGenerator
from char_rnn.model_file import ModelFile
from char_rnn.novelty.verbatim import MAX_CELLS, Integers, VerbatimIndex
from char_rnn.sampling.options import Strategy

Ids = npt.NDArray[np.integer[Any]]
Report = Callable[[int, int], None]

PIECE = 1 << 21  # symbols of the corpus read at once
NGRAMS = (4, 5, 6, 8, 10, 12, 16, 20)
COPIED = (20, 50, 100)
QUANTILES = (0.5, 0.9, 0.99)
PASS_CELLS = MAX_CELLS // 4
MANY = 1000


@dataclass(frozen=True)
class Run:
    """A stretch of a judged text that stands in the corpus.

    Attributes:
        text: Which of the texts, from 0.
        start: Its place in that text.
        length: Symbols.
    """

    text: int
    start: int
    length: int


@dataclass(frozen=True)
class Novelty:
    """What there is to say of some texts.

    Attributes:
        symbols: How many were judged.
        longest: Length of the longest run.
        quantiles: Of the length of the longest run that a symbol is part of, over the symbols, by `QUANTILES`.
        copied: Share of the symbols that are part of a run of so many or more, by `COPIED`.
        novel: Share of the n-grams, in all their places, that do not stand in the corpus, by n; ``None`` if the texts
            have none so long.
    """

    symbols: int
    longest: int
    quantiles: dict[float, int]
    copied: dict[int, float]
    novel: dict[int, float | None]


@dataclass(frozen=True)
class Found:
    """Where a run stands.

    Attributes:
        first: The first place in the corpus.
        count: In how many places, at most `MANY`.
    """

    first: int
    count: int


@dataclass(frozen=True)
class Comparison:
    """Some texts beside held-out ones.

    Attributes:
        judged: Of the texts.
        usual: Of the held-out ones; ``None`` if there are none.
        copied: The longest different runs of the texts, from the longest on, and where each stands.
    """

    judged: Novelty
    usual: Novelty | None
    copied: list[tuple[Run, Found]]


def compare(
    texts: Sequence[Integers], corpus: Ids, others: Ids, size: int, count: int = 10, report: Report | None = None
) -> Comparison:
    """Judge texts, and equally long pieces of text that was held out.

    Args:
        texts: Symbols (T,) of each; those that are not the corpus's are ``size`` or more.
        corpus: What a model was trained on, symbols (N,) from 0 to ``size`` - 1.
        others: What it was not; may be empty.
        size: How many symbols there are.
        count: How many runs to find in the corpus.
        report: Told of the symbols that were read, and of all that will be.

    Raises:
        ValueError: A text is too long.
    """
    usual = held_out(others, texts) if len(others) else []
    ends = match([*texts, *usual], corpus, size, report)
    own = ends[: len(texts)]
    longest = longest_runs(texts, own, count)
    found = find([texts[run.text][run.start : run.start + run.length] for run in longest], corpus)
    return Comparison(judge(own), judge(ends[len(texts) :]) if usual else None, list(zip(longest, found, strict=True)))


def to_symbols(text: str | bytes, vocabulary: Vocabulary) -> Integers:
    """Symbols (T,) of any text in a corpus's vocabulary; one that it has not is the vocabulary's size."""
    if vocabulary.kind == "bytes":
        text = (text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text).decode("latin-1")
    elif isinstance(text, bytes):
        raise TypeError("text: must be characters, for a vocabulary of characters")
    return np.array([vocabulary.char_to_idx.get(character, vocabulary.size) for character in text], np.int64)


def sampled_symbols(
    file: ModelFile, vocabulary: Vocabulary, prime: str, length: int, count: int, strategy: Strategy, seed: int | None
) -> list[Integers]:
    """What a model writes, in a corpus's vocabulary of the same kind; bytes are kept that are no text.

    Args:
        file: The model.
        vocabulary: The corpus's.
        prime: What each sample goes on from; it is no part of it.
        length: Symbols of each.
        count: How many samples.
        strategy: How they are drawn.
        seed: Of the drawing; ``None`` = others each time.

    Raises:
        UnknownCharacterError: ``prime`` has a character that the model has never seen.
        ValueError: The model gives no usable numbers.
    """
    generator = TextGenerator.load(file)
    prime = spelled(file.vocabulary, prime).text
    if file.vocabulary.kind == "bytes":  # each is written as the character of its number
        generator = TextGenerator(generator.model, Vocabulary("characters", file.vocabulary.symbols))
        prime = prime.encode("utf-8", "surrogateescape").decode("latin-1")
    texts = generator.generate_many(prime, length, **asdict(strategy), num_samples=count, seed=seed)
    written = [text[len(prime) :] for text in texts]
    is_bytes = vocabulary.kind == "bytes"
    return [to_symbols(text.encode("latin-1") if is_bytes else text, vocabulary) for text in written]


def held_out(ids: Ids, texts: Sequence[Integers]) -> list[Integers]:
    """Pieces of held-out text (N,), as many and as long as the texts, spread evenly; shorter if there is too little."""
    count = max(1, len(texts))
    room = len(ids) // count
    starts = range(0, room * count, max(1, room))
    pairs = zip(starts, texts, strict=False)  # a single start where there are no texts
    return [ids[start : start + min(len(text), room)].astype(np.int64) for start, text in pairs]


def match(texts: Sequence[Integers], corpus: Ids, size: int, report: Report | None = None) -> list[Integers]:
    """How long a run ends at each place of each text (T,); the corpus is read once, or more often for much text.

    Args:
        texts: Symbols; those that are not the corpus's are ``size`` or more.
        corpus: Symbols (N,), from 0 to ``size`` - 1.
        size: How many symbols the corpus may have.
        report: Told of the symbols that were read, and of all that will be.

    Raises:
        ValueError: A text is too long.
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
    """Sum up what :func:`match` found."""
    covers = np.concatenate([*map(_cover, ends), np.empty(0, np.int64)])
    symbols = len(covers)
    return Novelty(
        symbols,
        int(covers.max(initial=0)),
        {share: int(np.quantile(covers, share, method="lower")) if symbols else 0 for share in QUANTILES},
        {length: float(np.mean(covers >= length)) if symbols else 0.0 for length in COPIED},
        {length: _novel(ends, length) for length in NGRAMS},
    )


def runs(ends: Sequence[Integers]) -> list[Run]:
    """All runs, from the longest to the shortest, equals in their order."""
    found = [Run(text, start, length) for text, lengths in enumerate(ends) for start, length in _maximal(lengths)]
    return sorted(found, key=lambda run: -run.length)


def longest_runs(texts: Sequence[Integers], ends: Sequence[Integers], count: int) -> list[Run]:
    """The longest runs, of equal ones the first."""
    different: dict[bytes, Run] = {}
    for run in runs(ends):
        if len(different) == count:
            break
        different.setdefault(texts[run.text][run.start : run.start + run.length].tobytes(), run)
    return list(different.values())


def find(stretches: Sequence[Integers], corpus: Ids) -> list[Found]:
    """Where each of some stretches that stand in the corpus (N,) stands there."""
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
    """Put texts together as long as their index stays small."""
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
    """Cut a corpus into pieces that go on for `overlap` symbols into the next."""
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
    """Start and length of the runs of a text (T,) that are part of no longer one."""
    last = np.append(lengths[1:] != lengths[:-1] + 1, True)[: len(lengths)] & (lengths > 0)
    ends = np.flatnonzero(last)
    return [(int(end - lengths[end] + 1), int(lengths[end])) for end in ends]


def _cover(lengths: Integers) -> Integers:
    """For each place of a text (T,) the length of the longest run that it is part of."""
    cover = np.zeros(len(lengths), np.int64)
    for start, length in sorted(_maximal(lengths), key=lambda run: run[1]):
        cover[start : start + length] = length
    return cover


def _novel(ends: Sequence[Integers], length: int) -> float | None:
    last = np.concatenate([*(lengths[length - 1 :] for lengths in ends), np.empty(0, np.int64)])
    return float(np.mean(last < length)) if len(last) else None
