"""The command line of train.lua as today's settings. Only ``-gpuid`` loads PyTorch.

Three flags are other names of today's options: ``-seed``, ``-init_from`` and, for DATA, ``-data_dir``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import rich_click as click

from char_rnn.cli.options import Function
from char_rnn.cli.output import say
from char_rnn.torch7.options import FLAGS, FRACTIONS, IMPLIED

if TYPE_CHECKING:
    from char_rnn.utils.config import Config, Override

Values = Mapping[str, str | None]
"""Values of the flags by name; None if not given."""


def flags_of_2015(function: Function) -> Function:
    """Add ``--torch7`` to a command, and the flags of train.lua that are not names of today's options."""
    options = [
        click.option("--torch7", is_flag=True, help="Reproduce train.lua exactly: defaults, numbers and log lines."),
        click.option("-data_dir", "data_dir", hidden=True, help="DATA."),
        click.option("-gpuid", type=int, hidden=True, help="Below 0: CPU; otherwise CUDA, in float32."),
        click.option("-opencl", type=int, default=0, hidden=True, help="Only 0 is supported."),
        click.option("-accurate_gpu_timing", type=int, expose_value=False, hidden=True, help="Ignored."),
        *(click.option(f"-{name}", name, hidden=True, help=f"Sets {key}.") for name, key in FLAGS.items()),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def refuse_opencl(opencl: int) -> None:
    """Refuse ``-opencl 1``.

    Raises:
        UsageError: It is given.
    """
    if opencl:
        raise click.UsageError(
            "-opencl 1: OpenCL is not supported; leave it out for the CPU, or give -gpuid 0 (NVIDIA, AMD)"
            " or --device mps (Apple)"
        )


def implied_settings(values: Values) -> list[Override]:
    """Return the settings that the given flags imply, each once."""
    from char_rnn.utils.config import Override

    given = {assignment: name for name, assignment in IMPLIED.items() if values[name] is not None}
    return [Override(assignment, f"-{name} {values[name]}") for assignment, name in given.items()]


def given_settings(values: Values) -> list[Override]:
    """Return the settings of the given flags. A learning-rate decay above 1 has no effect, as in train.lua."""
    from char_rnn.utils.config import Override

    known = dict(values)
    decay = _number(known["learning_rate_decay"])
    if decay is not None and decay > 1:
        known["learning_rate_decay"] = "1"
    return [
        Override(f"{key}={known[name]}", f"-{name} {values[name]}")
        for name, key in FLAGS.items()
        if known[name] is not None
    ]


def placeholder_fractions(values: Values) -> list[Override]:
    """Return fractions that are valid with all other settings, in place of the given ones."""
    from char_rnn.utils.config import Override

    fitting = {"train_frac": "1.0e-09", "val_frac": "0"}
    return [Override(f"data.{name}={value}", f"-{name}") for name, value in fitting.items() if values[name] is not None]


def fitted_fractions(values: Values, base: Config) -> list[Override]:
    """Return the rest of the text for validation if the fractions exceed 1, as train.lua does.

    Args:
        values: Values of the flags.
        base: Configuration with the fractions that are not given.
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
    """Return the settings of ``-gpuid``. As in train.lua, CUDA trains in float32.

    Without that device they select the CPU, with a warning, as train.lua does.
    """
    from char_rnn.utils.config import Override

    if gpuid is None:
        return []
    device = "cuda" if gpuid >= 0 and _has_cuda(gpuid) else "cpu"
    if gpuid >= 0 and device == "cpu":
        say(f"warning: -gpuid {gpuid}: no such CUDA device; falling back on the CPU")
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
