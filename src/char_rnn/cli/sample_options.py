"""The options of `char-rnn sample` that say how to write, and what they mean.

Nothing here loads NumPy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import rich_click as click

from char_rnn.cli.drawing import LIKELIEST, SHARE, temperature_option
from char_rnn.cli.primes import escapes_option, read_prime, unescaped

if TYPE_CHECKING:
    from char_rnn.generation.network import Precision
    from char_rnn.model_file import ModelFile
    from char_rnn.utils.config.schema import GenerationConfig

Function = TypeVar("Function", bound=Callable[..., Any])

_STRATEGY = {
    "temperature": "--temperature",
    "final_temperature": "--final-temperature",
    "top_k": "--top-k",
    "top_p": "--top-p",
    "min_p": "--min-p",
    "typical_p": "--typical-p",
    "repetition_penalty": "--repetition-penalty",
    "repetition_window": "--repetition-window",
}
"""What a model's configuration also holds, and what a beam search has no use for."""

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
_DRAWING = (
    temperature_option("-temperature"),
    click.option("--final-temperature", type=click.FloatRange(min=0), help="Go from --temperature to this at the end."),
    *LIKELIEST,
    click.option("--typical-p", type=SHARE, help="Choose among the most typical that sum to P."),
    click.option(
        "--repetition-penalty",
        type=click.FloatRange(0, 100, min_open=True),
        help="Above 1: choose what was written lately less often.",
    ),
    click.option(
        "--repetition-window", type=click.IntRange(1, 1_000_000_000), help="How far back that looks, in characters."
    ),
    click.option("--ban", metavar="TEXT", help="Characters that are never generated."),
    click.option("--only", metavar="TEXT", help="Characters that may be generated (default: all)."),
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
    """The options of the text, then those of the drawing."""
    for option in reversed((*_TEXT, *_DRAWING)):
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
    temperature: float | None
    final_temperature: float | None
    top_k: int | None
    top_p: float | None
    min_p: float | None
    typical_p: float | None
    repetition_penalty: float | None
    repetition_window: int | None
    ban: str | None
    only: str | None
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
            given = [name for name in ("prime", "ban", "only") if options[name] is not None]
            options.update({name: unescaped(options[name], f"--{name}") for name in given})
        return cls(**options)

    @property
    def todays(self) -> dict[str, bool]:
        """Which of the options that the older programs had not are given, by name."""
        names = {name: flag for name, flag in _STRATEGY.items() if name != "temperature"}
        others = {"ban": "--ban", "only": "--only", "beam": "--beam", "num_samples": "--num-samples"}
        return {
            **{flag: getattr(self, name) is not None for name, flag in {**names, **others}.items()},
            "--precision": self.precision is not None,
            "--stop": bool(self.stop),
            "--stop-at-newline": self.stop_at_newline,
            "--hide-prime": self.hide_prime,
            f"--unknown {self.unknown}": self.unknown != "error",
        }

    @property
    def silent(self) -> bool:
        """Whether nothing of our own is to be said."""
        return self.quiet or self.torch7 or self.verbose == "0"

    def check(self) -> None:
        """Check the options with each other.

        Raises:
            UsageError: Two exclude each other, or one is no use without another.
        """
        if "" in self.stop:
            raise click.BadParameter("must be a text of at least one character", param_hint="--stop")
        if self.only == "":
            raise click.BadParameter("must be a text of at least one character", param_hint="--only")
        if self.prime is not None and self.prime_file is not None:
            raise click.UsageError("--prime and --prime-file both give the text to continue; leave out one of them")
        if self.beam is None:
            return
        drawing = [flag for name, flag in {**_STRATEGY, "seed": "--seed"}.items() if getattr(self, name) is not None]
        if drawing:
            raise click.UsageError(f"{drawing[0]}: --beam does not sample; leave out one of them")
        if (self.num_samples or 1) > self.beam:
            raise click.UsageError(f"--num-samples: --beam {self.beam} finds {self.beam} texts at most")

    def prime_text(self, file: ModelFile) -> str | None:
        """The text to go on from, as given or in the file given, which is read as the model's training text was.

        Raises:
            OSError: The file cannot be read, is not a regular file, or is too large.
            DataError: It does not fit its encoding, and unknown characters are an error.
        """
        if self.prime_file is None:
            return self.prime
        return read_prime(self.prime_file, file, self.encoding, strict=self.unknown == "error")

    def strategy(self, settings: GenerationConfig) -> dict[str, Any]:
        """The settings of a `Strategy`, where none is given those of the model."""
        from char_rnn.generation.strategy import Strategy

        given = {name: value for name in _STRATEGY if (value := getattr(self, name)) is not None}
        if self.sample == "0":
            given.update(temperature=0.0, final_temperature=None)
        return asdict(Strategy.of(settings, **given, **self.characters))

    @property
    def characters(self) -> dict[str, Any]:
        """Which characters are banned, and which allowed."""
        return {"banned": self.ban or "", "allowed": self.only}

    @property
    def ending(self) -> dict[str, Any]:
        """What of the options says how a text is read and where it ends."""
        return {"stop": self.stop, "stop_at_newline": self.stop_at_newline, "unknown": self.unknown}
