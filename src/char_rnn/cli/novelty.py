"""``char-rnn novelty``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from char_rnn.cli.inputs import escapes_option, open_model, reading_of, unescaped
from char_rnn.cli.options import debug_option, json_option, quiet_option, strategy_flags, strategy_of
from char_rnn.cli.output import preparation, print_result, progress_bar, say
from char_rnn.utils.terminal import counted

if TYPE_CHECKING:
    from char_rnn.data.corpus import Corpus
    from char_rnn.data.locations import SourceLocation
    from char_rnn.model_file import ModelFile
    from char_rnn.novelty.novelty import Comparison, Novelty
    from char_rnn.novelty.verbatim import Integers

_LONGEST_SHOWN = 300  # characters of a copied run


@click.command(name="novelty")
@click.argument("model")
@click.argument("data", nargs=-1, required=True)
@click.option("--length", type=click.IntRange(min=1), default=2000, help="Characters in each sample.")
@click.option("--num-samples", type=click.IntRange(1, 1_000_000), default=10, help="Number of samples.")
@click.option("--prime", metavar="TEXT", help="Text that each sample continues; it is not counted.")
@escapes_option("--prime")
@strategy_flags()
@click.option(
    "--seed", type=click.IntRange(min=0), help="Seed of the random numbers; the same seed gives the same samples."
)
@click.option("--text", metavar="FILE", help="File with a text to check instead of samples.")
@click.option(
    "--split",
    type=click.Choice(["train", "all"]),
    default="train",
    help="Part of DATA to search: the training split, or all of it (without a comparison).",
)
@click.option("--runs", type=click.IntRange(min=0), default=10, help="Number of the longest copied runs to show.")
@click.option("--encoding", help="Encoding of the texts (default: that of the training text).")
@json_option
@quiet_option
@debug_option
def command(
    model: str,
    data: tuple[str, ...],
    text: str | None,
    split: str,
    runs: int,
    encoding: str | None,
    as_json: bool,
    quiet: bool,
    **sampling: Any,
) -> None:
    """Measure how much of a model's text is copied from its training text.

    The command generates samples with MODEL and finds every run of characters in them that occurs in the training split
    of DATA. For comparison it does the same with equally long pieces of the rest of DATA, which the model has not seen.
    The splits are those of the model's training. Options not given come from the model's configuration, as in
    `char-rnn sample`. DATA is the same as for `char-rnn train`; several files are joined as in the model's training.

    \b
    Examples:
      char-rnn novelty runs/my-book my-book.txt
      char-rnn novelty runs/my-book my-book.txt --temperature 0.5 --length 5000 --seed 1
      char-rnn novelty runs/my-book my-book.txt --text chapter.txt --json
      char-rnn novelty runs/my-book my-book.txt --escapes --prime "\\nChapter "
    """
    from char_rnn.data.corpus import prepare_corpus
    from char_rnn.data.locations import find_locations
    from char_rnn.novelty.novelty import compare

    file = open_model(model)
    reading = reading_of(file, encoding)
    with preparation(quiet) as progress:
        corpus = prepare_corpus(data, vocabulary=file.vocabulary.kind, progress=progress, **reading)
    if corpus.sha256 != file.training.get("data_sha256"):
        say(f"{corpus.name} is not the text that the model was trained on", quiet=quiet)
    searched = corpus.split(split, file.config.data.train_frac, file.config.data.val_frac).ids
    if not len(searched):
        raise click.UsageError("the training split of this text is empty; use --split all")
    others = corpus.split("all").ids[len(searched) :]
    texts = _samples(file, corpus, quiet, **sampling) if text is None else [_text(text, corpus, reading["encoding"])]
    with progress_bar(quiet) as show:
        report = show and partial(show, f"{file.vocabulary.unit}s searched")
        comparison = compare(texts, searched, others, corpus.vocabulary.size, runs, report)
    locations = find_locations(data, corpus, offsets=[found.first for _, found in comparison.copied], **reading)
    result = _Report(model, corpus, split, len(searched), texts, text, comparison, locations)
    if as_json:
        click.echo(json.dumps(result.facts()))
    else:
        say(result.heading(), quiet=quiet, wrap=True)
        print_result("\n".join(result.lines()))


def _samples(
    file: ModelFile,
    corpus: Corpus,
    quiet: bool,
    *,
    prime: str | None,
    escapes: bool,
    length: int,
    num_samples: int,
    seed: int | None,
    **strategy: Any,
) -> list[Integers]:
    """Return samples of the model as symbols of the corpus."""
    from char_rnn.generation.unknown_characters import default_prime
    from char_rnn.novelty.novelty import sampled_symbols

    settings = file.config.generation
    if prime is None:
        prime, remark = default_prime(file.vocabulary, settings.prime)
        say(remark, quiet=quiet or not remark)
    elif escapes:
        prime = unescaped(prime, "--prime")
    chosen, seed = strategy_of(settings, strategy), settings.seed if seed is None else seed
    return sampled_symbols(file, corpus.vocabulary, prime, length, num_samples, chosen, seed)


def _text(path: str, corpus: Corpus, encoding: str) -> Integers:
    """Return the text of a file as symbols of the corpus."""
    import numpy as np

    from char_rnn.data.reading import TextReader, check_encoding
    from char_rnn.data.text_files import text_files
    from char_rnn.generation.unknown_characters import fitted
    from char_rnn.novelty.novelty import to_symbols

    if not Path(path).exists():
        raise FileNotFoundError(f"{path}: no such file")
    reader = TextReader(text_files(Path(path)), corpus.vocabulary.kind, check_encoding(encoding), lambda _: None)
    pieces = list(reader)
    if not pieces:
        raise click.UsageError(f"{path}: is empty; give a text to check")
    if corpus.vocabulary.kind == "characters":
        pieces = [fitted(corpus.vocabulary, "".join(map(str, pieces)))]
    return np.concatenate([to_symbols(piece, corpus.vocabulary) for piece in pieces])


@dataclass(frozen=True)
class _Report:
    """The result in words and as data.

    Attributes:
        model: MODEL of the command line.
        corpus: The text that was searched.
        split: The part of it.
        searched: The number of symbols of that part.
        texts: The texts that were checked.
        file: The file of the text; ``None`` for samples.
        result: The comparison.
        locations: The location of each copied run.
    """

    model: str
    corpus: Corpus
    split: str
    searched: int
    texts: Sequence[Integers]
    file: str | None
    result: Comparison
    locations: Sequence[SourceLocation]

    def heading(self) -> str:
        """Return a line about the texts that were compared."""
        unit = self.corpus.vocabulary.unit
        count, length = len(self.texts), counted(len(self.texts[0]), unit)
        what = f"{count} samples of {length}" if count > 1 else f"a sample of {length}"
        if self.file is not None:
            what = f"{self.file}, {length}"
        part = self.corpus.name if self.split == "all" else f"the training split of {self.corpus.name}"
        return f"{what} against {part}, {counted(self.searched, unit)}"

    def lines(self) -> Iterator[str]:
        """Yield the table and the longest runs, line by line."""
        from char_rnn.novelty.novelty import MANY

        yield from _table(self.result, "samples" if self.file is None else "text", self.corpus.vocabulary.unit)
        for run, place in zip(self._runs(), self.locations, strict=True):
            length = counted(run["length"], self.corpus.vocabulary.unit)
            places = counted(run["count"], "place") + " or more" * (run["count"] == MANY)
            yield ""
            yield f"{length}, {places}, first {place}, offset {run['offset']:,}"
            text = run["text"]
            yield f"    {text[:_LONGEST_SHOWN]!r}{' ...' if len(text) > _LONGEST_SHOWN else ''}"

    def facts(self) -> dict[str, Any]:
        """Return everything as one JSON object."""
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
        for (run, found), place in zip(self.result.copied, self.locations, strict=True):
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
        yield row(f"{share:.0%} in runs up to", values)
    for length in result.judged.copied:
        yield row(f"in runs of {length} or more", [f"{column.copied[length]:.2%}" for column in columns])
    for length in result.judged.novel:
        shares = [column.novel[length] for column in columns]
        yield row(f"new {length}-grams", ["" if share is None else f"{share:.2%}" for share in shares])
