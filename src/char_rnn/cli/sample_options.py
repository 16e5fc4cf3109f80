"""The options of ``char-rnn sample``, and the flags of sample.lua. Needs no PyTorch."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import rich_click as click

from char_rnn.cli.inputs import UNKNOWN_ADVICE, read_prime, unescaped
from char_rnn.cli.options import all_options, given
from char_rnn.sampling.options import NUMBERS, OPTIONS, Strategy

if TYPE_CHECKING:
    from char_rnn.data.vocabulary import Vocabulary
    from char_rnn.generation.network import Precision
    from char_rnn.model_file import ModelFile
    from char_rnn.utils.config.schema import GenerationConfig


_TODAYS = ("beam", "num_samples", "as_json", "precision", "stop", "stop_at_newline", "keep_stop", "hide_prime",
           "prime_each_line", "logprobs")  # fmt: skip
"""Options that the programs of 2015 lack, besides those of sampling and --unknown."""
_SWITCH = click.Choice(["0", "1"])
flags_of_2015 = all_options(
    click.option(
        "--rng",
        type=click.Choice(["numpy", "torch7", "torch-rnn"]),
        help="Random numbers: numpy (default), or those of sample.lua or torch-rnn, to reproduce their text.",
    ),
    click.option(
        "--torch7", is_flag=True, help="Reproduce sample.lua exactly: defaults, random numbers and printed lines."
    ),
    click.option("-sample", type=_SWITCH, default="1", hidden=True, help="0: always the most likely symbol."),
    click.option("-verbose", type=_SWITCH, default="1", hidden=True, help="0: same as --quiet."),
    click.option("-gpuid", type=click.IntRange(min=-1), hidden=True, help="-1: CPU; otherwise CUDA."),
    click.option("-opencl", type=int, default=0, hidden=True, help="Only 0 is supported."),
)
"""``--rng``, ``--torch7``, and the flags of sample.lua that are not names of today's options."""


@dataclass(frozen=True)
class SampleOptions:
    """The options of the command line; ``None`` where one is not given."""

    length: int | None
    prime: str | None
    prime_file: str | None
    prime_each_line: bool
    encoding: str | None
    hide_prime: bool
    unknown: Literal["error", "skip", "nearest"]
    stop: tuple[str, ...]
    stop_at_newline: bool
    keep_stop: bool
    num_samples: int | None
    as_json: bool
    seed: int | None
    sampling: dict[str, Any]
    beam: int | None
    logprobs: bool
    alternatives: int | None
    precision: Precision | None
    rng: str | None
    torch7: bool
    sample: str
    verbose: str
    gpuid: int | None
    opencl: int
    device: str
    quiet: bool
    escapes: bool

    @classmethod
    def of(cls, *, escapes: bool, **options: Any) -> SampleOptions:
        """Return the options of the command line, with the escapes in their texts replaced if ``escapes``."""
        if escapes:
            options["stop"] = tuple(unescaped(text, "--stop") for text in options["stop"])
            texts = {"prime": "--prime", **{name: OPTIONS[name].flag for name in ("banned", "allowed")}}
            options.update({n: unescaped(options[n], flag) for n, flag in texts.items() if options[n] is not None})
        others = {name: value for name, value in options.items() if name not in OPTIONS}
        return cls(sampling=given(options), escapes=escapes, **others)

    @property
    def is_many(self) -> bool:
        """Whether the output is a list of texts, possibly with a single one."""
        return self.num_samples is not None or self.prime_each_line or self.as_json

    @property
    def count(self) -> int:
        """The number of texts for each prime."""
        return self.num_samples or 1

    def random_numbers(self) -> str:
        """Return the random numbers to use: numpy, torch7 or torch-rnn.

        Raises:
            UsageError: ``--torch7`` excludes ``--rng``, or an option is given that the older programs lack.
        """
        if self.torch7 and self.rng not in (None, "torch7"):
            raise click.UsageError(f"--torch7 means --rng torch7; leave out one of --torch7 and --rng {self.rng}")
        chosen = self.rng or ("torch7" if self.torch7 else "numpy")
        todays = [option.flag for name, option in OPTIONS.items() if name in self.sampling and name != "temperature"]
        todays += [f"--{name.removeprefix('as_').replace('_', '-')}" for name in _TODAYS if getattr(self, name)]
        todays += [f"--unknown {self.unknown}"] if self.unknown != "error" else []
        if chosen != "numpy" and todays:
            raise click.UsageError(
                f"{todays[0]}: not supported with --rng {chosen}, whose program has no such option; leave one of them"
                " out"
            )
        return chosen

    @property
    def silent(self) -> bool:
        """Whether to print the text only."""
        return self.quiet or self.torch7 or self.verbose == "0"

    def check(self) -> None:
        """Raise a usage error for an invalid combination of options."""
        if "" in self.stop:
            raise click.BadParameter("must be a text of at least one character", param_hint="--stop")
        if self.keep_stop and not (self.stop or self.stop_at_newline):
            raise click.UsageError("--keep-stop needs a stop text: add --stop or --stop-at-newline")
        if self.sampling.get("allowed") == "":
            raise click.BadParameter("must be a text of at least one character", param_hint=OPTIONS["allowed"].flag)
        if self.prime is not None and self.prime_file is not None:
            raise click.UsageError("--prime and --prime-file both give the text to continue; leave out one of them")
        if self.prime_each_line and self.prime_file is None:
            raise click.UsageError("--prime-each-line needs a file with primes: add --prime-file FILE")
        if self.alternatives is not None and not self.logprobs:
            raise click.UsageError("--alternatives needs --logprobs: add it, or leave out --alternatives")
        if self.as_json and (self.logprobs or self.beam is not None or self.hide_prime):
            other = "--logprobs" if self.logprobs else "--beam" if self.beam is not None else "--hide-prime"
            raise click.UsageError(f"--json: not supported with {other}; leave out one of them")
        if self.beam is None:
            return
        if self.logprobs:
            raise click.UsageError("--logprobs: not supported with --beam; leave out one of them")
        flags = [OPTIONS[name].flag for name in NUMBERS if name in self.sampling]
        flags += [] if self.seed is None else ["--seed"]
        if flags:
            raise click.UsageError(f"{flags[0]}: --beam does not sample; leave out one of them")
        if self.count > self.beam:
            raise click.UsageError(f"--num-samples: --beam {self.beam} finds {self.beam} texts at most")

    def one_prime(self, file: ModelFile) -> str | None:
        """The text to continue, as given or from a file (see `read_prime`)."""
        if self.prime_file is None:
            return self.prime
        return read_prime(self.prime_file, file, self.encoding, strict=self.unknown == "error")

    def primes(self, file: ModelFile) -> list[str] | None:
        """The texts to continue: the text of :meth:`one_prime`, or its non-empty lines.

        Raises:
            UnknownCharacterError: The model does not know a character of a line.
            UsageError: No line has text.
        """
        text = self.one_prime(file)
        if not self.prime_each_line or text is None:
            return None if text is None else [text]
        source = "standard input" if self.prime_file == "-" else self.prime_file
        lines = {f"{source}, line {n}": line for n, line in enumerate(re.split("\r\n|\r|\n", text), 1) if line}
        if not lines:
            raise click.UsageError(f"{source}: no lines to continue; all are empty")
        return [self._checked(line, where, file.vocabulary) for where, line in lines.items()]

    def _checked(self, line: str, where: str, vocabulary: Vocabulary) -> str:
        """A line of the primes with its escapes replaced; an error names the file and line."""
        from char_rnn.data.vocabulary import UnknownCharacterError
        from char_rnn.generation.unknown_characters import spelled

        line = unescaped(line, where) if self.escapes else line
        try:
            spelled(vocabulary, line, self.unknown)
        except UnknownCharacterError as error:
            advice = UNKNOWN_ADVICE
            raise UnknownCharacterError(error.character, error.position, error.kind, where, advice) from None
        return line

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
        names = ("stop", "stop_at_newline", "keep_stop", "unknown")
        return {name: getattr(self, name) for name in names}
