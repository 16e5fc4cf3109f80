"""``char-rnn sample``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import rich_click as click

from char_rnn.cli.options import debug_option, device_manager, device_option, quiet_option, say, write_text

if TYPE_CHECKING:
    from char_rnn.model_file import ModelFile


@click.command(name="sample")
@click.argument("model")
@click.option("--length", type=click.IntRange(min=0), help="How many characters to write (bytes, for a byte model).")
@click.option("--prime", metavar="TEXT", help="The text to go on from; it is printed first.")
@click.option(
    "--temperature", type=click.FloatRange(min=0), help="Below 1 safer, above 1 bolder; 0 always the likeliest."
)
@click.option("--top-k", type=click.IntRange(min=1), help="Choose among the K likeliest characters only.")
@click.option(
    "--top-p", type=click.FloatRange(0, 1, min_open=True), help="Choose among the likeliest that sum to P (nucleus)."
)
@click.option("--seed", type=click.IntRange(min=0), help="Write the same text again.")
@click.option("--stop", metavar="TEXT", help="End before this text would appear.")
@click.option(
    "--unknown",
    type=click.Choice(["error", "skip"]),
    default="error",
    show_default=True,
    help="What to do with characters of the prime that the model has never seen.",
)
@device_option("cpu")
@quiet_option
@debug_option
def command(
    model: str,
    length: int | None,
    prime: str | None,
    temperature: float | None,
    top_k: int | None,
    top_p: float | None,
    seed: int | None,
    stop: str | None,
    unknown: Literal["error", "skip"],
    device: str,
    quiet: bool,
) -> None:
    """Write text with a trained model.

    MODEL is a run folder (its best model) or a .safetensors file. What is not given is taken from the configuration the
    model was trained with (`char-rnn inspect MODEL`). The text goes to standard output as it is made.

    \b
    Examples:
      char-rnn sample runs/my-book
      char-rnn sample runs/my-book --prime "Once upon" --length 500 --temperature 0.7 --seed 1
      char-rnn sample names.safetensors --stop "THE END" --quiet
    """
    from char_rnn.generation.sampler import TextGenerator
    from char_rnn.model_file import ModelFile, find_model
    from char_rnn.models import build_model

    if stop == "":
        raise click.BadParameter("must be a text of at least one character", param_hint="--stop")
    path = find_model(model)
    file = ModelFile.read(path)
    settings = file.config.generation
    network = build_model(file.config.model, file.vocabulary.size, file.tensors).eval()
    generator = TextGenerator(network, file.vocabulary, device=device_manager(device).device)
    pieces = generator.stream(
        settings.prime if prime is None else prime,
        settings.length if length is None else length,
        settings.temperature if temperature is None else temperature,
        settings.top_k if top_k is None else top_k,
        settings.top_p if top_p is None else top_p,
        seed=settings.seed if seed is None else seed,
        stop=stop,
        unknown=unknown,
    )
    say(_introduction(str(path), file), quiet=quiet)
    for piece in pieces:
        write_text(piece)
    write_text("\n")


def _introduction(path: str, file: ModelFile) -> str:
    model, training = file.config.model, file.training
    best = "best_val_loss" in training and training["best_step"] == training["step"]
    loss = f", validation loss {training['best_val_loss']:.4f}" if best else ""
    return (
        f"{path}: {model.num_layers}-layer {model.type} of {model.hidden_size}, trained on {training.get('data')}{loss}"
    )
