"""``char-rnn eval``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import rich_click as click

from char_rnn.cli.options import debug_option, device_manager, device_option, quiet_option, say

if TYPE_CHECKING:
    from char_rnn.data.corpus import Corpus
    from char_rnn.model_file import ModelFile


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
    character; perplexity is exp(nats). The split is cut by the fractions the model was trained with.

    \b
    Examples:
      char-rnn eval runs/my-book my-book.txt
      char-rnn eval runs/my-book/last.safetensors another-book.txt --split all --json
    """
    from char_rnn.cli.progress import preparation
    from char_rnn.data.corpus import prepare_corpus
    from char_rnn.model_file import ModelFile

    file = ModelFile.read(model)
    with preparation(quiet) as progress:
        corpus = prepare_corpus(
            data,
            vocabulary=file.vocabulary,
            encoding=encoding or file.config.data.encoding,
            cache_dir=file.config.data.cache_dir,
            progress=progress,
        )
    split = split or ("val" if corpus.sha256 == file.training.get("data_sha256") else "all")
    figures = _measure(file, corpus, split, device)
    if as_json:
        click.echo(json.dumps({"model": model, "data": corpus.name, **figures}))
        return
    say(f"{model} on the {split} split of {corpus.name}", quiet=quiet)
    click.echo(
        f"{figures['nats_per_character']:.4f} nats per character, "
        f"{figures['bits_per_character']:.4f} bits per character, "
        f"perplexity {figures['perplexity']:.3f}, {figures['characters']:,} characters"
    )


def _measure(file: ModelFile, corpus: Corpus, split: str, device: str) -> dict[str, Any]:
    from char_rnn.models import build_model
    from char_rnn.training import evaluate

    fractions = file.config.data
    part = corpus.split(split, fractions.train_frac, fractions.val_frac)
    network = build_model(file.config.model, file.vocabulary.size, file.tensors).to(device_manager(device).device)
    result = evaluate(network, part)
    return {
        "split": split,
        "characters": result.characters,
        "nats_per_character": result.loss,
        "bits_per_character": result.bits_per_character,
        "perplexity": result.perplexity,
    }
