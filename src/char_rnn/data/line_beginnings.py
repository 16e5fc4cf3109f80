"""Words that often begin the lines of a text: primes to suggest for its model."""

import re
from collections import Counter

from char_rnn.data.corpus import Split
from char_rnn.data.vocabulary import Vocabulary

EXCERPTS, EXCERPT = 8, 1 << 15  # number of excerpts, and symbols of each
MOST = 4
LEAST_LINES, LEAST_SHARE = 10, 0.002
"""A beginning must occur in at least this number and share of the lines, so that it reveals no single line."""
_WORDS, _LONGEST = 4, 40
_IDEOGRAPHS = "\u3040-\u30ff\u3400-\u9fff"  # scripts without spaces: two characters count as a word
_WORD = re.compile(rf"[{_IDEOGRAPHS}]{{1,2}}|[^\s{_IDEOGRAPHS}]+ ?")


def suggested_primes(split: Split, vocabulary: Vocabulary) -> list[str]:
    """Return the frequent line beginnings in a few excerpts of a split, however long it is."""
    step = max(EXCERPT, len(split) // EXCERPTS)
    excerpts = [split.ids[start : start + EXCERPT] for start in range(0, len(split), step)][:EXCERPTS]
    return frequent_line_beginnings("\n".join(map(vocabulary.decode, excerpts)))


def frequent_line_beginnings(text: str) -> list[str]:
    """Return up to `MOST` frequent line beginnings of one to four words, each with a different first word.

    Beginnings are ordered by lines times characters, so that ``KING RICHARD`` comes before a shorter, more frequent
    ``So``. Indented lines do not count.
    """
    lines = text.splitlines()
    lines_by_beginning = Counter(beginning for line in lines for beginning in _beginnings(line))
    least = max(LEAST_LINES, round(LEAST_SHARE * len(lines)))
    frequent = [each for each, number in lines_by_beginning.items() if number >= least and _is_prime(each)]
    frequent.sort(key=lambda beginning: (-lines_by_beginning[beginning] * len(beginning), beginning))
    best: dict[str, str] = {}
    for beginning in frequent:
        best.setdefault(_first_word(beginning), beginning)
    return list(best.values())[:MOST]


def _beginnings(line: str) -> list[str]:
    ends: list[int] = []
    for word in _WORD.finditer(line[: _LONGEST + 1]):
        if word.start() != (ends[-1] if ends else 0) or word.end() > _LONGEST or len(ends) == _WORDS:
            break
        ends.append(word.end())
    return [line[:end] for end in ends]


def _is_prime(beginning: str) -> bool:
    is_whole = beginning.isprintable() and "\ufffd" not in beginning
    return is_whole and any(map(str.isalpha, beginning))


def _first_word(beginning: str) -> str:
    word = _WORD.match(beginning)
    assert word is not None
    return word[0].strip(" :;,.!?").casefold()
