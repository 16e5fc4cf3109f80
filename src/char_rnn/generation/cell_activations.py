"""The states of a model's cells after each character of a text, and the text coloured by one of them.

Dimensions: T characters of a text, L layers, H hidden.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from html import escape
from itertools import groupby

import numpy as np
import numpy.typing as npt

from char_rnn.generation.engine import Predictor
from char_rnn.generation.tracking_cells import TrackingCell, best_cells
from char_rnn.generation.unknown_characters import Spelling
from char_rnn.utils.terminal import counted, visible

_Floats = npt.NDArray[np.float32]

LEVELS = 10  # of colour, below 0 and above
MOST = 20_000  # characters in a notebook, which megabytes of HTML make slow
BLUE, ORANGE = (47, 127, 214), (239, 138, 23)
_STRONGEST = 0.65  # opacity: the text stays readable on the white and the black page that shines through


@dataclass(frozen=True, repr=False)
class ColouredText:
    """A text with a colour for each character: blue for numbers below 0, orange above.

    A notebook shows it in colour (its beginning, if it is long), and so does ``print`` on a terminal.

    Attributes:
        text: The text, T characters.
        values: The numbers, (T,).
        title: What they are.
    """

    text: str
    values: npt.NDArray[np.floating]
    title: str = "values"

    def __repr__(self) -> str:
        return f"<ColouredText {self.title}: {len(self.text):,} characters>"

    def __str__(self) -> str:
        """The text with the escape sequences of a terminal."""
        parts = []
        for level, text in self._stretches():
            red, green, blue = (round(40 + (end - 40) * 0.75 * abs(level)) for end in _colour(level))
            parts.append(f"\x1b[48;2;{red};{green};{blue}m\x1b[97m{text}")
        return "".join(parts) + "\x1b[0m"

    def _repr_html_(self) -> str:
        spans = (
            f'<span style="background: rgba({_numbers(level)})">{escape(text)}</span>' if level else escape(text)
            for level, text in self._stretches(MOST)
        )
        ends = {"blue": -self._largest, "orange": self._largest}
        legend = [f"{colour} {end:+.2g}" for colour, end in ends.items() if (self.values * end > 0).any()]
        if len(self.text) > MOST:
            legend.append(f"the first {MOST:,} of {counted(len(self.text), 'character')}")
        return (
            f'<pre style="white-space: pre-wrap; font-family: monospace">{"".join(spans)}</pre>\n'
            f"<small>{escape(self.title)}: {', '.join(legend) or 'all 0'}</small>\n"
        )

    @property
    def _largest(self) -> float:
        return float(np.abs(np.nan_to_num(self.values)).max(initial=0)) or 1.0

    def _stretches(self, most: int | None = None) -> Iterator[tuple[float, str]]:
        """Yield stretches of equal colour, of all or `most` characters: the colour, -1 to 1, and the text."""
        levels = np.rint(np.nan_to_num(self.values[:most]) / self._largest * LEVELS).astype(int)
        for level, pairs in groupby(zip(levels.tolist(), self.text[:most], strict=True), key=lambda pair: pair[0]):
            yield level / LEVELS, visible("".join(character for _, character in pairs))


def _colour(level: float) -> tuple[int, int, int]:
    return BLUE if level < 0 else ORANGE


def _numbers(level: float) -> str:
    return ", ".join(map(str, (*_colour(level), round(_STRONGEST * abs(level), 3))))


@dataclass(frozen=True, repr=False)
class CellActivations:
    """The states of all cells after each character of a text.

    ``activations["h"]`` is the part of the state with this name.

    Attributes:
        text: The text, T characters.
        states: Parts of the cells' state by name, (T, L, H) in float32. The first is the output of the layers: h of an
            LSTM, whose second part is c.
    """

    text: str
    states: Mapping[str, _Floats]

    def __getitem__(self, name: str) -> _Floats:
        return self.states[name]

    def __repr__(self) -> str:
        length, layers, hidden = self.output.shape
        of = counted(length, "character"), counted(layers, "layer"), counted(hidden, "unit")
        return f"<CellActivations {', '.join(self.states)}: {', '.join(of)}>"

    @property
    def output(self) -> _Floats:
        """Output of the layers, (T, L, H)."""
        return next(iter(self.states.values()))

    def tracking(self, count: int = 1) -> list[TrackingCell]:
        """The cells that track features of the text best: lines, indentation, quotes, brackets, words, capitals.

        They are in the order of the features, ``count`` for each, best first.
        """
        return best_cells(self.text, self.output, count)

    def show(self, layer: int, unit: int, state: str | None = None) -> ColouredText:
        """The text coloured by one cell.

        Args:
            layer: Layer, from 0 (the lowest).
            unit: Unit of the layer, from 0.
            state: Part of the state; ``None`` = the output.

        Raises:
            IndexError, KeyError: There is no such cell, or no such part of its state.
        """
        name = next(iter(self.states)) if state is None else state
        return ColouredText(self.text, self.states[name][:, layer, unit], f"{name} of layer {layer}, unit {unit}")

    def show_best(self) -> ColouredText:
        """The text coloured by the cell that tracks a feature best; by the liveliest cell if none can be tracked."""
        found = max(self.tracking(), key=lambda cell: abs(cell.correlation), default=None)
        if found is None:
            spans = self.output.max(0, initial=0) - self.output.min(0, initial=0)
            return self.show(*divmod(int(spans.argmax()), spans.shape[1]))
        shown = self.show(found.layer, found.index)
        return ColouredText(
            self.text, shown.values, f"{shown.title}, tracks {found.tracks} (r = {found.correlation:+.2f})"
        )

    def _repr_html_(self) -> str | None:
        with suppress(Exception):
            return f"{escape(repr(self))}\n{self.show_best()._repr_html_()}"
        return None


def read_activations(model: Predictor, text: str, spelling: Spelling) -> CellActivations:
    """Read a text as it is spelled; the activations of a character are those after its last symbol."""
    streams, symbols = model.begin(), spelling.indices
    states = {name: np.zeros((len(symbols) + 1, *now.shape), np.float32) for name, now in streams.cells().items()}
    for place in range(len(symbols)):
        streams.feed(symbols[place : place + 1])
        for name, now in streams.cells().items():
            states[name][place + 1] = now
    return CellActivations(text, {name: kept[spelling.ends] for name, kept in states.items()})
