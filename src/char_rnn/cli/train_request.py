"""What the command line of ``char-rnn train`` asks for, and the configuration that comes of it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import rich_click as click

from char_rnn.cli.flags2015 import (
    FLAGS,
    fitted_fractions,
    given_settings,
    gpu_settings,
    implied_settings,
    placeholder_fractions,
    refuse_opencl,
)
from char_rnn.cli.primes import unescaped
from char_rnn.utils.files import check_is_path
from char_rnn.utils.locking import check_is_free
from char_rnn.utils.terminal import quoted

if TYPE_CHECKING:
    from char_rnn.utils.config import Config, Setting

TORCH7 = "torch7"
_ARCHITECTURE = ("model", "rnn_size", "num_layers")


@dataclass(frozen=True)
class Request:
    """The options of the command line; ``None`` where nothing was given.

    Attributes:
        data: the texts, in order; empty where none was given.
        flags: the flags of train.lua by name (``flags2015.FLAGS``).
    """

    data: tuple[str, ...] = ()
    recipe: str | None = None
    config_file: str | None = None
    overrides: tuple[str, ...] = ()
    minutes: float | None = None
    out: str | None = None
    seed: int | None = None
    device: str | None = None
    vocabulary: str | None = None
    encoding: str | None = None
    separator: str | None = None
    resume: str | None = None
    init_from: str | None = None
    torch7: bool = False
    gpuid: int | None = None
    quiet: bool = False
    flags: Mapping[str, str | None] = field(default_factory=lambda: dict.fromkeys(flag.name for flag in FLAGS))

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Request:
        """Take the options of the command line apart.

        Raises:
            UsageError: some exclude each other.
        """
        rest = dict(options)
        refuse_opencl(rest.pop("opencl"))
        flags = {flag.name: rest.pop(flag.name) for flag in FLAGS}
        data_dir, init_from = rest.pop("data_dir"), rest.pop("init_from") or None  # train.lua's default is ""
        if data_dir is not None and rest["data"]:
            raise click.UsageError("DATA and -data_dir both name the text: leave one of them out")
        data = (data_dir,) if data_dir is not None else rest["data"]
        del rest["data"]
        request = cls(**rest, data=data, init_from=init_from, flags=flags)
        request._check()
        return request

    def _check(self) -> None:
        if self.resume and (self.out or self.recipe or self.config_file or self.init_from):
            raise click.UsageError(
                "--resume uses the settings of the run: leave out --out, --recipe, --config, --init-from"
            )
        if self.init_from and any(text.startswith("model.") and "dropout" not in text for text in self.overrides):
            raise click.UsageError("--init-from uses the architecture of the model: leave out --set model....")
        if self.init_from and not self.torch7 and any(self.flags[name] is not None for name in _ARCHITECTURE):
            raise click.UsageError(
                f"--init-from uses the architecture of the model: leave out {', '.join(f'-{n}' for n in _ARCHITECTURE)}"
            )
        if self.gpuid is not None and self.device is not None:
            raise click.UsageError("--device and -gpuid both name the device: leave one of them out")

    @property
    def silent(self) -> bool:
        """Whether nothing of our own is to be said."""
        return self.quiet or self.torch7

    @property
    def insists_on_device(self) -> bool:
        """Whether ``--device`` names one; it is not silently replaced then."""
        return self.device not in {None, "auto"}

    def device_name(self, config: Config) -> str:
        """Return the device to begin with; of several CUDA devices the one that ``-gpuid`` numbers."""
        preferred = config.device.preferred
        return f"cuda:{self.gpuid}" if self.gpuid and preferred == "cuda" else preferred

    def check_folders(self) -> None:
        """Refuse a folder that another process is at work in, before PyTorch is loaded, which takes seconds.

        Raises:
            FolderInUseError: one is.
        """
        if os.environ.get("RANK", "0") == "0":  # of the processes of a run the first has the lock
            for folder in filter(None, (self.resume, self.out)):
                check_is_free(check_is_path(folder))

    def config(self, more: Sequence[Setting] = ()) -> Config:
        """Put the configuration together: recipe, file, --set, ``more``, the other flags; later wins.

        Raises:
            ConfigError: something in it cannot be used.
            UsageError: it is not what ``--torch7`` asks for.
        """
        from char_rnn.utils.config import compose_config

        recipe, file = self._recipe(), self._file()
        implied: list[str | Setting] = [*implied_settings(self.flags), *gpu_settings(self.gpuid)]
        settings = [*implied, *self.overrides, *more, *given_settings(self.flags)]
        base = compose_config(recipe, file, [*settings, *placeholder_fractions(self.flags)])
        if self.minutes is not None and base.training.horizons:  # a timed run's: plan anew
            settings = ["training.horizons=null", "training.max_steps=null", *settings]
        config = compose_config(recipe, file, [*settings, *fitted_fractions(self.flags, base), *self._given()])
        if self.torch7 and config.training.trainer != TORCH7:
            raise click.UsageError(
                "--torch7 needs training.trainer=torch7, but the configuration has modern: change it, or leave out"
                " --torch7"
            )
        self.place(config)
        return config

    def _recipe(self) -> str | None:
        return TORCH7 if self.torch7 and not (self.recipe or self.config_file or self.resume) else self.recipe

    def _file(self) -> str | None:
        from char_rnn.training.run_folder import check_run

        return str(check_run(self.resume)) if self.resume else self.config_file

    def _given(self) -> list[Setting]:
        """What the options with names of today set; a seed is taken as by the generator of 2015 where that draws."""
        from char_rnn.utils.config import Setting

        seed = self.seed
        if seed is not None and self.torch7:
            seed %= 1 << 32
        values = {
            "--minutes": ("training.minutes", self.minutes),
            "--seed": ("training.seed", seed),
            "--vocabulary": ("data.vocabulary", self.vocabulary),
            "--encoding": ("data.encoding", self.encoding),
        }
        return [
            Setting(f"{key}={value}", f"{option} {value}")
            for option, (key, value) in values.items()
            if value is not None
        ]

    def place(self, config: Config) -> None:
        """Set where the text comes from, where the run goes, and what it runs on."""
        if self.data:
            config.data.data_dir = self.data[0] if len(self.data) == 1 else list(self.data)
        if self.separator is not None:
            config.data.separator = unescaped(self.separator, "--separator")
        if self.resume is not None and not self.data and (sources := given_again(config)):
            again = f"char-rnn train {sources}--resume {quoted(self.resume)} < TEXT"
            raise click.UsageError(f"the run reads standard input; give it the text again: {again}")
        if self.out is not None:  # --out RUN keeps everything of the run in RUN
            config.logging.log_dir = None
            if config.training.trainer == TORCH7 and self.flags["checkpoint_dir"] is None:
                config.logging.checkpoint_dir = self.out
        if self.device is not None:
            config.device.auto_detect = self.device == "auto"
            if self.device != "auto":
                config.device.preferred = self.device  # type: ignore[assignment]


def given_again(config: Config) -> str:
    """Return the texts as ``--resume`` needs them again: all of them with standard input among them, else none."""
    sources = config.data.sources
    return "".join(f"{each if each == '-' else quoted(each)} " for each in sources) if "-" in sources else ""
