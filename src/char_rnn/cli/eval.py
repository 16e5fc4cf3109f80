"""``char-rnn eval``."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

import rich_click as click

from char_rnn.cli.dynamic import describe_dynamics, dynamic_facts, dynamic_options, dynamic_settings, evaluate_shown
from char_rnn.cli.models import open_model, reading_of
from char_rnn.cli.options import (
    debug_option,
    describe_evaluation,
    device_manager,
    device_option,
    print_result,
    quiet_option,
    say,
)

if TYPE_CHECKING:
    from char_rnn.data.corpus import Corpus, Split
    from char_rnn.model_file import ModelFile
    from char_rnn.training import Evaluation


@click.command(name="eval")
@click.argument("model")
@click.argument("data", nargs=-1, required=True)
@click.option(
    "--split",
    type=click.Choice(["train", "val", "test", "all"]),
    help="Split to evaluate (default: val for the text the model was trained on, all for any other).",
)
@click.option("--encoding", help="Encoding of the text (default: that of the training text).")
@dynamic_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@device_option("cpu")
@quiet_option
@debug_option
def command(
    model: str,
    data: tuple[str, ...],
    split: str | None,
    encoding: str | None,
    as_json: bool,
    device: str,
    quiet: bool,
    **dynamic: Any,
) -> None:
    """Measure how well a model predicts a text.

    Every character of the split is predicted once, with the state carried over. The loss is in nats and in bits per
    character (per byte for a byte model); perplexity is exp(nats). The splits are those of the model's training. DATA
    is the same as for `char-rnn train`; several files are joined as in the model's training.

    --dynamic adds a second result: the loss of a model that adapts to the text during the evaluation (dynamic
    evaluation, Krause et al. 2018). It is not comparable with the static loss.

    \b
    Examples:
      char-rnn eval runs/my-book my-book.txt
      char-rnn eval runs/my-book/last.safetensors another-book.txt --split all --json
      char-rnn eval runs/my-books book-1.txt book-2.txt
      char-rnn eval runs/my-book my-book.txt --dynamic
    """
    from char_rnn.cli.progress import counted
    from char_rnn.models import build_model
    from char_rnn.training import evaluate
    from char_rnn.training.tuning import recorded_threads, requested_threads

    settings = dynamic_settings(**dynamic)
    file = open_model(model)
    corpus = _corpus(data, file, encoding, quiet)
    part = _split(file, corpus, split)
    network = build_model(file.config.model, file.vocabulary.size, file.tensors, file.config.training.parameter_type)
    manager = device_manager(device)
    manager.set_threads(requested_threads() or recorded_threads(file))
    network = network.to(manager.device)
    with counted(quiet) as progress:
        result = evaluate(network, part, progress=progress and partial(progress, "predicted"))
    unit = file.vocabulary.unit
    facts = {"model": model, "data": corpus.name, "split": part.name, **_figures(result, unit)}
    if not as_json:
        say(f"{model} on the {part.name} split of {corpus.name}", quiet=quiet)
        print_result(describe_evaluation(result, unit))
    if settings is not None:
        adapted = evaluate_shown(network, part, _train_split(file, corpus), settings, quiet)
        facts["dynamic"] = {**_figures(adapted, unit), **dynamic_facts(adapted)}
        if not as_json:
            say(describe_dynamics(adapted), quiet=quiet)
            print_result(f"dynamic: {describe_evaluation(adapted, unit)}")
    if as_json:
        click.echo(json.dumps(facts))


def _corpus(data: tuple[str, ...], file: ModelFile, encoding: str | None, quiet: bool) -> Corpus:
    """Return a text in the symbols of a model."""
    from char_rnn.cli.progress import preparation
    from char_rnn.data.corpus import prepare_corpus

    with preparation(quiet) as progress:
        return prepare_corpus(data, vocabulary=file.vocabulary, progress=progress, **reading_of(file, encoding))


def _split(file: ModelFile, corpus: Corpus, name: str | None) -> Split:
    """Return the split asked for; without a name ``val`` of the text the model was trained on, all of any other."""
    fractions = file.config.data
    if name is None:
        val = corpus.split("val", fractions.train_frac, fractions.val_frac)
        return val if _is_own(file, corpus) and len(val) else corpus.split("all")
    return corpus.split(name, fractions.train_frac, fractions.val_frac)


def _train_split(file: ModelFile, corpus: Corpus) -> Split | None:
    """Return what the model was trained on, where that is of this text."""
    fractions = file.config.data
    return corpus.split("train", fractions.train_frac, fractions.val_frac) if _is_own(file, corpus) else None


def _is_own(file: ModelFile, corpus: Corpus) -> bool:
    return corpus.sha256 == file.training.get("data_sha256")


def _figures(result: Evaluation, unit: str) -> dict[str, float]:
    return {
        f"{unit}s": result.characters,
        f"nats_per_{unit}": result.loss,
        f"bits_per_{unit}": result.bits_per_character,
        "perplexity": result.perplexity,
    }
