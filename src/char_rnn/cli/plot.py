"""``char-rnn plot``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from char_rnn.cli.options import quiet_option
from char_rnn.cli.output import say
from char_rnn.utils.terminal import visible_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from char_rnn.runs.history import History
    from char_rnn.runs.plots import X


@click.command(name="plot")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option(
    "--out",
    metavar="FILE",
    help="Picture to write, .png, .svg or .pdf (default: RUN/loss.png, or ./loss.png for several runs).",
)
@click.option(
    "--x",
    type=click.Choice(["steps", "epochs", "minutes", "characters"]),
    default="steps",
    help="Quantity on the horizontal axis.",
)
@click.option(
    "--smooth",
    type=click.IntRange(min=1),
    default=1,
    metavar="N",
    help="Records over which the training loss is averaged.",
)
@click.option("--bits", is_flag=True, help="Show bits on the left axis and nats on the right.")
@quiet_option
def command(runs: tuple[str, ...], out: str | None, x: X, smooth: int, bits: bool, quiet: bool) -> None:
    """Plot the losses of one run, or of several to compare them.

    RUN is a run folder, finished or not. Thin lines are training losses, lines with markers validation losses; a ring
    marks the lowest. The high losses of the first steps are above the visible range.

    \b
    Examples:
      char-rnn plot runs/my-book
      char-rnn plot runs/lstm runs/gru --x minutes --out lstm-gru.svg
      char-rnn plot runs/* --bits --smooth 10
    """
    from char_rnn.runs.history import read_history
    from char_rnn.runs.plots import check_picture, loss_figure, save_figure

    folders = list(dict.fromkeys(map(Path, runs)))
    histories = [read_history(folder) for folder in folders]
    try:
        target = check_picture(out or (folders[0] if len(folders) == 1 else Path()) / "loss.png")
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--out") from None
    figure = loss_figure(histories, x=x, bits=bits, smooth=smooth)
    save_figure(figure, target)
    for line in _left_out(histories):
        say(line, quiet=quiet)
    say(f"wrote {visible_name(str(target))}", quiet=quiet)


def _left_out(histories: Sequence[History]) -> list[str]:
    """Return lines about the losses that are not shown."""
    lines = []
    for history in histories:
        name = visible_name(str(history.folder))
        if not any(map(history.finite, history.points)):
            lines.append(f"{name}: not shown: no loss has been measured yet")
        elif history.infinite:
            lines.append(f"{name}: not shown: NaN or infinite losses: {history.infinite:,}")
        if history.unreadable:
            lines.append(f"{name}: not shown: damaged lines of metrics.jsonl: {history.unreadable:,}")
    return lines
