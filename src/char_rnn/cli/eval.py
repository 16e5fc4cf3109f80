"""``char-rnn eval``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import rich_click as click

from char_rnn.cli.models import open_model
from char_rnn.cli.options import debug_option, describe_evaluation, device_manager, device_option, quiet_option, say

if TYPE_CHECKING:
    from char_rnn.data.corpus import Corpus, Split
    from char_rnn.model_file import ModelFile
    from char_rnn.training import Evaluation


@click.command(name="eval")
@click.argument("model")
@click.argument("data")
@click.option(
    "--split",
    type=click.Choice(["train", "val", "test", "all"]),
    help="Which part of the text; by default val for the text the model was trained on, all for any other.",
)
@click.option("--encoding", help="The text's encoding; the one the model was trained with when not given.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@device_option("cpu")
@quiet_option
@debug_option
def command(
    model: str, data: str, split: str | None, encoding: str | None, as_json: bool, device: str, quiet: bool
) -> None:
    """Measure how well a model predicts a text.

    Every character of the split is predicted once, with the state carried along. The loss is in nats and in bits per
    character (per byte, for a model of bytes); perplexity is exp(nats). The split is cut by the fractions the model was
    trained with.

    \b
    Examples:
      char-rnn eval runs/my-book my-book.txt
      char-rnn eval runs/my-book/last.safetensors another-book.txt --split all --json
    """
    from char_rnn.cli.progress import preparation
    from char_rnn.data.corpus import prepare_corpus
    from char_rnn.models import build_model
    from char_rnn.training import evaluate

    file = open_model(model)
    with preparation(quiet) as progress:
        corpus = prepare_corpus(
            data,
            vocabulary=file.vocabulary,
            encoding=encoding or file.config.data.encoding,
            progress=progress,
        )
    part = _split(file, corpus, split)
    network = build_model(file.config.model, file.vocabulary.size, file.tensors, dtype=file.config.training.precision)
    result = evaluate(network.to(device_manager(device).device), part)
    unit = file.vocabulary.unit
    if as_json:
        click.echo(json.dumps({"model": model, "data": corpus.name, "split": part.name, **_figures(result, unit)}))
        return
    say(f"{model} on the {part.name} split of {corpus.name}", quiet=quiet)
    click.echo(describe_evaluation(result, unit))


def _split(file: ModelFile, corpus: Corpus, name: str | None) -> Split:
    """Return the split asked for; without a name ``val`` of the text the model was trained on, all of any other."""
    fractions = file.config.data
    if name is None:
        val = corpus.split("val", fractions.train_frac, fractions.val_frac)
        own = corpus.sha256 == file.training.get("data_sha256")
        return val if own and len(val) else corpus.split("all")
    return corpus.split(name, fractions.train_frac, fractions.val_frac)


def _figures(result: Evaluation, unit: str) -> dict[str, float]:
    return {
        f"{unit}s": result.characters,
        f"nats_per_{unit}": result.loss,
        f"bits_per_{unit}": result.bits_per_character,
        "perplexity": result.perplexity,
    }
