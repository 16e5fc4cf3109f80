"""``char-rnn sweep``: what it makes and prints, how it is stopped, and what is refused in one line."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import statistics
import sys
from pathlib import Path
from typing import Any

import pytest
from cli_helpers import SMALL, Command
from processes import disposition
from rich.console import Console

from char_rnn.cli import main
from char_rnn.cli.sweep import print_tables, split_values
from char_rnn.model_file import ModelFile
from char_rnn.sweep.running import SweepResult, SweepRun
from char_rnn.training import progress
from char_rnn.training.callbacks import Callback
from char_rnn.training.trainer import CharRNNTrainer
from char_rnn.utils.config import load_config

BASE = [*SMALL, "--set", "training.eval_interval=10", "--set", "logging.tensorboard=false"]
SHORT = [*BASE, "--set", "training.max_steps=20"]
RATES = ["--grid", "training.learning_rate=1e-2,1e-3"]


@pytest.fixture(scope="module")
def swept(poem: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished sweep of two rates and two seeds; not to be changed."""
    folder = tmp_path_factory.mktemp("sweeps") / "rates"
    file = folder.parent / "my.yaml"
    file.write_text("model:\n  type: gru\n")
    with pytest.raises(SystemExit) as stop:
        main(["sweep", str(file), str(poem), *RATES, "--seeds", "1,2", *SHORT, "--out", str(folder), "--quiet"])
    assert stop.value.code == 0
    return folder


def test_the_runs_are_runs(char_rnn: Command, swept: Path) -> None:
    runs = json.loads(char_rnn("runs", swept, "--json").out)
    assert [(Path(run["run"]).name, run["state"], run["model"]) for run in runs] == [
        (f"learning_rate={rate},seed={seed}", "finished", "gru 1x8") for rate in ("0.001", "0.01") for seed in (1, 2)
    ]
    sampled = char_rnn("sample", runs[0]["run"], "--length", 20, "-q")
    assert (sampled.status, len(sampled.out)) == (0, 21)


def test_a_finished_sweep_prints_its_table_again(char_rnn: Command, swept: Path) -> None:
    done = char_rnn("sweep", "--resume", swept)
    assert (done.status, done.err) == (0, f"{swept}: 4 runs\n")
    runs = json.loads(char_rnn("runs", swept, "--sort", "best", "--json").out)
    lines = [line.split() for line in done.out.splitlines() if line.strip()]
    assert " ".join(lines[0]) == "learning_rate seed params steps minutes val nats best at state"
    for run, line in zip(runs, lines[2:6], strict=True):
        name = f"learning_rate={line[0]},seed={line[1]}"
        assert name == Path(run["run"]).name
        minutes = f"{run['seconds'] / 60:.1f}"
        assert line[2:] == [f"{run['parameters']:,}", "20", minutes, f"{run['best_loss']:.4f}", "20", "finished"]
    assert " ".join(lines[6]) == "learning_rate seeds mean val nats deviation"
    losses = [run["best_loss"] for run in runs if "learning_rate=0.01," in run["run"]]
    assert ["0.01", "2", f"{statistics.fmean(losses):.4f}", f"{statistics.stdev(losses):.4f}"] in lines


def test_json(char_rnn: Command, swept: Path) -> None:
    done = char_rnn("sweep", "--resume", swept, "--json", "--quiet")
    assert (done.status, done.err) == (0, "")
    found = json.loads(done.out)
    assert found["sweep"] == str(swept)
    assert found["grid"] == {"training.learning_rate": [0.01, 0.001], "training.seed": [1, 2]}
    losses = [run["best_loss"] for run in found["runs"]]
    assert losses == sorted(losses)
    for run in found["runs"]:
        assert run["values"]["training.seed"] in (1, 2)
        assert (run["state"], run["problem"], run["steps"], run["best_step"]) == ("finished", None, 20, 20)
        assert run["best_loss"] == ModelFile.read(Path(run["run"])).training["best_val_loss"]
    [best, other] = found["settings"]
    assert best["mean"] == statistics.fmean(best["losses"]) < other["mean"]
    assert best["values"] == {"training.learning_rate": 0.01}


@pytest.mark.parametrize("width", [80, 200])
def test_the_table_leaves_nothing_out(swept: Path, width: int) -> None:
    grid = {"training.learning_rate_decay_after": [10], "model.embedding_size": [8], "training.seed": [1]}
    values = {key: of[0] for key, of in grid.items()}
    runs = [SweepRun("a", values, None), SweepRun("b", values, None, "failed", "the [disk] is full " + "x" * 100)]
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=False, highlight=False)
    print_tables(SweepResult(swept, grid, runs, stopped=False), console)
    lines = [line for line in out.getvalue().splitlines() if "disk" not in line]
    assert max(map(len, lines)) <= width
    heading = "".join(lines).replace(" ", "")
    if width > 80:
        assert "learning_rate_decay_after" in heading
    for words in ("not started", "failed", "learning_", "embedding_", "\nb: the [disk] is full " + "x" * 100 + "\n"):
        assert words in out.getvalue()
    assert "…" not in out.getvalue()


def test_without_out_the_folder_is_named_after_the_text(
    char_rnn: Command, poem: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    sweep = ["sweep", "quickstart", poem, "--seeds", "5", *BASE, "--set", "training.minutes=null"]
    done = char_rnn(*sweep, "--set", "training.max_steps=3")
    assert done.status == 0, done.err
    assert "run 1 of 1: seed=5\n" in done.err
    assert "3 steps in 0.0 minutes; best validation loss " in done.err
    run = Path("runs/poem-sweep/seed=5")
    assert load_config(run / "config.yaml").training.seed == 5
    again = char_rnn(*sweep, "--set", "training.max_steps=3")
    assert (again.status, again.out, again.err) == (0, done.out, "runs/poem-sweep: 1 run\n")
    assert [path.name for path in Path("runs").iterdir()] == ["poem-sweep"]


def test_minutes_are_a_runs(char_rnn: Command, poem: Path, tmp_path: Path) -> None:
    words = ["--minutes", 0.005, "--set", "training.max_epochs=100000", "--out", tmp_path / "sweep", "-q"]
    done = char_rnn("sweep", "quickstart", poem, "--grid", "model.type=gru,rnn", *BASE, *words)
    assert done.status == 0, done.err
    for kind in ("gru", "rnn"):
        config = load_config(tmp_path / "sweep" / f"type={kind}" / "config.yaml")
        assert config.model.type == kind
        assert config.training.horizons


def test_the_trainer_of_2015_sweeps_too(char_rnn: Command, poem: Path, tmp_path: Path) -> None:
    small = [*SMALL, "--set", "training.max_steps=4", "--set", "logging.tensorboard=false"]
    done = char_rnn("sweep", "torch7", poem, "--seeds", "1,2", *small, "--out", tmp_path / "sweep", "-q")
    assert done.status == 0, done.err
    for seed in (1, 2):
        assert list((tmp_path / "sweep" / f"seed={seed}").glob("lm_lstm_epoch*.safetensors"))


def test_a_run_that_diverges_is_told_and_the_sweep_goes_on(char_rnn: Command, poem: Path, tmp_path: Path) -> None:
    free = ["--set", "training.grad_clip=0", "--set", "training.warmup_steps=0"]
    sweep = ["sweep", "quickstart", poem, "--grid", "training.learning_rate=1e9,1e-2", *free, *SHORT]
    done = char_rnn(*sweep, "--set", "training.minutes=null", "--out", tmp_path / "sweep", "--quiet")
    assert done.status == 1
    lines = [line.split() for line in done.out.splitlines() if line.strip()]
    assert [(line[0], line[-1]) for line in lines[2:4]] == [("0.01", "finished"), ("1000000000.0", "diverged")]
    assert done.err.startswith("error: learning_rate=1000000000.0: stopped at step ")
    assert len(done.err.splitlines()) == 1
    found = json.loads(char_rnn("sweep", "--resume", tmp_path / "sweep", "--json", "-q").out)
    assert [(run["state"], bool(run["problem"])) for run in found["runs"]] == [("finished", False), ("diverged", True)]


class Signal(Callback):
    """Sends this process a signal after a step of a run."""

    def __init__(self, number: int, run: str, step: int) -> None:
        self.number, self.run, self.step = number, run, step

    def on_step(self, trainer: CharRNNTrainer, loss: float) -> None:
        if trainer.step == self.step and trainer.run_dir is not None and trainer.run_dir.name == self.run:
            os.kill(os.getpid(), self.number)


def timeless(text: str) -> list[dict[str, Any]]:
    """The runs of a sweep's JSON without what differs each time."""
    varying = {"run", "seconds", "size", "changed"}
    return [{key: value for key, value in run.items() if key not in varying} for run in json.loads(text)["runs"]]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize(
    ("number", "status", "step", "left"),
    [
        (signal.SIGINT, 130, 7, "step 7 of 20"),
        pytest.param(signal.SIGTERM, 143, 20, "finished", marks=pytest.mark.slow),
    ],
)
def test_a_signal_saves_first_and_the_same_command_goes_on_to_the_same_end(
    char_rnn: Command, poem: Path, swept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    number: int, status: int, step: int, left: str,
) -> None:  # fmt: skip
    """In the middle of the second run, and at its very end."""
    second, file = "learning_rate=0.01,seed=2", swept.parent / "my.yaml"
    sweep = ["sweep", file, poem, *RATES, "--seeds", "1,2", *SHORT, "--set", "logging.sample_length=0"]
    sweep = [*sweep, "--out", tmp_path / "sweep"]
    monkeypatch.setattr(progress, "training_progress", lambda: Signal(number, second, step))
    with disposition(False, number):
        done = char_rnn(*sweep)
    assert (done.status, done.out) == (status, "")
    assert done.err.endswith(f"stopped; continue with: char-rnn sweep --resume {tmp_path / 'sweep'}\n")
    assert left in char_rnn("runs", tmp_path / "sweep" / second).out
    assert not (tmp_path / "sweep" / "learning_rate=0.001,seed=1").exists()
    monkeypatch.setattr(progress, "training_progress", Callback)
    again = char_rnn(*sweep, "--json")
    assert again.status == 0, again.err
    assert ("continues at step 7" in again.err) == (step == 7)
    assert "run 1 of 4" not in again.err
    assert timeless(again.out) == timeless(char_rnn("sweep", "--resume", swept, "--json", "-q").out)
    for run in swept.glob("learning_rate=*"):
        one, other = (
            ModelFile.read(place / run.name / "last.safetensors").tensors for place in (swept, tmp_path / "sweep")
        )
        assert all((one[name] == other[name]).all() for name in one)


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["--seeds", "1,2", "--out", "SWEPT"], 1, "contains another sweep: its grid is training.learning_rate="),
        (["--seeds", "1,2", "--out", "HERE"], 1, "something other than a sweep"),
        (["--seeds", "1,2", "--device", "cuda"], 1, "device cuda: is not available"),
    ],
)  # fmt: skip
def test_refused_for_what_is_there(
    char_rnn: Command, poem: Path, swept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    words: list[str], status: int, message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.txt").touch()
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    places = {"SWEPT": swept, "HERE": tmp_path}
    done = char_rnn("sweep", "quickstart", poem, *(places.get(word, word) for word in words))
    assert done.refused(status, message)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_several_processes_are_refused(char_rnn: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert char_rnn("sweep", "quickstart", "--seeds", "1").refused(2, "leave out torchrun")


def test_nothing_to_go_on_with(char_rnn: Command, run_folder: Path) -> None:
    assert char_rnn("sweep", "--resume", run_folder).refused(1, "no sweep to continue")


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1e-3,2e-3", ["1e-3", "2e-3"]),
        ("[0.9, 0.95],[0.9, 0.99]", ["[0.9, 0.95]", "[0.9, 0.99]"]),
        ("[[0, 5], [5, 9]], null", ["[[0, 5], [5, 9]]", "null"]),
        ("'a,b',\"c,d\",e", ["'a,b'", '"c,d"', "e"]),
        ("'it''s, so',b", ["'it''s, so'", "b"]),
        ('"say \\"a, b\\"",c', ['"say \\"a, b\\""', "c"]),
        ("don't,won't", ["don't", "won't"]),
        ("1,,2,", ["1", "", "2", ""]),
        ("", [""]),
        ("a],b", ["a]", "b"]),
        (" x , y ", ["x", "y"]),
    ],
)
def test_values_are_split_at_commas_outside_brackets(text: str, values: list[str]) -> None:
    assert split_values(text) == values


def test_lists_and_texts_as_values(char_rnn: Command, poem: Path, tmp_path: Path) -> None:
    grid = ["--grid", "training.adam_betas=[0.9,0.95],[0.5,0.99]", "--grid", "generation.prime='so, are',the"]
    more = ["--set", "training.minutes=null", "--set", "training.max_steps=1", "--out", tmp_path / "sweep", "-q"]
    done = char_rnn("sweep", "quickstart", poem, *grid, *BASE, *more)
    assert done.status == 0, done.err
    config = load_config(tmp_path / "sweep" / "adam_betas=0.5-0.99,prime=so-are" / "config.yaml")
    assert (config.training.adam_betas, config.generation.prime) == ((0.5, 0.99), "so, are")


REFUSED: dict[str, tuple[list[str], str]] = {
    "no recipe": ([], r"Missing argument 'RECIPE'"),
    "no grid": (["quickstart", "TEXT"], r"the grid is empty: give --grid"),
    "no values": (["quickstart", "TEXT", "--grid", "training.seed="], r"--grid training\.seed=: has no values"),
    "no equals sign": (["quickstart", "TEXT", "--grid", "training.seed"], r"--grid training\.seed: has no values"),
    "an empty value": (["quickstart", "TEXT", "--grid", "training.minutes=1,"], r"has an empty value"),
    "seeds that are none": (["quickstart", "TEXT", "--seeds", "a,b"], r"--seeds a: must be"),
    "no seeds": (["quickstart", "TEXT", "--seeds", ""], r"--seeds .*a seed is missing"),
    "an unknown key": (["quickstart", "TEXT", "--grid", "training.rate=1,2"], r"--grid training\.rate=1: unknown key"),
    "an unknown section": (["quickstart", "TEXT", "--grid", "seed=1,2"], r"did you mean training\.seed"),
    "a wrong value": (["quickstart", "TEXT", "--grid", "model.dropout=0.1,2"], r"dropout=2.*to below 1; given 2"),
    "a wrong first value": (["quickstart", "TEXT", "--grid", "model.dropout=2"], r"--grid model\.dropout=2: must be"),
    "a value twice": (["quickstart", "TEXT", "--grid", "model.dropout=0.5,5e-1"], r"model\.dropout=0\.5 twice"),
    "a key twice": (["quickstart", "TEXT", "--seeds", "1", "--grid", "training.seed=2"], r"seed is in the grid twice"),
    "a key set too": (["quickstart", "TEXT", "--seeds", "1", "--set", "training.seed=2"], r"given by --set train"),
    "minutes set too": (["quickstart", "TEXT", "--grid", "training.minutes=1", "--minutes", "2"], r"by --minutes"),
    "a text set too": (["quickstart", "TEXT", "--grid", "data.data_dir=a,b"], r"both in the grid and given by DATA"),
    "a conflict": (
        ["quickstart", "TEXT", "--grid", "model.embedding_size=4,null", "--grid", "model.embedding=learned,one-hot"],
        r"model\.embedding_size=4 model\.embedding=one-hot: .*set model\.embedding_size to null",
    ),
    "no such recipe": (["quikstart", "TEXT", "--seeds", "1"], r"did you mean quickstart"),
    "no such file": (["no.yaml", "TEXT", "--seeds", "1"], r"no\.yaml: no such file"),
    "no such text": (["quickstart", "no.txt", "--seeds", "1"], r"no\.txt: no such file"),
    "resume and a grid": (["--resume", "DIR", "--seeds", "1"], r"leave out all options but --device"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused_in_one_line_and_nothing_made(
    char_rnn: Command, poem: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    words, expected = REFUSED[name]
    done = char_rnn("sweep", *(str(poem) if word == "TEXT" else word for word in words))
    assert done.refused(2)
    assert re.search(expected, done.err)
    assert not list(tmp_path.iterdir())
