"""The picture of a run: the very numbers that were measured, the best marked, the same bytes every time."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from runs_helpers import measured, record

from char_rnn.runs.history import History, Measurement, read_history
from char_rnn.runs.plots import labels, loss_figure, save_figure, spread, y_range

LN2 = math.log(2)
RECORDS = [
    record(50, "train", 3.0),
    record(100, "train", 2.0),
    record(100, "val", 2.25),
    record(150, "train", 1.5),
    record(200, "train", 1.0),
    record(200, "val", 1.75),
    record(300, "val", 2.0),
    record(300, "test", 1.875),
]


def drawn(figure: Figure) -> dict[str, tuple[list[float], list[float]]]:
    """Return the coordinates of each line by its name."""
    axes = figure.axes[0]
    return {str(line.get_gid()): tuple(map(list, map(np.asarray, line.get_data()))) for line in axes.lines}  # type: ignore[misc]


def names(axes: Axes) -> list[list[str]]:
    """Return the words of each legend."""
    return [[text.get_text() for text in legend.get_texts()] for legend in axes.findobj(Legend)]


def falling(name: str, floor: float, count: int = 100) -> History:
    """A run whose loss falls from 4 nats to ``floor``."""
    losses = [floor + (4 - floor) * math.exp(-i / 6) for i in range(count)]
    points = [Measurement(10 * i, i / 10, float(i), loss) for i, loss in enumerate(losses, 1)]
    return History(Path(name), {"train": points, "val": points[9::10]})


def test_what_is_drawn_is_what_was_measured(tmp_path: Path) -> None:
    figure = loss_figure([read_history(measured(tmp_path / "rose", RECORDS))])
    axes = figure.axes[0]
    assert drawn(figure) == {
        "run0-train": ([50, 100, 150, 200], [3.0, 2.0, 1.5, 1.0]),
        "run0-val": ([100, 200, 300], [2.25, 1.75, 2.0]),
        "run0-best": ([200], [1.75]),
        "run0-test": ([300], [1.875]),
    }
    (label,) = [text for text in axes.texts if text.get_gid() == "run0-label"]
    assert (label.get_text(), label.xy) == ("1.7500", (200, 1.75))  # type: ignore[attr-defined]
    assert sorted(names(axes)) == [
        ["rose, best 1.7500, test 1.8750"],
        ["training", "validation", "best validation", "test, best model"],
    ]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("steps", "loss, nats per character")


@pytest.mark.parametrize(
    ("x", "places", "label"),
    [
        ("epochs", [1, 2, 3], "epochs"),
        ("minutes", [5 / 6, 10 / 6, 15 / 6], "minutes, evaluations included"),
        ("characters", [0.021, 0.042, 0.063], "bytes read, in millions"),
    ],
)
def test_along_the_axis(tmp_path: Path, x: str, places: list[float], label: str) -> None:
    sections = {"training": {"batch_size": 7, "seq_length": 30}, "data": {"vocabulary": "bytes"}}
    figure = loss_figure([read_history(measured(tmp_path / "run", RECORDS, **sections))], x=x, bits=True)  # type: ignore[arg-type]
    xs, ys = drawn(figure)["run0-val"]
    assert xs == pytest.approx(places)
    assert ys == pytest.approx([2.25 / LN2, 1.75 / LN2, 2.0 / LN2])
    assert figure.axes[0].get_xlabel() == label
    assert figure.axes[0].get_ylabel() == "loss, bits per byte"
    assert figure.axes[0].texts[0].get_text() == f"{1.75 / LN2:.4f}"


def test_the_second_axis_has_the_other_unit(tmp_path: Path) -> None:
    figure = loss_figure([read_history(measured(tmp_path / "run", RECORDS))])
    figure.draw_without_rendering()
    (second,) = figure.axes[0].child_axes
    assert second.get_ylabel() == "bits per character"
    assert second.get_ylim() == pytest.approx([limit / LN2 for limit in figure.axes[0].get_ylim()])


def test_several_runs_differ_and_are_named(tmp_path: Path) -> None:
    histories = [falling(f"runs/{number}", 1 + number / 10) for number in range(12)]
    axes = loss_figure(histories).axes[0]
    looks = {(line.get_color(), line.get_marker()) for line in axes.lines if str(line.get_gid()).endswith("-val")}
    assert len(looks) == 12
    shown = next(words for words in names(axes) if len(words) == 12)
    for number, (history, text) in enumerate(zip(histories, shown, strict=True)):
        assert history.best is not None
        assert text == f"{number}, best {history.best.loss:.4f}"
    assert not axes.texts  # twelve labels would cover each other
    assert len(loss_figure(histories[:4]).axes[0].texts) == 4


def test_the_best_is_labelled_beside_its_mark(tmp_path: Path) -> None:
    """At the end of the picture to the right, elsewhere below, and apart where marks are close."""
    runs = []
    for name, loss, last in (("a", 1.5, 300), ("b", 1.501, 300), ("c", 1.5, 100)):
        runs.append(read_history(measured(tmp_path / name, [record(50, "val", 2.0), record(last, "val", loss)])))
    labels = {str(text.get_gid()): text for text in loss_figure(runs).axes[0].texts}
    offsets = {name: text.get_position() for name, text in labels.items()}
    assert {name: text.get_text() for name, text in labels.items()} == {
        "run0-label": "1.5000",
        "run1-label": "1.5010",
        "run2-label": "1.5000",
    }
    assert [offsets[f"run{number}-label"][0] for number in range(3)] == [10, 10, 0]
    assert offsets["run2-label"][1] == pytest.approx(-18)
    assert offsets["run0-label"][1] == pytest.approx(-offsets["run1-label"][1])
    assert 5.5 < offsets["run1-label"][1] < 6


def test_runs_of_one_name_are_told_apart() -> None:
    runs = [History(Path("a/x")), History(Path("b/x")), History(Path("c/y" + 60 * "z")), History(Path("c/\x1b[31m"))]
    assert labels(runs) == ["a/x", "b/x", "y" + 18 * "z" + "…" + 20 * "z", "\N{REPLACEMENT CHARACTER}[31m"]


@pytest.mark.parametrize("x", ["steps", "minutes"])
def test_a_rollback_is_a_line_and_breaks_the_curve(tmp_path: Path, x: str) -> None:
    records = [*RECORDS[:5], {"step": 175, "event": "rollback"}, record(160, "train", 1.25)]
    figure = loss_figure([read_history(measured(tmp_path / "run", records))], x=x)  # type: ignore[arg-type]
    scale = 1 if x == "steps" else 1 / 120
    xs, _ = drawn(figure)["run0-rollback"]
    assert xs == pytest.approx([175 * scale, 175 * scale])
    xs, ys = drawn(figure)["run0-train"]
    assert xs == pytest.approx([50 * scale, 100 * scale, 150 * scale, 200 * scale, math.nan, 160 * scale], nan_ok=True)
    assert ys == pytest.approx([3.0, 2.0, 1.5, 1.0, math.nan, 1.25], nan_ok=True)
    assert any("rollback" in words for words in names(figure.axes[0]))


def test_smoothing_is_a_mean_of_what_is_there(tmp_path: Path) -> None:
    run = read_history(measured(tmp_path / "run", RECORDS))
    assert drawn(loss_figure([run], smooth=3))["run0-train"][1] == pytest.approx([2.5, 13 / 6, 1.5, 1.25])
    assert len(drawn(loss_figure([run], smooth=99))["run0-train"][1]) == 4
    assert drawn(loss_figure([run], smooth=3))["run0-val"][1] == [2.25, 1.75, 2.0]


def test_the_first_losses_and_an_explosion_do_not_press_the_rest() -> None:
    run = falling("run", 1.5)
    low, high = y_range([run])
    assert 1.3 < low < 1.5
    assert 1.7 < high < 2.6
    train = list(run.points["train"])
    for exploded in (9.0, 400.0, 1e30):
        worse = [*train[:85], *(point._replace(loss=exploded) for point in train[85:])]
        assert y_range([History(Path("run"), {**run.points, "train": worse})])[1] < 3


def test_what_rises_again_stays_in_the_picture() -> None:
    losses = [2.5, 1.9, 1.6, 1.5, 1.6, 1.8, 2.0, 2.2]
    val = [Measurement(i, i / 9, float(i), loss) for i, loss in enumerate(losses)]
    train = [Measurement(i, i / 99, float(i), 2 - i / 100) for i in range(100)]
    low, high = y_range([History(Path("run"), {"train": train, "val": val})])
    assert low < 1.01
    assert high > 2.2


@pytest.mark.parametrize("records", [[record(10, "train", 2.0)], [record(0, "val", 2.0)], [record(9, "test", 2.0)]])
def test_a_single_measurement(tmp_path: Path, records: list[dict[str, object]]) -> None:
    figure = loss_figure([read_history(measured(tmp_path / "run", records))])
    low, high = figure.axes[0].get_ylim()
    assert low < 2 < high
    save_figure(figure, tmp_path / "loss.png")


def test_infinite_losses_are_left_out(tmp_path: Path) -> None:
    records = [record(1, "train", 2.0), record(2, "train", None), record(3, "train", 1.0), record(3, "val", None)]
    run = read_history(measured(tmp_path / "run", records))
    other = read_history(measured(tmp_path / "other", [record(1, "val", None)]))
    assert drawn(loss_figure([other, run])) == {"run0-train": ([1, 3], [2.0, 1.0]), "run0-val": ([], [])}
    with pytest.raises(ValueError, match=r"other: no loss has been measured yet"):
        loss_figure([other])


def test_records_that_do_not_tell_the_time(tmp_path: Path) -> None:
    run = read_history(measured(tmp_path / "run", [{"step": 1, "split": "val", "loss": 1.0}]))
    assert drawn(loss_figure([run]))["run0-val"] == ([1], [1.0])
    with pytest.raises(ValueError, match="lack the minutes"):
        loss_figure([run], x="minutes")


@pytest.mark.parametrize("suffix", [".svg", ".png", ".pdf", ".PNG"])
def test_the_same_run_gives_the_same_file(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    files = []
    for number in range(2):
        run = measured(tmp_path / str(number) / "run", RECORDS)
        monkeypatch.setitem(rcParams, "lines.linewidth", 5 + number)  # the user's own settings
        files.append(save_figure(loss_figure([read_history(run)]), tmp_path / f"{number}{suffix}").read_bytes())
    assert files[0] == files[1]
    assert rcParams["lines.linewidth"] == 6
    assert files[0][:4] in {b"\x89PNG", b"%PDF", b"<?xm"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", f"0{suffix}", "1", f"1{suffix}"]


@pytest.mark.parametrize("name", ["小説", "$x^$", "_hidden", "نص", "a & <b>", "🌹"])
def test_any_name(tmp_path: Path, name: str) -> None:
    figure = loss_figure([read_history(measured(tmp_path / name, RECORDS))])
    save_figure(figure, tmp_path / "loss.png")
    text = save_figure(figure, tmp_path / "loss.svg").read_text("utf-8")
    assert name.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") in text


def test_where_no_picture_can_be(tmp_path: Path) -> None:
    figure = Figure()
    with pytest.raises(ValueError, match=r"loss\.gif: a picture's name must end in one of \.png, \.svg, \.pdf"):
        save_figure(figure, tmp_path / "loss.gif")
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder"):
        save_figure(figure, tmp_path / "nowhere" / "loss.png")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(ValueError, match="is a folder"):
        save_figure(figure, tmp_path / "folder.png")


def test_spread_by_hand() -> None:
    assert spread([5.0, 0.0, 1.0], 2) == [5.0, -0.5, 1.5]
    assert spread([3.0, 3.0, 3.0], 1) == [2.0, 3.0, 4.0]
    assert spread([], 1) == []


@given(st.lists(st.floats(0, 100), max_size=12), st.floats(0, 20))
def test_spread_keeps_apart_and_in_order(places: list[float], gap: float) -> None:
    found = spread(places, gap)
    pairs = sorted(zip(places, found, strict=True))
    assert all(b[1] - a[1] >= gap - 1e-9 for a, b in pairwise(pairs))
    assert sum(found) == pytest.approx(sum(places), abs=1e-6)
