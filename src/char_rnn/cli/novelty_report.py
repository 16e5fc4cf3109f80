"""What ``char-rnn novelty`` says, in words and as data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from char_rnn.data.corpus import Corpus
    from char_rnn.data.locations import SourceLocation
    from char_rnn.novelty.novelty import Comparison, Novelty
    from char_rnn.novelty.verbatim import Integers

LONGEST_SHOWN = 300


@dataclass(frozen=True)
class Report:
    """What was found.

    Attributes:
        model: As the person called it.
        corpus: The text that was looked in.
        split: Which part of it.
        searched: The characters of that.
        texts: What was judged.
        file: Where that came from; ``None`` for samples.
        result: What was found.
        places: Where each of the runs stands.
    """

    model: str
    corpus: Corpus
    split: str
    searched: int
    texts: Sequence[Integers]
    file: str | None
    result: Comparison
    places: Sequence[SourceLocation]

    def heading(self) -> str:
        """Return a line that says what was compared."""
        unit = self.corpus.vocabulary.unit
        count, length = len(self.texts), _counted(len(self.texts[0]), unit)
        what = f"{count} samples of {length}" if count > 1 else f"a sample of {length}"
        if self.file is not None:
            what = f"{self.file}, {length}"
        part = self.corpus.name if self.split == "all" else f"the {self.split} split of {self.corpus.name}"
        return f"{what} against {part}, {_counted(self.searched, unit)}"

    def lines(self) -> Iterator[str]:
        """Yield the table and the longest runs, line by line."""
        from char_rnn.novelty.novelty import MANY

        yield from _table(self.result, "samples" if self.file is None else "text", self.corpus.vocabulary.unit)
        for run, place in zip(self._runs(), self.places, strict=True):
            length = _counted(run["length"], self.corpus.vocabulary.unit)
            places = _counted(run["count"], "place") + " or more" * (run["count"] == MANY)
            yield ""
            yield f"{length}, {places}, first {place}, offset {run['offset']:,}"
            text = run["text"]
            yield f"    {text[:LONGEST_SHOWN]!r}{' ...' if len(text) > LONGEST_SHOWN else ''}"

    def facts(self) -> dict[str, Any]:
        """Return everything as one object of JSON."""
        unit, usual = self.corpus.vocabulary.unit, self.result.usual
        return {
            "model": self.model,
            "data": self.corpus.name,
            "split": self.split,
            f"{unit}s_searched": self.searched,
            "judged": _figures(self.result.judged, unit),
            "held_out": None if usual is None else _figures(usual, unit),
            "runs": list(self._runs()),
        }

    def _runs(self) -> Iterator[dict[str, Any]]:
        for (run, found), place in zip(self.result.copied, self.places, strict=True):
            stretch = self.texts[run.text][run.start : run.start + run.length]
            yield {
                "length": run.length,
                "text": self.corpus.vocabulary.decode(stretch),
                "sample": run.text,
                "start": run.start,
                "count": found.count,
                "file": None if place.path is None else str(place.path),
                "line": place.line,
                "offset": place.offset,
            }


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"


def _figures(novelty: Novelty, unit: str) -> dict[str, Any]:
    figures = asdict(novelty)
    return {f"{unit}s": figures.pop("symbols"), **figures}


def _table(result: Comparison, label: str, unit: str) -> Iterator[str]:
    columns = [result.judged] if result.usual is None else [result.judged, result.usual]

    def row(name: str, values: Sequence[str]) -> str:
        return f"{name:<32}" + "".join(f"{value:>12}" for value in values)

    yield row("", [label, "held out"][: len(columns)])
    yield row(f"{unit}s", [f"{column.symbols:,}" for column in columns])
    yield row("longest run", [f"{column.longest:,}" for column in columns])
    for share in result.judged.quantiles:
        values = [f"{column.quantiles[share]:,}" for column in columns]
        yield row(f"{share:.0%} are in runs of at most", values)
    for length in result.judged.copied:
        yield row(f"in runs of {length} or more", [f"{column.copied[length]:.2%}" for column in columns])
    for length in result.judged.novel:
        shares = [column.novel[length] for column in columns]
        yield row(f"new {length}-grams", ["" if share is None else f"{share:.2%}" for share in shares])
