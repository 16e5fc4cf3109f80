"""The options of `char-rnn sample` that say how to write, and what they mean.

Nothing here loads NumPy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import rich_click as click

from char_rnn.cli.inputs import escapes_option, read_prime, unescaped
from char_rnn.cli.strategy_options import given, strategy_flags
from char_rnn.sampling.options import NUMBERS, OPTIONS, Strategy

if TYPE_CHECKING:
    from char_rnn.generation.network import Precision
    from char_rnn.model_file import ModelFile
    from char_rnn.utils.config.schema import GenerationConfig

Function = TypeVar("Function", bound=Callable[..., Any])

_TEXT = (
    click.option(
        "--length",
        "-length",
        type=click.IntRange(min=0),
        help="Number of characters to generate (bytes for a byte model).",
    ),
    click.option("--prime", "-primetext", "prime", metavar="TEXT", help="Text to continue; it is printed first."),
    click.option("--prime-file", metavar="FILE", help="File with the text to continue; - is standard input."),
    click.option("--encoding", help="Encoding of the --prime-file (default: that of the training text)."),
    escapes_option("--prime, --stop, --ban and --only"),
    click.option("--hide-prime", is_flag=True, help="Print the new text only, without the prime."),
    click.option(
        "--unknown",
        type=click.Choice(["error", "skip", "nearest"]),
        default="error",
        show_default=True,
        help="Treatment of prime characters that the vocabulary lacks; nearest reads É as E, say, and reports it.",
    ),
    click.option("--stop", multiple=True, metavar="TEXT", help="Text to stop before; may be repeated."),
    click.option("--stop-at-newline", is_flag=True, help="Stop before the first line end."),
    click.option(
        "--num-samples", type=click.IntRange(1, 1_000_000), help="Number of texts, separated by lines of ---."
    ),
    click.option("--seed", "-seed", type=int, help="Seed of the random numbers; the same seed gives the same text."),
)
_METHOD = (
    strategy_flags(OPTIONS, temperature="-temperature"),
    click.option(
        "--beam",
        type=click.IntRange(1, 1024),
        metavar="N",
        help="Width of a beam search for likely texts, which replaces sampling.",
    ),
    click.option(
        "--precision",
        type=click.Choice(["float32", "bfloat16", "int8", "float64"]),
        help="Number type of the weights and the computation (default: that of the training).",
    ),
)


def writing_options(function: Function) -> Function:
    """The options of the text, then those of the sampling method."""
    for option in reversed((*_TEXT, *_METHOD)):
        function = option(function)
    return function


@dataclass(frozen=True)
class Request:
    """The options of the command line; ``None`` where nothing was given."""

    length: int | None
    prime: str | None
    prime_file: str | None
    encoding: str | None
    hide_prime: bool
    unknown: Literal["error", "skip", "nearest"]
    stop: tuple[str, ...]
    stop_at_newline: bool
    num_samples: int | None
    seed: int | None
    sampling: dict[str, Any]
    beam: int | None
    precision: Precision | None
    rng: str | None
    torch7: bool
    sample: str
    verbose: str
    gpuid: int | None
    opencl: int
    device: str
    quiet: bool

    @classmethod
    def of(cls, *, escapes: bool, **options: Any) -> Request:
        """Take the options of the command line, with the escapes in their texts read if that was asked for.

        Raises:
            BadParameter: An escape is unknown.
        """
        if escapes:
            options["stop"] = tuple(unescaped(text, "--stop") for text in options["stop"])
            texts = {"prime": "--prime", **{name: OPTIONS[name].flag for name in ("banned", "allowed")}}
            options.update({n: unescaped(options[n], flag) for n, flag in texts.items() if options[n] is not None})
        others = {name: value for name, value in options.items() if name not in OPTIONS}
        return cls(sampling=given(options), **others)

    @property
    def todays(self) -> dict[str, bool]:
        """The options that the programs of 2015 did not have, and whether they are given."""
        return {
            **{option.flag: name in self.sampling for name, option in OPTIONS.items() if name != "temperature"},
            "--beam": self.beam is not None,
            "--num-samples": self.num_samples is not None,
            "--precision": self.precision is not None,
            "--stop": bool(self.stop),
            "--stop-at-newline": self.stop_at_newline,
            "--hide-prime": self.hide_prime,
            f"--unknown {self.unknown}": self.unknown != "error",
        }

    @property
    def silent(self) -> bool:
        """Whether to print the text only."""
        return self.quiet or self.torch7 or self.verbose == "0"

    def check(self) -> None:
        """Check the combination of options.

        Raises:
            UsageError: Two options exclude each other, or one needs another.
        """
        if "" in self.stop:
            raise click.BadParameter("must be a text of at least one character", param_hint="--stop")
        if self.sampling.get("allowed") == "":
            raise click.BadParameter("must be a text of at least one character", param_hint=OPTIONS["allowed"].flag)
        if self.prime is not None and self.prime_file is not None:
            raise click.UsageError("--prime and --prime-file both give the text to continue; leave out one of them")
        if self.beam is None:
            return
        flags = [OPTIONS[name].flag for name in NUMBERS if name in self.sampling]
        flags += [] if self.seed is None else ["--seed"]
        if flags:
            raise click.UsageError(f"{flags[0]}: --beam does not sample; leave out one of them")
        if (self.num_samples or 1) > self.beam:
            raise click.UsageError(f"--num-samples: --beam {self.beam} finds {self.beam} texts at most")

    def prime_text(self, file: ModelFile) -> str | None:
        """The text to continue, as given or from the file given, which is read as the training text was.

        Raises:
            OSError: The file cannot be read, is not a regular file, or is too large.
            DataError: It does not fit its encoding, and unknown characters are an error.
        """
        if self.prime_file is None:
            return self.prime
        return read_prime(self.prime_file, file, self.encoding, strict=self.unknown == "error")

    def strategy(self, settings: GenerationConfig) -> dict[str, Any]:
        """The sampling options: those given, and else those of the model."""
        greedy = {"temperature": 0.0, "final_temperature": None} if self.sample == "0" else {}
        return asdict(Strategy.of(settings, **{**self.sampling, **greedy}))

    @property
    def characters(self) -> dict[str, Any]:
        """The banned and the allowed characters, as far as they are given."""
        return {name: value for name, value in self.sampling.items() if name not in NUMBERS}

    @property
    def ending(self) -> dict[str, Any]:
        """The options for reading the prime and for ending the text."""
        return {"stop": self.stop, "stop_at_newline": self.stop_at_newline, "unknown": self.unknown}
