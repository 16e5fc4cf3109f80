"""``char-rnn sample``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import rich_click as click

from char_rnn.cli.flags2015 import refuse_opencl
from char_rnn.cli.models import open_model
from char_rnn.cli.options import (
    OneDashCommand,
    debug_option,
    device_manager,
    device_option,
    quiet_option,
    say,
    shown,
    write_text,
)
from char_rnn.cli.sample2015 import check_rng, flags_of_2015, write_as_then

if TYPE_CHECKING:
    from char_rnn.model_file import ModelFile
    from char_rnn.utils.device import DeviceManager


@click.command(name="sample", cls=OneDashCommand)
@click.argument("model")
@click.option(
    "--length", "-length", type=click.IntRange(min=0), help="How many characters to write (bytes, for a byte model)."
)
@click.option("--prime", "-primetext", "prime", metavar="TEXT", help="The text to go on from; it is printed first.")
@click.option(
    "--temperature",
    "-temperature",
    type=click.FloatRange(min=0),
    help="Below 1 safer, above 1 bolder; 0 always the likeliest.",
)
@click.option("--top-k", type=click.IntRange(min=1), help="Choose among the K likeliest characters only.")
@click.option(
    "--top-p", type=click.FloatRange(0, 1, min_open=True), help="Choose among the likeliest that sum to P (nucleus)."
)
@click.option("--seed", "-seed", type=int, help="Write the same text again.")
@click.option("--stop", metavar="TEXT", help="End before this text would appear.")
@click.option(
    "--unknown",
    type=click.Choice(["error", "skip"]),
    default="error",
    show_default=True,
    help="What to do with characters of the prime that the model has never seen.",
)
@flags_of_2015
@device_option("cpu")
@quiet_option
@debug_option
def command(model: str, **options: Any) -> None:
    """Write text with a trained model.

    MODEL is a run folder (its best model), a .safetensors file, or a .t7 checkpoint of 2015. What is not given is taken
    from the configuration the model was trained with (`char-rnn inspect MODEL`); with --torch7 or another --rng it is
    what sample.lua or torch-rnn took. The text goes to standard output as it is made. The flags of sample.lua
    (-primetext, -length, -temperature, -seed, -sample, -gpuid, -verbose) are understood.

    \b
    Examples:
      char-rnn sample runs/my-book
      char-rnn sample runs/my-book --prime "Once upon" --length 500 --temperature 0.7 --seed 1
      char-rnn sample names.safetensors --stop "THE END" --quiet
      char-rnn sample lm_lstm_epoch50.00_1.3656.t7 --torch7 -primetext "ROMEO:" -seed 2015
    """
    request = Request(**options)
    rng = check_rng(request.rng, request.torch7, request.todays)
    refuse_opencl(request.opencl)
    if request.stop == "":
        raise click.BadParameter("must be a text of at least one character", param_hint="--stop")
    file = open_model(model)
    if rng == "numpy":
        _write_as_today(model, file, request)
        return
    say(_introduction(model, file), quiet=request.silent)
    write_as_then(
        file,
        rng,
        prime=request.prime,
        length=request.length,
        temperature=request.temperature,
        seed=request.seed,
        argmax=request.sample == "0",
        header=request.torch7 and request.verbose == "1",
        quiet=request.silent,
    )


@dataclass(frozen=True)
class Request:
    """The options of the command line; ``None`` where nothing was given."""

    length: int | None
    prime: str | None
    temperature: float | None
    top_k: int | None
    top_p: float | None
    seed: int | None
    stop: str | None
    unknown: Literal["error", "skip"]
    rng: str | None
    torch7: bool
    sample: str
    verbose: str
    gpuid: int | None
    opencl: int
    device: str
    quiet: bool

    @property
    def todays(self) -> dict[str, bool]:
        """Which of the options that the older programs had not are given, by name."""
        return {
            "--top-k": self.top_k is not None,
            "--top-p": self.top_p is not None,
            "--stop": self.stop is not None,
            "--unknown skip": self.unknown == "skip",
        }

    @property
    def silent(self) -> bool:
        """Whether nothing of our own is to be said."""
        return self.quiet or self.torch7 or self.verbose == "0"


def _write_as_today(model: str, file: ModelFile, request: Request) -> None:
    from char_rnn.generation.sampler import TextGenerator

    if request.seed is not None and request.seed < 0:
        raise click.BadParameter(f"{request.seed} is not in the range x>=0.", param_hint="'--seed' / '-seed'")
    settings = file.config.generation
    generator = TextGenerator.load(file, device=_device_manager(request).device)
    temperature = settings.temperature if request.temperature is None else request.temperature
    pieces = generator.stream(
        settings.prime if request.prime is None else request.prime,
        settings.length if request.length is None else request.length,
        temperature if request.sample == "1" else 0.0,
        settings.top_k if request.top_k is None else request.top_k,
        settings.top_p if request.top_p is None else request.top_p,
        seed=settings.seed if request.seed is None else request.seed,
        stop=request.stop,
        unknown=request.unknown,
    )
    say(_introduction(model, file), quiet=request.silent)
    for piece in pieces:
        write_text(piece)
    write_text("\n")


def _device_manager(request: Request) -> DeviceManager:
    """Return the manager of ``--device``, or of ``-gpuid``, which falls back on the CPU with a warning as then."""
    from char_rnn.utils.device import DeviceManager

    if request.gpuid is None:
        return device_manager(request.device)
    name = f"cuda:{request.gpuid}" if request.gpuid >= 0 else "cpu"
    return DeviceManager(name, auto_detect=False)


def _introduction(model: str, file: ModelFile) -> str:
    from char_rnn.model_file import find_model

    config, training = file.config.model, file.training
    best = "best_val_loss" in training and training["best_step"] == training["step"]
    loss = f", validation loss {training['best_val_loss']:.4f}" if best else ""
    return (
        f"{find_model(model)}: {config.num_layers}-layer {config.type} of {config.hidden_size},"
        f" trained on {shown(str(training.get('data')))}{loss}"
    )
