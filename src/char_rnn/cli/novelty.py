"""``char-rnn novelty``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from char_rnn.cli.models import open_model, reading_of
from char_rnn.cli.novelty_report import Report
from char_rnn.cli.options import debug_option, print_result, quiet_option, say
from char_rnn.cli.primes import escapes_option, unescaped
from char_rnn.cli.strategy_options import strategy_flags, strategy_of
from char_rnn.sampling.options import NUMBERS

if TYPE_CHECKING:
    from char_rnn.data.corpus import Corpus
    from char_rnn.model_file import ModelFile
    from char_rnn.novelty.verbatim import Integers


@click.command(name="novelty")
@click.argument("model")
@click.argument("data", nargs=-1, required=True)
@click.option(
    "--length", type=click.IntRange(min=1), default=2000, show_default=True, help="Characters in each sample."
)
@click.option(
    "--num-samples",
    type=click.IntRange(1, 1_000_000),
    default=10,
    show_default=True,
    help="Number of samples.",
)
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
    show_default=True,
    help="Part of DATA to search: the training split, or all of it (without a comparison).",
)
@click.option(
    "--runs",
    type=click.IntRange(min=0),
    default=10,
    show_default=True,
    help="Number of the longest copied runs to show.",
)
@click.option("--encoding", help="Encoding of the texts (default: that of the training text).")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@quiet_option
@debug_option
def command(model: str, data: tuple[str, ...], as_json: bool, **options: Any) -> None:
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
    from char_rnn.cli.progress import counted, preparation
    from char_rnn.data.corpus import prepare_corpus
    from char_rnn.data.locations import find_locations
    from char_rnn.novelty.novelty import compare

    sampling = {name: options.pop(name) for name in NUMBERS}
    request, file = Request(**options, sampling=sampling), open_model(model)
    reading = reading_of(file, request.encoding)
    with preparation(request.quiet) as progress:
        corpus = prepare_corpus(data, vocabulary=file.vocabulary.kind, progress=progress, **reading)
    if corpus.sha256 != file.training.get("data_sha256"):
        say(f"{corpus.name} is not the text that the model was trained on", quiet=request.quiet)
    searched, others = _parts(file, corpus, request.split)
    texts = (
        _samples(file, corpus, request) if request.text is None else [_text(request.text, corpus, reading["encoding"])]
    )
    with counted(request.quiet) as show:
        report = None if show is None else lambda done, total: show(f"{file.vocabulary.unit}s searched", done, total)
        result = compare(texts, searched, others, corpus.vocabulary.size, request.runs, report)
    places = find_locations(data, corpus, offsets=[found.first for _, found in result.copied], **reading)
    words = Report(model, corpus, request.split, len(searched), texts, request.text, result, places)
    if as_json:
        click.echo(json.dumps(words.facts()))
    else:
        say(words.heading(), quiet=request.quiet, wrap=True)
        print_result("\n".join(words.lines()))


@dataclass(frozen=True)
class Request:
    """The options of the command line; ``None`` where nothing was given."""

    length: int
    num_samples: int
    prime: str | None
    escapes: bool
    sampling: dict[str, Any]
    seed: int | None
    text: str | None
    split: str
    runs: int
    encoding: str | None
    quiet: bool


def _parts(file: ModelFile, corpus: Corpus, split: str) -> tuple[Any, Any]:
    """Return the indices to search, and those to compare with."""
    fractions = file.config.data
    searched = corpus.split(split, fractions.train_frac, fractions.val_frac).ids
    if not len(searched):
        raise click.UsageError("the training split of this text is empty; use --split all")
    return searched, corpus.split("all").ids[len(searched) :]


def _samples(file: ModelFile, corpus: Corpus, request: Request) -> list[Integers]:
    """Return what the model writes, in the corpus's symbols."""
    from char_rnn.generation.spelling import default_prime
    from char_rnn.novelty.novelty import sampled_symbols

    settings = file.config.generation
    if request.prime is None:
        prime, remark = default_prime(file.vocabulary, settings.prime)
        say(remark, quiet=request.quiet or not remark)
    else:
        prime = unescaped(request.prime, "--prime") if request.escapes else request.prime
    return sampled_symbols(
        file,
        corpus.vocabulary,
        prime,
        request.length,
        request.num_samples,
        strategy_of(settings, request.sampling),
        settings.seed if request.seed is None else request.seed,
    )


def _text(path: str, corpus: Corpus, encoding: str) -> Integers:
    """Return a text of a file, in the corpus's symbols."""
    import numpy as np

    from char_rnn.data.reading import TextReader, check_encoding
    from char_rnn.data.text_files import text_files
    from char_rnn.generation.spelling import fitted
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
