"""``char-rnn doctor``."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import rich_click as click
from click.exceptions import Exit

from char_rnn.cli.options import DEVICES, json_option, quiet_option
from char_rnn.cli.output import progress_bar

if TYPE_CHECKING:
    from char_rnn.doctor import Report

WIDEST = 120


@click.command(name="doctor")
@click.option("--device", type=click.Choice(DEVICES[1:]), help="Device to check (default: all).")
@click.option("--quick", is_flag=True, help="Skip the speed measurements.")
@json_option
@quiet_option
def command(device: str | None, quick: bool, as_json: bool, quiet: bool) -> None:
    """Check the correctness and speed of this machine's devices, and recommend settings.

    Every cell runs on every device in float32 and is compared with the CPU in float64. The checks cover the forward
    pass, gradients, 200 training steps, and the known bugs of PyTorch's devices. They take about a minute. The exit
    status is 1 if a check fails on the recommended device, or if the default device of `char-rnn train` trains
    incorrectly, else 0.

    \b
    Examples:
      char-rnn doctor
      char-rnn doctor --device mps --quick
      char-rnn doctor --json > doctor.json
    """
    from char_rnn.doctor import examine
    from char_rnn.utils.device import DeviceManager

    available = DeviceManager.available()
    if device is not None and device not in available:
        raise click.BadParameter(
            f"{device}: not available (this machine has {', '.join(available)})", param_hint="--device"
        )
    with progress_bar(quiet) as progress:
        report = examine([device] if device else None, speed=not quick, progress=progress)
    if as_json:
        click.echo(json.dumps(report.to_dict(), indent=2, allow_nan=False))
    else:
        _print(report)
    if not report.verdict.sound:
        raise Exit(1)


def _print(report: Report) -> None:
    """Print the report in the width of the terminal, with colours on a terminal."""
    from rich.console import Console
    from rich.text import Text

    from char_rnn.doctor import to_text

    width = min(shutil.get_terminal_size((80, 24)).columns, WIDEST)
    text = Text(to_text(report, width))
    text.highlight_regex(r"\bok\b|all \d+ checks passed", "green")
    text.highlight_regex(r"\d+ of \d+ checks FAILED|FAILED|Do not", "bold red")
    text.highlight_regex(r"(?m)^\S.*$", "bold")
    Console(highlight=False).print(text, soft_wrap=True)
