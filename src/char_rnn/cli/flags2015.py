"""The command line of train.lua: what each of its flags is today. Nothing here loads PyTorch but ``-gpuid``.

Three flags are second names of today's options: ``-seed``, ``-init_from`` and, for DATA, ``-data_dir``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import rich_click as click

from char_rnn.cli.output import say

if TYPE_CHECKING:
    from char_rnn.utils.config import Config, Override

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class Flag:
    """A flag of train.lua.

    Attributes:
        name: without its dash.
        key: the value of the configuration that it sets, with all its rules.
        implied: what has to be set too, else the flag has no effect; ``--set`` wins over it.
    """

    name: str
    key: str
    implied: str = ""


FLAGS = (
    Flag("rnn_size", "model.hidden_size"),
    Flag("num_layers", "model.num_layers"),
    Flag("model", "model.type"),
    Flag("dropout", "model.dropout"),
    Flag("learning_rate", "training.learning_rate"),
    Flag("learning_rate_decay", "training.learning_rate_decay", "training.schedule=exponential"),
    Flag("learning_rate_decay_after", "training.learning_rate_decay_after", "training.schedule=exponential"),
    Flag("decay_rate", "training.decay_rate", "training.optimizer=rmsprop"),
    Flag("seq_length", "training.seq_length"),
    Flag("batch_size", "training.batch_size"),
    Flag("max_epochs", "training.max_epochs"),
    Flag("grad_clip", "training.grad_clip"),
    Flag("eval_val_every", "training.eval_interval"),
    Flag("train_frac", "data.train_frac"),
    Flag("val_frac", "data.val_frac"),
    Flag("print_every", "logging.log_interval"),
    Flag("checkpoint_dir", "logging.checkpoint_dir"),
    Flag("savefile", "logging.savefile"),
)
FRACTIONS = ("train_frac", "val_frac")

Values = Mapping[str, str | None]


def flags_of_2015(function: Function) -> Function:
    """Give a command ``--torch7``, and the flags of train.lua that have no twin today."""
    options = [
        click.option("--torch7", is_flag=True, help="Be train.lua: its defaults, its numbers, its lines."),
        click.option("-data_dir", "data_dir", hidden=True, help="DATA."),
        click.option("-gpuid", type=int, hidden=True, help="Below 0: the CPU; else CUDA, in float32."),
        click.option("-opencl", type=int, default=0, hidden=True, help="1: refused."),
        click.option("-accurate_gpu_timing", type=int, expose_value=False, hidden=True, help="Of no effect."),
        *(click.option(f"-{flag.name}", flag.name, hidden=True, help=f"Sets {flag.key}.") for flag in FLAGS),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def refuse_opencl(opencl: int) -> None:
    """Refuse ``-opencl 1``.

    Raises:
        UsageError: It was given.
    """
    if opencl:
        raise click.UsageError(
            "-opencl 1: there is no OpenCL any more; leave it out for the CPU, or give -gpuid 0 (NVIDIA, AMD)"
            " or --device mps (Apple)"
        )


def implied_settings(values: Values) -> list[Override]:
    """Return what the flags given imply, each once."""
    from char_rnn.utils.config import Override

    given = {flag.implied: flag.name for flag in FLAGS if flag.implied and values[flag.name] is not None}
    return [Override(assignment, f"-{name} {values[name]}") for assignment, name in given.items()]


def given_settings(values: Values) -> list[Override]:
    """Return what the flags given set, a learning-rate decay above 1 as none, which it was."""
    from char_rnn.utils.config import Override

    known = dict(values)
    decay = _number(known["learning_rate_decay"])
    if decay is not None and decay > 1:
        known["learning_rate_decay"] = "1"
    return [
        Override(f"{flag.key}={known[flag.name]}", f"-{flag.name} {values[flag.name]}")
        for flag in FLAGS
        if known[flag.name] is not None
    ]


def placeholder_fractions(values: Values) -> list[Override]:
    """Return settings that fit any others, in the place of the fractions given."""
    from char_rnn.utils.config import Override

    fitting = {"train_frac": "1.0e-09", "val_frac": "0"}
    return [Override(f"data.{name}={value}", f"-{name}") for name, value in fitting.items() if values[name] is not None]


def fitted_fractions(values: Values, base: Config) -> list[Override]:
    """Return the share that is left for validation where the fractions claim more than the whole, as then.

    Args:
        values: What was given, by the flag's name; None where it was not.
        base: The configuration, of which the fractions not given are taken.
    """
    from char_rnn.utils.config import Override

    if all(values[name] is None for name in FRACTIONS):
        return []
    train, val = (getattr(base.data, name) if values[name] is None else _number(values[name]) for name in FRACTIONS)
    if train is None or val is None or not 0 < train <= 1 or not 0 <= val < 1 or train + val <= 1:
        return []
    place = " ".join(f"-{name} {values[name]}" for name in FRACTIONS if values[name] is not None)
    return [Override(f"data.val_frac={1.0 - train!r}", place)]


def gpu_settings(gpuid: int | None) -> list[Override]:
    """Return the device that ``-gpuid`` means; on CUDA the numbers are float32, as then.

    Without that device it is the CPU, with a warning, as then.
    """
    from char_rnn.utils.config import Override

    if gpuid is None:
        return []
    device = "cuda" if gpuid >= 0 and _has_cuda(gpuid) else "cpu"
    if gpuid >= 0 and device == "cpu":
        say(f"warning: -gpuid {gpuid}: there is no such CUDA device here; falling back on the CPU")
    assignments = [f"device.preferred={device}", "device.auto_detect=false"]
    if device == "cuda":
        assignments.append("training.precision=float32")
    return [Override(assignment, f"-gpuid {gpuid}") for assignment in assignments]


def _has_cuda(gpuid: int) -> bool:
    import torch

    return torch.cuda.is_available() and gpuid < torch.cuda.device_count()


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None
