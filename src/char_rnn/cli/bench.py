"""``char-rnn bench``."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from char_rnn.bench.questions import QUESTIONS
from char_rnn.cli.options import debug_option, quiet_option, say

if TYPE_CHECKING:
    from char_rnn.bench.report import Report

FIRST = ("training", "generation")


@click.command(name="bench")
@click.argument("questions", nargs=-1, metavar="[QUESTION]...")
@click.option("--threads", type=click.IntRange(min=1), help="Threads to compute with; one a core when not given.")
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True, help="How often a side has a turn.")
@click.option("--quick", is_flag=True, help="Few and small cases: a rough answer in seconds.")
@click.option(
    "--text", default="python-stdlib", show_default=True, metavar="DATA", help="What is learnt from, for quality."
)
@click.option(
    "--peer",
    "peers",
    multiple=True,
    metavar="[QUESTION:]NAME=COMMAND",
    help="Another program to time, as a whole, in turn with this one; may be repeated.",
)
@click.option("--out", type=click.Path(path_type=Path), help="A folder that gets QUESTION.json for each.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of tables.")
@quiet_option
@debug_option
def command(
    questions: Sequence[str],
    threads: int | None,
    rounds: int,
    quick: bool,
    text: str,
    peers: Sequence[str],
    out: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Measure this program on this machine, beside plain PyTorch and what the machine can do at most.

    Each QUESTION is training, generation, ops, data, quality or growth; all are answered with `all`, training and
    generation when none is given. Sides take turns, and figures are medians with their spread (half the distance of the
    quartiles over the median). A --peer is a command with places to fill in: {text} {steps} {batch} {length} {hidden}
    {layers} {out} for training, {characters} for generation.

    \b
    Examples:
      char-rnn bench --quick
      char-rnn bench all --out figures
      char-rnn bench training --peer "mine=python train.py --text {text} --steps {steps}"
      char-rnn bench generation --peer "generation:mine=./write --length {characters}"
    """
    from char_rnn.bench.peers import Peer, PeerError
    from char_rnn.bench.questions import Settings, measure

    asked = _asked(questions)
    try:
        given = tuple(map(Peer.parse, peers))
    except PeerError as error:
        raise click.BadParameter(str(error), param_hint="--peer") from None
    for peer in given:
        if peer.question not in asked:
            raise click.BadParameter(
                f"{peer.name}: answers {peer.question}, which is not asked; name it", param_hint="--peer"
            )
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
    settings = Settings(threads or os.cpu_count() or 1, rounds, quick, text, given, None if quiet else say)
    reports = []
    for question in asked:
        reports.append(measure(question, settings))
        if out is not None:
            reports[-1].write(out / f"{question}.json")
        if not as_json:
            _print(reports[-1])
    if as_json:
        click.echo(json.dumps({report.question: asdict(report) for report in reports}, allow_nan=False))
    else:
        click.echo(_machine(reports[0], settings.threads))


def _asked(questions: Sequence[str]) -> list[str]:
    """Return the questions by name, each once, in their order."""
    for question in questions:
        if question not in (*QUESTIONS, "all"):
            raise click.BadParameter(f"{question} must be one of {', '.join(QUESTIONS)}, all", param_hint="QUESTION")
    wanted = questions or FIRST
    return [question for question in QUESTIONS if question in wanted or "all" in wanted]


def _print(report: Report) -> None:
    from char_rnn.bench.report import print_rows

    for table in report.tables:
        print_rows(f"{report.title} ({table.name})", table.rows)
        click.echo(table.note + "\n")


def _machine(report: Report, threads: int) -> str:
    """Say in a line what was measured on."""
    about = report.machine
    names = ("processor", "system", "cores", "cpu_capability", "kernels")
    versions = f"Python {about['python']}, torch {about['torch']}, char-rnn {about['char_rnn']}"
    return ", ".join(f"{name} {about[name]}" for name in names) + f", {threads} threads; {versions}; {report.date}"
