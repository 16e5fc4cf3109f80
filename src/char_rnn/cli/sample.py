"""``char-rnn sample``."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any

import rich_click as click

from char_rnn.cli.flags2015 import refuse_opencl
from char_rnn.cli.inputs import impossible_stops, open_model
from char_rnn.cli.options import OneDashCommand, debug_option, device_manager, device_option, quiet_option
from char_rnn.cli.output import say, write_pieces
from char_rnn.cli.sample2015 import check_rng, flags_of_2015, write_as_2015
from char_rnn.cli.sample_options import Request, writing_options
from char_rnn.utils.terminal import visible_name

if TYPE_CHECKING:
    from char_rnn.generation.text_generator import TextGenerator
    from char_rnn.model_file import ModelFile

_BETWEEN = "---\n"


@click.command(name="sample", cls=OneDashCommand)
@click.argument("model")
@writing_options
@flags_of_2015
@device_option("cpu")
@quiet_option
@debug_option
def command(model: str, **options: Any) -> None:
    """Generate text with a trained model.

    MODEL is a run folder (its best model), a .safetensors file, or a .t7 checkpoint of 2015. Options not given come
    from the model's configuration (see `char-rnn inspect MODEL`), with --torch7 or --rng from sample.lua or torch-rnn.
    The text is printed while it is generated. The flags of sample.lua also work (-primetext, -length, -temperature,
    -seed, -sample, -gpuid, -verbose).

    \b
    Examples:
      char-rnn sample runs/my-book
      char-rnn sample runs/my-book --prime "Once upon" --length 500 --temperature 0.7 --seed 1
      char-rnn sample names.safetensors --num-samples 20 --stop-at-newline --quiet
      char-rnn sample runs/my-book --prime-file chapter1.txt --hide-prime --min-p 0.05 --unknown nearest
      char-rnn sample runs/my-book --prime "It was " --length 60 --beam 8
      char-rnn sample runs/my-book --escapes --prime "Chapter 2\\n\\n" --stop "\\n\\n"
      char-rnn sample lm_lstm_epoch50.00_1.3656.t7 --torch7 -primetext "ROMEO:" -seed 2015
    """
    request = Request.of(**options)
    rng = check_rng(request.rng, request.torch7, request.todays)
    refuse_opencl(request.opencl)
    request.check()
    file = open_model(model)
    if rng == "numpy":
        _write_as_today(model, file, request)
        return
    say(_introduction(model, file), quiet=request.silent)
    write_as_2015(
        file,
        rng,
        prime=request.prime_text(file),
        length=request.length,
        temperature=request.sampling.get("temperature"),
        seed=request.seed,
        argmax=request.sample == "0",
        header=request.torch7 and request.verbose == "1",
        quiet=request.silent,
    )


def _write_as_today(model: str, file: ModelFile, request: Request) -> None:
    from char_rnn.generation.text_generator import TextGenerator

    if request.seed is not None and request.seed < 0:
        raise click.BadParameter(f"{request.seed} is not in the range x>=0.", param_hint="'--seed' / '-seed'")
    generator = TextGenerator.load(file, _device(request), request.precision)
    file.tensors = {}  # the generator has copies
    pieces, remarks = _pieces(generator, file, request)
    say("\n".join([_introduction(model, file), *remarks]), quiet=request.silent, wrap=True)
    write_pieces(chain(pieces, "\n"))


def _pieces(generator: TextGenerator, file: ModelFile, request: Request) -> tuple[Iterator[str], list[str]]:
    """Everything that is to be written, and what is to be said of it; bad values raise here."""
    from char_rnn.data.vocabulary import UnknownCharacterError
    from char_rnn.generation.spelling import default_prime
    from char_rnn.sampling.strategies import PredictionError

    settings = file.config.generation
    given = request.prime_text(file)
    prime, remark = default_prime(file.vocabulary, settings.prime) if given is None else (given, "")
    remarks = [*([remark] if remark else []), *impossible_stops(request.stop, request.stop_at_newline, file.vocabulary)]
    length = settings.length if request.length is None else request.length
    seed = settings.seed if request.seed is None else request.seed
    try:
        if request.beam is not None:
            found = generator.beam_search(prime, length, request.beam, **request.characters, **request.ending)
            best = found[: request.num_samples or 1]
            texts = [text.text if request.hide_prime else prime + text.text for text in best]
            return _joined(texts), [*remarks, *(f"{text.log_probability:.2f} nats" for text in best)]
        options = {**request.strategy(settings), **request.ending, "seed": seed}
        if request.num_samples is not None:
            texts = generator.generate_many(prime, length, num_samples=request.num_samples, **options)
            return _joined([text[len(prime) :] if request.hide_prime else text for text in texts]), remarks
        pieces = generator.stream(prime, length, **options)
    except (UnknownCharacterError, PredictionError):
        raise
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if request.hide_prime and prime:
        next(pieces)
    return pieces, remarks


def _joined(texts: list[str]) -> Iterator[str]:
    for place, text in enumerate(texts):
        yield f"\n{_BETWEEN}{text}" if place else text


def _device(request: Request) -> str:
    """The device of ``--device``, or of ``-gpuid``, which falls back on the CPU with a warning as then."""
    if (request.device if request.gpuid is None else request.gpuid) in ("cpu", -1):
        return "cpu"
    if request.gpuid is None:
        return str(device_manager(request.device).device)
    from char_rnn.utils.device import DeviceManager

    return str(DeviceManager(f"cuda:{request.gpuid}", auto_detect=False).device)


def _introduction(model: str, file: ModelFile) -> str:
    from char_rnn.model_file import find_model

    config, training = file.config.model, file.training
    best = "best_val_loss" in training and training.get("best_step") == training.get("step")
    loss = f", validation loss {training['best_val_loss']:.4f}" if best else ""
    return (
        f"{find_model(model)}: {config.num_layers}-layer {config.type} of {config.hidden_size},"
        f" trained on {visible_name(str(training.get('data', 'an unnamed text')))}{loss}"
    )
