"""``char-rnn sample``."""

from __future__ import annotations

import codecs
import os
import sys
from collections.abc import Iterable
from itertools import chain
from typing import TYPE_CHECKING, Any

import rich_click as click

from char_rnn.cli.inputs import escapes_option, open_model
from char_rnn.cli.options import (
    OneDashCommand,
    device_manager,
    device_option,
    quiet_option,
    refuse_opencl,
    strategy_flags,
)
from char_rnn.cli.output import say, write_bytes, write_pieces
from char_rnn.cli.sample_options import SampleOptions, flags_of_2015
from char_rnn.cli.sample_texts import texts
from char_rnn.sampling.options import OPTIONS
from char_rnn.utils.terminal import visible_name

if TYPE_CHECKING:
    from char_rnn.model_file import ModelFile


@click.command(name="sample", cls=OneDashCommand)
@click.argument("model")
@click.option(
    "--length", "-length", type=click.IntRange(min=0), help="Number of characters to generate (bytes for a byte model)."
)
@click.option("--prime", "-primetext", "prime", metavar="TEXT", help="Text to continue; it is printed first.")
@click.option("--prime-file", metavar="FILE", help="File with the text to continue; - is standard input.")
@click.option("--prime-each-line", is_flag=True, help="Continue each non-empty line of the --prime-file.")
@click.option("--encoding", help="Encoding of the --prime-file (default: that of the training text).")
@escapes_option("--prime, --prime-each-line, --stop, --ban and --only")
@click.option("--hide-prime", is_flag=True, help="Print the new text only, without the prime.")
@click.option(
    "--unknown",
    type=click.Choice(["error", "skip", "nearest"]),
    default="error",
    help="Treatment of prime characters that are not in the vocabulary; nearest replaces É with E, for example.",
)
@click.option("--stop", multiple=True, metavar="TEXT", help="Text to stop before; may be repeated.")
@click.option("--stop-at-newline", is_flag=True, help="Stop before the first line end.")
@click.option("--keep-stop", is_flag=True, help="Stop after the stop text instead of before it.")
@click.option(
    "--num-samples",
    type=click.IntRange(1, 1_000_000),
    help="Number of texts, separated by lines of ---; with --prime-each-line, number for each line.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a line of JSON for each text: sample, prime, text.")
@click.option("--seed", "-seed", type=int, help="Seed of the random numbers; the same seed gives the same text.")
@strategy_flags(OPTIONS, temperature="-temperature")
@click.option(
    "--beam",
    type=click.IntRange(1, 1024),
    metavar="N",
    help="Width of a beam search for likely texts, which replaces sampling.",
)
@click.option(
    "--precision",
    type=click.Choice(["float32", "bfloat16", "int8", "float64"]),
    help="Number type of the weights and the computation (default: that of the training).",
)
@click.option(
    "--logprobs",
    is_flag=True,
    help="Print a line of JSON for each character instead of the text, with its log-probability in nats.",
)
@click.option(
    "--alternatives",
    type=click.IntRange(1, 1000),
    metavar="N",
    help="Number of likeliest characters that --logprobs prints for each position.",
)
@flags_of_2015
@device_option("cpu")
@quiet_option
def command(model: str, **options: Any) -> None:
    """Generate text with a trained model.

    MODEL is a run folder (its best model), a .safetensors file, a .t7 checkpoint of 2015, a model on the Hugging Face
    Hub (hf://USER/NAME, or hf://USER/NAME@REVISION), or demo, a small model of Python code that is part of char-rnn.
    The defaults are those of the model's configuration (see `char-rnn inspect MODEL`); with --torch7 or --rng, those of
    sample.lua or torch-rnn. The text is printed while it is generated. The flags of sample.lua also work (-primetext,
    -length, -temperature, -seed, -sample, -gpuid, -verbose).

    \b
    Examples:
      char-rnn sample demo
      char-rnn sample runs/my-book
      char-rnn sample runs/my-book --prime "Once upon" --length 500 --temperature 0.7 --seed 1
      char-rnn sample names.safetensors --num-samples 20 --stop-at-newline --quiet
      char-rnn sample runs/my-book --prime "It was " --num-samples 5 --json
      char-rnn sample runs/my-book --prime-file chapter1.txt --hide-prime --min-p 0.05 --unknown nearest
      char-rnn sample runs/my-book --prime-file primes.txt --prime-each-line --stop-at-newline --quiet
      char-rnn sample runs/my-book --prime "It was " --length 20 --logprobs --alternatives 3
      char-rnn sample runs/my-book --prime "It was " --length 60 --beam 8
      char-rnn sample runs/my-book --escapes --prime "Chapter 2\\n\\n" --stop "\\n\\n"
      char-rnn sample lm_lstm_epoch50.00_1.3656.t7 --torch7 -primetext "ROMEO:" -seed 2015
    """
    chosen = SampleOptions.of(**options)
    rng = chosen.random_numbers()
    refuse_opencl(chosen.opencl)
    chosen.check()
    file = open_model(model)
    if rng == "numpy":
        _write_as_today(model, file, chosen)
        return
    say(_introduction(model, file), quiet=chosen.silent)
    _write_as_2015(file, rng, chosen)


def _write_as_2015(file: ModelFile, rng: str, chosen: SampleOptions) -> None:
    """Print the text of sample.lua (``rng`` torch7) or torch-rnn, with their defaults, and an end of line.

    torch-rnn takes a new seed each time, which is then printed.
    """
    import secrets

    from char_rnn.torch7.sampling import sample_torch7, sample_torch_rnn

    function = sample_torch7 if rng == "torch7" else sample_torch_rnn
    prime, argmax, seed = os.fsencode(chosen.one_prime(file) or ""), chosen.sample == "0", chosen.seed
    if seed is None:
        seed = 123 if rng == "torch7" else secrets.randbits(32)
        if rng == "torch-rnn" and not argmax:
            say(f"seed {seed}", quiet=chosen.silent)
    length = 2000 if chosen.length is None else chosen.length
    temperature = chosen.sampling.get("temperature", 1.0)
    pieces = function(file, prime=prime, length=length, temperature=temperature, seed=seed, argmax=argmax)
    header = [_header(file.config.model.type, prime)] if chosen.torch7 and chosen.verbose == "1" else []
    _write(chain(header, pieces, [b"\n"]))


def _header(cell: str, prime: bytes) -> bytes:
    seeding = (
        b"seeding with " + prime if prime else b"missing seed text, using uniform probability over first character"
    )
    return f"creating an {cell}...\n".encode() + seeding + b"\n" + b"-" * 26 + b"\n"


def _write(pieces: Iterable[bytes]) -> None:
    """Write to standard output; control characters are escaped for a terminal."""
    if not sys.stdout.isatty():
        write_bytes(pieces)
        return
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    write_pieces(chain(map(decoder.decode, pieces), [decoder.decode(b"", final=True)]))


def _write_as_today(model: str, file: ModelFile, chosen: SampleOptions) -> None:
    from char_rnn.generation.text_generator import TextGenerator

    if chosen.seed is not None and chosen.seed < 0:
        raise click.BadParameter(f"{chosen.seed} is not in the range x>=0.", param_hint="'--seed' / '-seed'")
    generator = TextGenerator.load(file, _device(chosen), chosen.precision)
    file.tensors = {}  # the generator has copies
    pieces, remarks = texts(generator, file, chosen)
    say("\n".join([_introduction(model, file), *remarks]), quiet=chosen.silent, wrap=True)
    write_pieces(pieces)


def _device(chosen: SampleOptions) -> str:
    """Return the device of ``--device``, or of ``-gpuid``, which falls back to the CPU with a warning, as in 2015."""
    if (chosen.device if chosen.gpuid is None else chosen.gpuid) in ("cpu", -1):
        return "cpu"
    if chosen.gpuid is None:
        return str(device_manager(chosen.device).device)
    from char_rnn.utils.device import DeviceManager

    return str(DeviceManager(f"cuda:{chosen.gpuid}", auto_detect=False).device)


def _introduction(model: str, file: ModelFile) -> str:
    from char_rnn.utils.hub import is_address
    from char_rnn.utils.model_files import DEMO, DEMO_FILE, find_model

    path = model if is_address(model) else find_model(model)
    name = DEMO if path == DEMO_FILE else path
    config, training = file.config.model, file.training
    best = "best_val_loss" in training and training.get("best_step") == training.get("step")
    loss = f", validation loss {training['best_val_loss']:.4f}" if best else ""
    return (
        f"{name}: {config.num_layers}-layer {config.type} with {config.hidden_size} units,"
        f" trained on {visible_name(str(training.get('data', 'an unnamed text')))}{loss}"
    )
