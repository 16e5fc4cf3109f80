"""What the figures were meant to come to, and whether they do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from char_rnn.bench.report import Report, counted, shown

LABELS = ("case", "threads", "layer", "cell", "hidden", "precision", "texts", "text")


@dataclass(frozen=True)
class Aim:
    """A bound on a column.

    Attributes:
        what: the figure in words.
        question: and ``table`` and ``column``: where it stands.
        table: see there.
        column: see there.
        least: what it should be at least; None if there is no such bound.
        most: what it should be at most; None if there is no such bound.
        where: the values that a row has in other columns.
    """

    what: str
    question: str
    table: str
    column: str
    least: float | None = None
    most: float | None = None
    where: Mapping[str, Any] = field(default_factory=dict)

    def met_by(self, value: float) -> bool:
        """Whether a figure is within the bound."""
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)

    @property
    def bound(self) -> str:
        """The bound in words."""
        return f"at least {shown(self.least)}" if self.most is None else f"at most {shown(self.most)}"

    def rows(self, report: Report) -> list[Mapping[str, Any]]:
        """Return the rows that it is about; none if they were not measured."""
        rows = next((table.rows for table in report.tables if table.name == self.table), [])
        return [row for row in rows if all(row.get(name) == value for name, value in self.where.items())]


# case, trainer, threads (None: any), and the least speed over the bare loop's with memory kept
TRAINING = (
    ("2x128", "float32", 1, 1.25),
    ("2x128", "float32", 2, 1.35),
    ("2x128", "layer_norm cell", None, 1.0),
    ("1x384", "float32", None, 1.2),
    ("1x384", "bfloat16", None, 2.1),
    ("2x512", "bfloat16", None, 1.9),
    *((f"{cell} {size}", trainer, None, 1.5) for size in ("2x128", "1x384")
      for cell, trainer in (("gru", "reset after"), ("gru", "reset before"), ("rnn", "float32"))),
    ("tiny", "float32", None, 1.0),
)  # fmt: skip


def _training(case: str, trainer: str, threads: int | None, least: float) -> Aim:
    where = {"case": case, "trainer": trainer, **({} if threads is None else {"threads": threads})}
    named = f"the trainer's speed over the bare loop's, {case}, {trainer}"
    named += "" if threads is None else f", {counted(threads, 'thread')}"
    return Aim(named, "training", "over the bare loop", "over K", least=least, where=where)


AIMS = (
    *(_training(*aim) for aim in TRAINING),
    Aim("writing over the bare loop, 128 units", "generation", "one text", "char-rnn / loop", least=10.0,
        where={"hidden": 128, "precision": "float32"}),
    Aim("`char-rnn sample` over the loop of `nn.LSTM`", "generation", "command line", "sample / loop", least=15.0,
        where={"cell": "lstm"}),
    *(Aim(f"`char-rnn sample` over the loop of `nn.{cell.upper()}`", "generation", "command line", "sample / loop",
          least=12.0, where={"cell": cell}) for cell in ("gru", "rnn")),
    Aim("writing over the bare loop, 512 units", "generation", "one text", "char-rnn / loop", least=30.0,
        where={"hidden": 512, "precision": "float32"}),
    Aim("a step over reading its matrices, 512 units", "generation", "one text", "step / reading", least=0.6,
        where={"hidden": 512, "precision": "float32"}),
    Aim("64 texts side by side over products alone", "generation", "texts side by side", "engine / products",
        least=0.6, where={"texts": 64}),
    Aim("first character, s", "generation", "start", "first character, s", most=0.4),
    Aim("resident memory then, MB", "generation", "start", "resident MB", most=120.0),
    Aim("training with the reset of 2015 over `nn.GRU`", "ops", "layers", "speed-up", least=1.0,
        where={"layer": "gru before", "task": "train"}),
    Aim("preparing a text, MB/s", "data", "texts", "MB/s", least=100.0),
    Aim("memory of preparing it, MB", "data", "texts", "peak MB", most=600.0),
    Aim("first batch of a text in the cache, ms", "data", "texts", "warm, ms", most=100.0),
    Aim("a batch, % of a step", "data", "texts", "batch / step, %", most=2.0),
)  # fmt: skip


def judged(report: Report, aims: Sequence[Aim] = AIMS) -> list[dict[str, Any]]:
    """Return a row for each figure of a report that has an aim, and one for each aim that has no figure."""
    judgements = []
    for aim in aims:
        if aim.question != report.question:
            continue
        rows = aim.rows(report)
        for row in rows:
            value = row[aim.column]
            names = [str(row[name]) for name in LABELS if name in row and name not in aim.where]
            verdict = "met" if aim.met_by(value) else "**missed**"
            judgements.append(
                {"aim": aim.what, "of": ", ".join(names), "figure": value, "bound": aim.bound, "": verdict}
            )
        if not rows:
            judgements.append({"aim": aim.what, "of": "", "figure": "not measured", "bound": aim.bound, "": ""})
    return judgements + _relative(report)


def _relative(report: Report) -> list[dict[str, Any]]:
    """Return the aims whose bound is another row's figure."""
    rows = {table.name: table.rows for table in report.tables}
    if report.question == "quality" and len(rows["equal time"]) > 1:
        own, *others = rows["equal time"]
        return [
            _below(f"loss after equal time below that of the {other['side']}", own["loss"], other["loss"])
            for other in others
        ]
    if report.question == "growth" and len(rows.get("training by size of the text", ())) > 1:
        smallest, *_, largest = rows["training by size of the text"]
        what = f"training's memory on {largest['text, MB']:,} MB of text, MB"
        return [_below(what, largest["memory, MB"], smallest["memory, MB"] + 100)]
    return []


def _below(what: str, value: float, bound: float) -> dict[str, Any]:
    verdict = "met" if value <= bound else "**missed**"
    return {"aim": what, "of": "", "figure": value, "bound": f"at most {shown(bound)}", "": verdict}
