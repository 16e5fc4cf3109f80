"""The options of ``char-rnn train`` and ``sweep``, the flags of train.lua, and the configuration that they ask for.

Of the flags, only ``-gpuid`` loads PyTorch. Three are other names of today's options: ``-seed``, ``-init_from``, and
``-data_dir`` for DATA.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import rich_click as click

from char_rnn.cli.inputs import unescaped
from char_rnn.cli.options import all_options, refuse_opencl
from char_rnn.cli.output import say
from char_rnn.torch7 import FLAGS, FRACTIONS, IMPLIED
from char_rnn.utils.files import check_is_path
from char_rnn.utils.locking import check_is_free
from char_rnn.utils.terminal import quoted

if TYPE_CHECKING:
    from char_rnn.utils.config import Config

Setting = tuple[str, str]
"""``section.key=value``, and the option as it was written, which begins a message; an ``Override``."""

_TORCH7 = "torch7"
_ARCHITECTURE = ("model", "rnn_size", "num_layers")


flags_of_2015 = all_options(
    click.option("--torch7", is_flag=True, help="Reproduce train.lua exactly: defaults, numbers and log lines."),
    click.option("-data_dir", "data_dir", hidden=True, help="DATA."),
    click.option("-gpuid", type=int, hidden=True, help="Below 0: CPU; otherwise CUDA, in float32."),
    click.option("-opencl", type=int, default=0, hidden=True, help="Only 0 is supported."),
    click.option("-accurate_gpu_timing", type=int, expose_value=False, hidden=True, help="Ignored."),
    *(click.option(f"-{name}", name, hidden=True, help=f"Sets {key}.") for name, key in FLAGS.items()),
)
"""``--torch7``, and the flags of train.lua that are not names of today's options."""


@dataclass(frozen=True)
class TrainOptions:
    """The options of the command line; ``None`` where one is not given.

    Attributes:
        data: the texts, in order; empty where none is given.
        flags: the flags of train.lua by name (``torch7.FLAGS``).
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
    grow_vocabulary: bool = False
    torch7: bool = False
    gpuid: int | None = None
    quiet: bool = False
    open_page: bool = False
    flags: Mapping[str, str | None] = field(default_factory=lambda: dict.fromkeys(FLAGS))

    @classmethod
    def of(cls, *, opencl: int, data_dir: str | None, data: tuple[str, ...], **options: Any) -> TrainOptions:
        """Return the options of ``char-rnn train``; options that exclude each other are a usage error."""
        refuse_opencl(opencl)
        flags = {name: options.pop(name) for name in FLAGS}
        if data_dir is not None and data:
            raise click.UsageError("DATA and -data_dir both name the text: leave one of them out")
        init_from = options.pop("init_from") or None  # "" is the default of train.lua
        given = cls(data=data if data_dir is None else (data_dir,), init_from=init_from, flags=flags, **options)
        given._check()
        return given

    def _check(self) -> None:
        if self.resume and (self.out or self.recipe or self.config_file or self.init_from or self.grow_vocabulary):
            raise click.UsageError(
                "--resume uses the settings of the run: leave out --out, --recipe, --config, --init-from,"
                " --grow-vocabulary"
            )
        if self.grow_vocabulary and not self.init_from:
            raise click.UsageError("--grow-vocabulary adds symbols to a model: give the model with --init-from MODEL")
        if self.init_from:
            flags = ", ".join(f"-{name}" for name in _ARCHITECTURE)
            if any(_sets_architecture(text) for text in self.overrides):
                raise click.UsageError("--init-from uses the architecture of the model: leave out --set model....")
            if not self.torch7 and any(self.flags[name] is not None for name in _ARCHITECTURE):
                raise click.UsageError(f"--init-from uses the architecture of the model: leave out {flags}")
        if self.torch7 and self.minutes is not None:
            raise click.UsageError("--torch7 has no --minutes: give -max_epochs, or leave out --torch7")
        if self.gpuid is not None and self.device is not None:
            raise click.UsageError("--device and -gpuid both name the device: leave one of them out")

    @property
    def silent(self) -> bool:
        """Whether to print no diagnostics of today's program."""
        return self.quiet or self.torch7

    @property
    def opens_page(self) -> bool:
        """Whether this process, the first of the run, shows the page."""
        return self.open_page and os.environ.get("RANK", "0") == "0"

    @property
    def insists_on_device(self) -> bool:
        """Whether ``--device`` names a device, which then has no fallback."""
        return self.device not in {None, "auto"}

    def device_name(self, config: Config) -> str:
        """Return the device to try first; with several CUDA devices the one with the number of ``-gpuid``."""
        preferred = config.device.preferred
        return f"cuda:{self.gpuid}" if self.gpuid and preferred == "cuda" else preferred

    def check_folders(self) -> None:
        """Raise ``FolderInUseError`` if another process uses a folder, before PyTorch is imported (seconds)."""
        if os.environ.get("RANK", "0") == "0":  # the first process of a run holds its lock
            for folder in filter(None, (self.resume, self.out)):
                check_is_free(check_is_path(folder))

    def config(self, more: Sequence[Setting] = ()) -> Config:
        """Compose the configuration: recipe, file, --set, ``more``, the other options; later ones win."""
        from char_rnn.training.run_folder import check_run
        from char_rnn.utils.config import compose_config

        recipe = _TORCH7 if self.torch7 and not (self.recipe or self.config_file or self.resume) else self.recipe
        file = str(check_run(self.resume)) if self.resume else self.config_file
        implied: list[str | Setting] = [*_implied_settings(self.flags), *_gpu_settings(self.gpuid)]
        overrides = [*implied, *self.overrides, *more, *_given_settings(self.flags)]
        base = compose_config(recipe, file, [*overrides, *_placeholder_fractions(self.flags)])
        if self.minutes is not None and base.training.horizons:  # those of an earlier timed run
            overrides = ["training.horizons=null", "training.max_steps=null", *overrides]
        config = compose_config(recipe, file, [*overrides, *_fitted_fractions(self.flags, base), *self._given()])
        if self.torch7 and config.training.trainer != _TORCH7:
            raise click.UsageError(
                "--torch7 needs training.trainer=torch7, but the configuration has modern: change it, or leave out"
                " --torch7"
            )
        if self.grow_vocabulary and config.training.trainer == _TORCH7:
            raise click.UsageError(
                "--grow-vocabulary needs training.trainer=modern, but the configuration has torch7: change it, or leave"
                " out --grow-vocabulary"
            )
        self.apply(config)
        return config

    def apply(self, config: Config) -> None:
        """Set the text, the folder and the device of a configuration."""
        if self.data:
            config.data.data_dir = self.data[0] if len(self.data) == 1 else list(self.data)
        if self.separator is not None:
            config.data.separator = unescaped(self.separator, "--separator")
        if self.resume is not None and not self.data and (sources := repeated_sources(config)):
            again = f"char-rnn train {sources}--resume {quoted(self.resume)} < TEXT"
            raise click.UsageError(f"the run reads standard input; give it the text again: {again}")
        if self.out is not None:  # all files of the run go to RUN
            config.logging.log_dir = None
            if config.training.trainer == _TORCH7 and self.flags["checkpoint_dir"] is None:
                config.logging.checkpoint_dir = self.out
        if self.device is not None:
            config.device.auto_detect = self.device == "auto"
            if self.device != "auto":
                config.device.preferred = self.device  # type: ignore[assignment]

    def _given(self) -> list[Setting]:
        """Return the values of today's options; with ``--torch7`` a seed is taken modulo 2^32, as in 2015."""
        seed = self.seed % (1 << 32) if self.seed is not None and self.torch7 else self.seed
        values = {
            "--minutes": ("training.minutes", self.minutes),
            "--seed": ("training.seed", seed),
            "--vocabulary": ("data.vocabulary", self.vocabulary),
            "--encoding": ("data.encoding", self.encoding),
        }
        given = {option: pair for option, pair in values.items() if pair[1] is not None}
        return [(f"{key}={value}", f"{option} {value}") for option, (key, value) in given.items()]


def _sets_architecture(override: str) -> bool:
    from char_rnn.utils.config.model import FOR_TRAINING

    section, _, key = override.partition("=")[0].strip().partition(".")
    return section == "model" and key not in FOR_TRAINING


def repeated_sources(config: Config) -> str:
    """Return the texts that ``--resume`` needs again: all of them if one is standard input, else none."""
    sources = config.data.sources
    return "".join(f"{each if each == '-' else quoted(each)} " for each in sources) if "-" in sources else ""


def _implied_settings(values: Mapping[str, str | None]) -> list[Setting]:
    """Return the settings that the given flags imply, each once."""
    given = {assignment: name for name, assignment in IMPLIED.items() if values[name] is not None}
    return [(assignment, f"-{name} {values[name]}") for assignment, name in given.items()]


def _given_settings(values: Mapping[str, str | None]) -> list[Setting]:
    """Return the settings of the given flags. A learning-rate decay above 1 has no effect, as in train.lua."""
    known = dict(values)
    decay = _number(known["learning_rate_decay"])
    if decay is not None and decay > 1:
        known["learning_rate_decay"] = "1"
    return [
        (f"{key}={known[name]}", f"-{name} {values[name]}") for name, key in FLAGS.items() if known[name] is not None
    ]


def _placeholder_fractions(values: Mapping[str, str | None]) -> list[Setting]:
    """Return fractions that are valid with all other settings, in place of the given ones."""
    fitting = {"train_frac": "1.0e-09", "val_frac": "0"}
    return [(f"data.{name}={value}", f"-{name}") for name, value in fitting.items() if values[name] is not None]


def _fitted_fractions(values: Mapping[str, str | None], base: Config) -> list[Setting]:
    """Return the rest of the text for validation if the fractions exceed 1, as train.lua does.

    ``base`` has the fractions that are not given.
    """
    if all(values[name] is None for name in FRACTIONS):
        return []
    train, val = (getattr(base.data, name) if values[name] is None else _number(values[name]) for name in FRACTIONS)
    if train is None or val is None or not 0 < train <= 1 or not 0 <= val < 1 or train + val <= 1:
        return []
    place = " ".join(f"-{name} {values[name]}" for name in FRACTIONS if values[name] is not None)
    return [(f"data.val_frac={1.0 - train!r}", place)]


def _gpu_settings(gpuid: int | None) -> list[Setting]:
    """Return the settings of ``-gpuid``. As in train.lua, CUDA trains in float32.

    Without that device they select the CPU, with a warning, as train.lua does.
    """
    if gpuid is None:
        return []
    device = "cuda" if gpuid >= 0 and _has_cuda(gpuid) else "cpu"
    if gpuid >= 0 and device == "cpu":
        say(f"warning: -gpuid {gpuid}: no such CUDA device; falling back to the CPU")
    assignments = [f"device.preferred={device}", "device.auto_detect=false"]
    if device == "cuda":
        assignments.append("training.precision=float32")
    return [(assignment, f"-gpuid {gpuid}") for assignment in assignments]


def _has_cuda(gpuid: int) -> bool:
    import torch

    return torch.cuda.is_available() and gpuid < torch.cuda.device_count()


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None
