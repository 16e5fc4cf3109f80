"""``char-rnn novelty``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from char_rnn.cli.inputs import escapes_option, foreign_text, open_model, read_text, reading_of, unescaped
from char_rnn.cli.options import json_option, quiet_option, strategy_flags, strategy_of
from char_rnn.cli.output import print_result, progress_bar, say
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
    from char_rnn.data.locations import find_locations
    from char_rnn.novelty.novelty import compare

    file = open_model(model)
    reading, unit = reading_of(file, encoding), file.vocabulary.unit
    corpus = read_text(data, file, encoding, quiet)
    if remark := foreign_text("the model", file, corpus):
        say(remark, quiet=quiet)
    searched = corpus.split(split, file.config.data.train_frac, file.config.data.val_frac).ids
    if not len(searched):
        raise click.UsageError("the training split of this text is empty; use --split all")
    others = corpus.split("all").ids[len(searched) :]
    texts = _samples(file, corpus, quiet, **sampling) if text is None else [_text(text, corpus, reading["encoding"])]
    with progress_bar(quiet) as show:
        report = partial(show, f"{unit}s searched")
        comparison = compare(texts, searched, others, corpus.vocabulary.size, runs, report)
    locations = find_locations(data, corpus, offsets=[found.first for _, found in comparison.copied], **reading)
    runs_found = list(_runs(texts, corpus, comparison, locations))
    if as_json:
        usual = comparison.usual
        facts = {
            "model": model,
            "data": corpus.name,
            "split": split,
            f"{unit}s_searched": len(searched),
            "judged": _figures(comparison.judged, unit),
            "held_out": None if usual is None else _figures(usual, unit),
            "runs": runs_found,
        }
        click.echo(json.dumps(facts))
        return
    part = corpus.name if split == "all" else f"the training split of {corpus.name}"
    say(f"{_what(texts, text, unit)} against {part}, {counted(len(searched), unit)}", quiet=quiet, wrap=True)
    print_result("\n".join([*_table(comparison, text, unit), *_listing(runs_found, locations, unit)]))


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


def _what(texts: Sequence[Integers], file: str | None, unit: str) -> str:
    """Return a phrase about the texts that were checked: a file, or samples."""
    length = counted(len(texts[0]), unit)
    if file is not None:
        return f"{file}, {length}"
    return f"{len(texts)} samples of {length}" if len(texts) > 1 else f"a sample of {length}"


def _runs(
    texts: Sequence[Integers], corpus: Corpus, comparison: Comparison, locations: Sequence[SourceLocation]
) -> Iterator[dict[str, Any]]:
    """Yield the copied runs as JSON represents them."""
    for (run, found), place in zip(comparison.copied, locations, strict=True):
        yield {
            "length": run.length,
            "text": corpus.vocabulary.decode(texts[run.text][run.start : run.start + run.length]),
            "sample": run.text,
            "start": run.start,
            "count": found.count,
            "file": None if place.path is None else str(place.path),
            "line": place.line,
            "offset": place.offset,
        }


def _listing(runs: Sequence[dict[str, Any]], locations: Sequence[SourceLocation], unit: str) -> Iterator[str]:
    """Yield the copied runs, line by line."""
    from char_rnn.novelty.novelty import MANY

    for run, place in zip(runs, locations, strict=True):
        places, text = counted(run["count"], "place") + " or more" * (run["count"] == MANY), run["text"]
        yield f"\n{counted(run['length'], unit)}, {places}, first {place}, offset {run['offset']:,}"
        yield f"    {text[:_LONGEST_SHOWN]!r}{' ...' if len(text) > _LONGEST_SHOWN else ''}"


def _figures(novelty: Novelty, unit: str) -> dict[str, Any]:
    figures = asdict(novelty)
    return {f"{unit}s": figures.pop("symbols"), **figures}


def _table(result: Comparison, file: str | None, unit: str) -> Iterator[str]:
    columns = [result.judged] if result.usual is None else [result.judged, result.usual]

    def row(name: str, values: Sequence[str]) -> str:
        return f"{name:<32}" + "".join(f"{value:>12}" for value in values)

    yield row("", ["samples" if file is None else "text", "held out"][: len(columns)])
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
