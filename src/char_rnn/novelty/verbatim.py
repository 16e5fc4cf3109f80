"""Finds the parts of some short texts that occur in a corpus of any size, which is read once, in bounded memory.

The texts are indexed by a suffix automaton, whose states are the sets of places where a string ends in them. The corpus
streams through it: after each symbol, the state is that of the longest suffix read so far that occurs in the texts.
Many stretches of the corpus are read side by side.

Source: Blumer et al. 1985, "The smallest automaton recognizing the subwords of a text", Theoretical Computer
Science 40.

Dimensions: T text, P stretches side by side, S states, C columns (the symbols of the texts, and one for all others).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Symbols = npt.NDArray[np.integer[Any]]

LANES = 8192
SHORTEST = 64  # symbols of a stretch: a match beyond its end is read twice
MAX_CELLS = 1 << 25  # symbols times different symbols; the table takes at most 16 bytes for each
_LENGTH = (1 << 32) - 1
_SEPARATOR = -1


class VerbatimIndex:
    """Finds, for every place of some texts, the longest part that ends there and occurs in the corpus.

    Args:
        texts: Symbols (T,) of each; no part spans two texts.
        size: The corpus's symbols are 0 to ``size`` - 1; the texts may have others too.

    Raises:
        ValueError: The texts are too long to be indexed together.
    """

    def __init__(self, texts: Sequence[Symbols], size: int) -> None:
        different = np.unique(np.concatenate([*texts, np.empty(0, np.int64)]))
        length = sum(map(len, texts))
        if length * len(different) > MAX_CELLS:
            raise ValueError(f"the text: {length:,} symbols are too many to search for at once; give a part of it")
        self._automaton = _Automaton()
        self._ends = [self._automaton.add(text.tolist()) for text in texts]
        self._width = len(different) + 1
        self._columns = np.full(size, self._width - 1, np.min_scalar_type(self._width))
        known = different < size
        self._columns[different[known]] = np.flatnonzero(known)
        self._table = self._automaton.table({int(symbol): column for column, symbol in enumerate(different)})
        self._best = np.zeros(len(self._automaton.lengths), np.int64)
        self._now = (0, 0)

    def read(self, piece: Symbols) -> None:
        """Read the next piece (T,) of the corpus."""
        columns = self._columns.take(piece)
        while len(columns):
            lanes = max(1, min(LANES, len(columns) // SHORTEST))
            whole = len(columns) // lanes * lanes
            self._read_side_by_side(columns[:whole], lanes)
            columns = columns[whole:]

    def lengths(self) -> list[Integers]:
        """For each text (T,), the length of the longest part read so far that ends at each place."""
        found = self._automaton.spread(self._best)
        return [found[ends] for ends in self._ends]

    def _read_side_by_side(self, columns: npt.NDArray[Any], lanes: int) -> None:
        """Read stretches of equal length, each as if it began the corpus, but the first; then correct that."""
        steps = np.ascontiguousarray(columns.reshape(lanes, -1).T)
        states, lengths = np.zeros(lanes, np.int64), np.zeros(lanes, np.int64)
        states[0], lengths[0] = self._now
        for step in steps:
            states, lengths = self._step(states, lengths, step)
        self._now = int(states[-1]), int(lengths[-1])
        whole = np.append(False, lengths[1:] == len(steps))
        broken = np.flatnonzero(~whole[1:])
        self._go_on(columns, (broken + 1) * len(steps), states[broken], lengths[broken])
        edges = np.flatnonzero(np.diff(whole, append=False))  # the stretches before and at the end of whole ones
        for before, last in edges.reshape(-1, 2).tolist():
            start, end = (before + 1) * len(steps), (last + 1) * len(steps)
            self._walk(columns, start, end, int(states[before]), int(lengths[before]))

    def _go_on(self, columns: npt.NDArray[Any], places: Integers, states: Integers, lengths: Integers) -> None:
        """Read on from the ends of stretches, as long as the match began in them.

        In each following stretch a match has broken off, so that both agree before its end.
        """
        beyond = 0
        while len(going := np.flatnonzero(lengths > beyond)):
            places, states, lengths = places[going], states[going], lengths[going]
            states, lengths = self._step(states, lengths, columns[places])
            places = places + 1
            beyond += 1

    def _walk(self, columns: npt.NDArray[Any], start: int, end: int, state: int, length: int) -> None:
        """Read stretches that matched from end to end, one symbol after the other, and on like :meth:`_go_on`."""
        place = start
        while place < end or (length > place - end and place < len(columns)):
            cell = int(self._table[state * self._width + int(columns[place])])
            state, length = cell >> 32, min(length + 1, cell & _LENGTH)
            if length > self._best[state]:
                self._best[state] = length
            place += 1
        if end == len(columns):
            self._now = state, length

    def _step(self, states: Integers, lengths: Integers, columns: npt.NDArray[Any]) -> tuple[Integers, Integers]:
        cells = self._table.take(states * self._width + columns)
        states = cells >> 32
        lengths = np.minimum(lengths + 1, cells & _LENGTH)
        better = np.flatnonzero(lengths > self._best.take(states))
        if len(better):
            better = better[np.argsort(lengths[better], kind="stable")]  # of equal states, the last one remains
            self._best[states[better]] = lengths[better]
        return states, lengths


class _Automaton:
    """The suffix automaton of some texts.

    Attributes:
        lengths: For each state, the length of its longest string.
        links: For each state, that of the longest suffix of its strings in another state; -1 for the first.
    """

    def __init__(self) -> None:
        self.lengths, self.links = [0], [-1]
        self._next: list[dict[int, int]] = [{}]
        self._last = 0

    def add(self, text: Sequence[int]) -> npt.NDArray[np.intp]:
        """Add a text (T,); return the states (T,) of its prefixes."""
        states = np.array([self._extend(symbol) for symbol in text], np.intp)
        self._extend(_SEPARATOR)
        return states

    def table(self, columns: dict[int, int]) -> Integers:
        """The transitions, (S * C,): the next state, shifted by 32 bits, and the largest length of a match there.

        Where no string of a state continues with a symbol, its longest suffix that does is taken.
        """
        table = np.zeros((len(self.links), len(columns) + 1), np.int64)
        for state in np.argsort(self.lengths, kind="stable").tolist():
            row = table[state]
            if state:
                row[:] = table[self.links[state]]
            longest = self.lengths[state] + 1
            for symbol, following in self._next[state].items():
                if symbol != _SEPARATOR:
                    row[columns[symbol]] = following << 32 | longest
        return table.ravel()

    def spread(self, best: Integers) -> Integers:
        """The longest found suffix of each state's longest string, (S,), from the longest match in each state."""
        found = best.tolist()
        order = np.argsort(self.lengths, kind="stable").tolist()[1:]
        for state in reversed(order):
            if found[state]:
                found[self.links[state]] = self.lengths[self.links[state]]
        for state in order:
            found[state] = found[state] or found[self.links[state]]
        return np.array(found, np.int64)

    def _extend(self, symbol: int) -> int:
        lengths, links, following = self.lengths, self.links, self._next
        new, state = len(lengths), self._last
        lengths.append(lengths[state] + 1)
        links.append(0)
        following.append({})
        while state >= 0 and symbol not in following[state]:
            following[state][symbol] = new
            state = links[state]
        if state >= 0:
            target = following[state][symbol]
            links[new] = target if lengths[target] == lengths[state] + 1 else self._split(state, symbol, target)
        self._last = new
        return new

    def _split(self, state: int, symbol: int, target: int) -> int:
        """Move the strings of `target` that come from `state` or its suffixes to a new state."""
        new = len(self.lengths)
        self.lengths.append(self.lengths[state] + 1)
        self.links.append(self.links[target])
        self._next.append(dict(self._next[target]))
        while state >= 0 and self._next[state].get(symbol) == target:
            self._next[state][symbol] = new
            state = self.links[state]
        self.links[target] = new
        return new
