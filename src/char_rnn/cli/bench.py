"""``char-rnn bench``."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from char_rnn.bench.suites import SUITES
from char_rnn.cli.options import quiet_option
from char_rnn.cli.output import say
from char_rnn.utils.terminal import visible_name

if TYPE_CHECKING:
    from char_rnn.bench.peers import Peer
    from char_rnn.bench.suites import SuiteResult

DEFAULT_SUITES = ("training", "generation")


@click.command(name="bench")
@click.argument("suites", nargs=-1, type=click.Choice([*SUITES, "all"]), metavar="[SUITE]...")
@click.option("--threads", type=click.IntRange(min=1), default=1, help="CPU threads of each program compared.")
@click.option("--rounds", type=click.IntRange(min=1), help="Rounds of measurements (default: 5, or 3 with --quick).")
@click.option("--quick", is_flag=True, help="Measure fewer and smaller cases: faster, but less precise.")
@click.option("--text", default="python-stdlib", metavar="DATA", help="Text that `quality` trains on.")
@click.option(
    "--peer",
    "peers",
    multiple=True,
    metavar="[SUITE:]NAME=COMMAND",
    help="Other program to compare with; may be repeated.",
)
@click.option(
    "--case",
    "cases",
    multiple=True,
    metavar="NAME",
    help="Case of `training` to compare with a plain PyTorch loop, such as 2x128; may be repeated (default: all).",
)
@click.option("--out", metavar="FOLDER", help="Folder for the results, one file SUITE.json for each suite.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object with a report for each suite.")
@quiet_option
def command(
    suites: tuple[str, ...],
    threads: int,
    rounds: int | None,
    quick: bool,
    text: str,
    peers: tuple[str, ...],
    cases: tuple[str, ...],
    out: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Measure the speed of training and generation on this machine, compared with plain PyTorch and other programs.

    SUITE is `training`, `generation`, `ops` (the layers), `data` (reading a text), `quality` (the loss after equal
    times) or `all`. The default is `training` and `generation` with `--quick`. The compared programs run alternately.
    Figures are medians; a ratio above 1 means that char-rnn is faster.

    The COMMAND of --peer runs without a shell. It runs for a short and a long task, and the difference gives its speed
    without the start-up time. It contains placeholders: {text} {steps} {batch} {length} {hidden} {layers} {out} for
    `training`, the default, and {characters} {hidden} {layers} {model} for `generation`.

    \b
    Examples:
      char-rnn bench
      char-rnn bench all --threads 2 --out bench
      char-rnn bench training --threads 2 --case 2x128 --case tiny
      char-rnn bench training --quick --peer "mine=python mine.py {text} {steps}"
    """
    from char_rnn.bench.suites import Settings, load_numpy, measure

    asked = tuple(dict.fromkeys(SUITES if "all" in suites else suites or DEFAULT_SUITES))
    quick = quick or not suites
    folder = _folder(out)
    settings = Settings(
        threads=threads,
        rounds=rounds or (3 if quick else 5),
        quick=quick,
        text=text,
        peers=_peers(peers, asked),
        cases=_cases(cases, asked),
        progress=_progress(quiet),
    )
    load_numpy()
    _prepare(text, asked, quiet)
    reports = {}
    for suite in asked:
        reports[suite] = report = measure(suite, settings)
        if folder is not None:
            report.write(folder / f"{suite}.json")
            say(f"wrote {visible_name(str(folder / suite))}.json", quiet=quiet)
        if not as_json:
            _print(report)
    if as_json:
        click.echo(json.dumps({name: report.to_dict() for name, report in reports.items()}, indent=1, allow_nan=False))


def _peers(texts: Sequence[str], asked: Sequence[str]) -> list[Peer]:
    """Read the peers; each must belong to a suite that runs."""
    from char_rnn.bench.peers import PeerError, parse_peers

    try:
        peers = parse_peers(texts)
    except PeerError as error:
        raise click.BadParameter(str(error), param_hint="--peer") from None
    for peer in peers:
        if peer.suite not in asked:
            advice = f"{peer.name}: is for `{peer.suite}`; give that suite too"
            raise click.BadParameter(advice, param_hint="--peer")
    return peers


def _cases(names: Sequence[str], asked: Sequence[str]) -> Sequence[str]:
    """Check the names of the cases."""
    if not names:
        return ()
    from char_rnn.bench.training import CASES

    if "training" not in asked:
        raise click.BadParameter("is for `training`; give that suite too", param_hint="--case")
    for name in names:
        if name not in CASES:
            raise click.BadParameter(f"{name}: no such case; give {', '.join(CASES)}", param_hint="--case")
    return names


def _folder(out: str | None) -> Path | None:
    if out is None:
        return None
    folder = Path(out)
    if folder.exists() and not folder.is_dir():
        raise click.BadParameter(f"{out}: is not a folder", param_hint="--out")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _prepare(text: str, asked: Sequence[str], quiet: bool) -> None:
    """Prepare the text before anything is measured, so that a problem with it is reported at once."""
    if "quality" not in asked:
        return
    from char_rnn.cli.output import preparation
    from char_rnn.data.corpus import prepare_corpus

    with preparation(quiet) as progress:
        prepare_corpus(text, progress=progress)


def _progress(quiet: bool) -> Callable[[str], None]:
    """Return a function that prints the measurement and the elapsed time to standard error."""
    began = time.monotonic()
    return lambda what: say(f"{timedelta(seconds=int(time.monotonic() - began))}  {what}", quiet=quiet)


def _print(report: SuiteResult) -> None:
    from char_rnn.bench.suites import describe, print_rows

    click.echo(f"\n{report.title}\n{describe(report.machine)}\n{report.command}")
    for table in report.tables:
        click.echo()
        print_rows(table.name, table.rows)
        if table.note:
            click.echo(table.note)
