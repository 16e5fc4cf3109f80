"""``char-rnn doctor``."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import rich_click as click
from click.exceptions import Exit

from char_rnn.cli.options import DEVICES, debug_option, quiet_option

if TYPE_CHECKING:
    from char_rnn.doctor import Report

WIDEST = 120


@click.command(name="doctor")
@click.option(
    "--device", type=click.Choice(DEVICES[1:]), help="The one device to examine; all there are when not given."
)
@click.option("--quick", is_flag=True, help="Leave the speed out.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object with everything.")
@quiet_option
@debug_option
def command(device: str | None, quick: bool, as_json: bool, quiet: bool) -> None:
    """Check this machine: does each device compute right, how fast, and which settings are the best.

    Every cell is run on every device in float32 and compared with the CPU in float64: forward pass, gradients, 200
    training steps, and the hazards that PyTorch's devices are known for. The exit status is 1 if a check failed on the
    device that the verdict names, or the device that `char-rnn train` takes by itself trains wrong; else 0. It takes
    about a minute.

    \b
    Examples:
      char-rnn doctor
      char-rnn doctor --device mps --quick
      char-rnn doctor --json > doctor.json
    """
    from char_rnn.cli.progress import counted
    from char_rnn.doctor import examine
    from char_rnn.utils.device import DeviceManager

    available = DeviceManager.available()
    if device is not None and device not in available:
        raise click.BadParameter(
            f"{device}: is not there (this machine has {', '.join(available)})", param_hint="--device"
        )
    with counted(quiet) as progress:
        report = examine([device] if device else None, speed=not quick, progress=progress)
    if as_json:
        click.echo(json.dumps(report.to_dict(), indent=2, allow_nan=False))
    else:
        _print(report)
    if not report.verdict.sound:
        raise Exit(1)


def _print(report: Report) -> None:
    """Print the report, as wide as the terminal; in colour where there is one."""
    from rich.console import Console
    from rich.text import Text

    from char_rnn.doctor.words import to_text

    width = min(shutil.get_terminal_size((80, 24)).columns, WIDEST)
    text = Text(to_text(report, width))
    text.highlight_regex(r"\bok\b|all \d+ checks passed", "green")
    text.highlight_regex(r"\d+ of \d+ checks FAILED|FAILED|Do not", "bold red")
    text.highlight_regex(r"(?m)^\S.*$", "bold")
    Console(highlight=False).print(text, soft_wrap=True)
