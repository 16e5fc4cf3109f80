"""``char-rnn train``: what it leaves, prints and takes."""

from __future__ import annotations

import gzip
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import cycle
from pathlib import Path

import pytest
from cli_helpers import SMALL, TEXT, Command
from processes import disposition

from char_rnn.cells import BUILT_IN
from char_rnn.kernels import level
from char_rnn.model_file import ModelFile
from char_rnn.utils.config import load_config
from char_rnn.utils.model_files import read_tensors, write_tensors


def steps(number: int) -> list[str]:
    return ["--set", f"training.max_steps={number}"]


def test_a_run_prints_its_progress_and_a_sample(
    char_rnn: Command, poem: Path, tmp_path: Path, whole_sample: None
) -> None:
    out = tmp_path / "run"
    done = char_rnn("train", poem, "--out", out, *SMALL, *steps(20), "--set", "training.eval_interval=10")
    assert done.status == 0
    assert sorted(path.name for path in out.iterdir()) == [
        "best.safetensors",
        "config.yaml",
        "last.safetensors",
        "metrics.jsonl",
        "samples.jsonl",
        "tensorboard",
        "training_state.safetensors",
    ]
    assert len(done.out) == 601
    assert set(done.out) <= set(TEXT)
    assert "poem: 2,760 characters, 23 distinct" in done.err
    assert "the validation split has only 138 characters, so" in done.err
    assert f"\non CPU, 1 thread, float32, {f'kernels ({level()})' if level() else 'PyTorch'}" in done.err
    assert done.err.count(" val ") == 2
    assert "validation:" in done.err
    assert f"char-rnn sample {out}" in done.err
    assert load_config(out / "config.yaml").training.max_steps == 20


def test_quiet_prints_only_the_sample(char_rnn: Command, poem: Path, tmp_path: Path) -> None:
    done = char_rnn("train", poem, "--out", tmp_path / "run", *SMALL, *steps(5), "--quiet")
    assert (done.status, done.err) == (0, "")
    assert done.out


def test_quiet_does_not_name_the_files_that_are_left_out(
    char_rnn: Command, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    books = tmp_path / "books"
    books.mkdir()
    (books / "a.txt").write_text(TEXT)
    (books / "picture.png").write_bytes(b"\x89PNG\0")
    settings = (*SMALL, *steps(2))
    assert char_rnn("train", books, "--out", tmp_path / "a", *settings, "--quiet").status == 0
    assert not caplog.records
    assert char_rnn("train", books, "--out", tmp_path / "b", *settings).status == 0
    assert "left out: picture.png (a binary file)" in caplog.text


def test_the_same_seed_is_the_same_run(char_rnn: Command, poem: Path, tmp_path: Path) -> None:
    outcomes = [
        char_rnn("train", poem, "--out", tmp_path / name, *SMALL, *steps(10), "--seed", seed, "--quiet").out
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    assert outcomes[0] == outcomes[1] != outcomes[2]


def test_the_run_is_named_after_the_text_and_never_overwritten(
    char_rnn: Command, poem: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert char_rnn("train", poem, *SMALL, *steps(3), "--quiet").status == 0
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["poem", "poem-2"]
    assert sorted(path.name for path in (tmp_path / "logs").iterdir()) == ["poem", "poem-2"]
    assert list((tmp_path / "logs" / "poem").glob("events*"))


def test_later_wins(char_rnn: Command, poem: Path, tmp_path: Path) -> None:
    """Recipe, then file, then --set, then the other flags."""
    file = tmp_path / "my.yaml"
    file.write_text("model:\n  hidden_size: 9\n  num_layers: 3\ntraining:\n  seed: 5\n  minutes: null\n")
    done = char_rnn(
        "train", poem, "--recipe", "quickstart", "--config", file, "--set", "model.hidden_size=7", *steps(2),
        "--set", "training.batch_size=2", "--seed", 6, "--out", tmp_path / "run", "--quiet",
    )  # fmt: skip
    assert done.status == 0
    config = load_config(tmp_path / "run" / "config.yaml")
    assert (config.model.hidden_size, config.model.num_layers, config.training.seed) == (7, 3, 6)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.mark.parametrize("kind", ["folder", "input.txt", "gz", "stdin"])
def test_where_a_text_may_come_from(
    char_rnn: Command, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch, stack: ExitStack
) -> None:
    source: Path | str
    if kind == "folder":
        source = tmp_path / "folder"
        source.mkdir()
        (source / "b.txt").write_text(TEXT)
        (source / "a.txt").write_text("Ahem.\n")
    elif kind == "input.txt":
        source = tmp_path / "folder"
        source.mkdir()
        (source / "input.txt").write_text(TEXT)
    elif kind == "gz":
        source = tmp_path / "text.txt.gz"
        source.write_bytes(gzip.compress(TEXT.encode()))
    else:
        source = "-"
        standard_input = tmp_path / "stdin"
        standard_input.write_text(TEXT)
        stream = stack.enter_context(standard_input.open())
        monkeypatch.setattr("sys.stdin", stream)
    done = char_rnn("train", source, "--out", tmp_path / "run", *SMALL, *steps(3))
    assert done.status == 0, done.err
    assert ("2,766" if kind == "folder" else "2,760") in done.err


@pytest.mark.parametrize(("cell", "vocabulary"), [*zip(BUILT_IN, cycle(["characters", "bytes"]), strict=False)])
def test_every_cell_and_vocabulary_trains_samples_and_evaluates(
    char_rnn: Command, tmp_path: Path, cell: str, vocabulary: str
) -> None:
    text = tmp_path / "café.txt"
    text.write_text("Un café, s'il vous plaît. 🌹\r\n" * 60, encoding="utf-8", newline="")
    run = tmp_path / "run"
    done = char_rnn(
        "train", text, "--out", run, *SMALL, *steps(20), "--set", f"model.type={cell}", "--vocabulary", vocabulary, "-q"
    )
    assert done.status == 0, done.err
    assert ModelFile.read(run).vocabulary.kind == vocabulary
    sampled = char_rnn("sample", run, "--prime", "Un café", "--length", 50, "--seed", 3, "-q")
    assert (sampled.status, sampled.err) == (0, "")
    assert sampled.out.startswith("Un café")
    assert char_rnn("eval", run, text, "--json").status == 0


def test_resume_goes_on_to_the_very_same_end(char_rnn: Command, poem: Path, tmp_path: Path) -> None:
    def train(name: str, number: int, *more: str) -> None:
        arguments = [poem, "--out", tmp_path / name] if not more else []
        assert char_rnn("train", *arguments, *more, *SMALL, *steps(number), *schedule, "--quiet").status == 0

    # the cosine is the same however far the run is to go
    schedule = ["--set", "training.horizons=[[0, 100]]", "--set", "training.warmup_steps=0"]
    train("straight", 40)
    train("parts", 17)
    train("parts", 40, "--resume", str(tmp_path / "parts"))
    ends = [ModelFile.read(tmp_path / name / "last.safetensors").tensors for name in ("straight", "parts")]
    assert all((ends[0][name] == ends[1][name]).all() for name in ends[0])


def test_init_from_takes_weights_and_vocabulary(char_rnn: Command, run_folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    other.write_text("the violet is sweet, and so is the rose.\n" * 30)
    done = char_rnn("train", other, "--init-from", run_folder, "--out", tmp_path / "run", *steps(1), *SMALL[4:], "-q",
                    "--set", "training.learning_rate=1e-12")  # fmt: skip
    assert done.status == 0, done.err
    old, new = ModelFile.read(run_folder), ModelFile.read(tmp_path / "run" / "last.safetensors")
    assert new.vocabulary == old.vocabulary
    assert new.training["init_from"] == run_folder.name
    assert all(abs(new.tensors[name] - old.tensors[name]).max() < 1e-6 for name in old.tensors)


def test_a_run_started_from_a_model_can_be_resumed(char_rnn: Command, run_folder: Path, tmp_path: Path) -> None:
    """Its vocabulary is the model's, not the text's."""
    other = tmp_path / "other.txt"
    other.write_text("the violet is sweet, and so is the rose.\n" * 30)
    run = tmp_path / "run"
    assert char_rnn("train", other, "--init-from", run_folder, "--out", run, *steps(5), *SMALL[4:], "-q").status == 0
    done = char_rnn("train", "--resume", run, *steps(9), "-q")
    assert done.status == 0, done.err
    resumed = ModelFile.read(run / "last.safetensors")
    assert resumed.training["step"] == 9
    assert resumed.training["init_from"] == run_folder.name
    assert resumed.vocabulary == ModelFile.read(run_folder).vocabulary


def test_a_vocabulary_grows_and_inspect_gives_the_command_again(
    char_rnn: Command, run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("other.txt").write_text("the violet is süß, — and so is the rose.\n" * 30, encoding="utf-8")
    shutil.copy(run_folder / "best.safetensors", "old.safetensors")
    grow = ("other.txt", "--init-from", "old.safetensors", "--grow-vocabulary", "--set", "model.initialization=xavier")
    done = char_rnn("train", *grow, "--out", "run", *steps(3), *SMALL[4:])
    assert done.status == 0, done.err
    assert "\n3 new symbols: ß ü —\n" in done.err
    shown = char_rnn("inspect", "run").out
    assert "  started from  old.safetensors, with 3 new symbols: ß ü —\n" in shown
    command = shlex.split(shown.partition("To train it again (with names in place of paths):\n")[2])
    command[2] += ".txt"
    assert char_rnn(*command[1:], "--out", "again", "-q").status == 0
    first, again = (ModelFile.read(name) for name in ("run", "again"))
    assert again.vocabulary == first.vocabulary
    assert all((again.tensors[name] == tensor).all() for name, tensor in first.tensors.items())


def test_a_text_without_new_symbols_is_a_note(char_rnn: Command, run_folder: Path, poem: Path, tmp_path: Path) -> None:
    arguments = ("--init-from", run_folder, "--grow-vocabulary", "--out", tmp_path / "run", *steps(1), *SMALL[4:])
    done = char_rnn("train", poem, *arguments)
    assert (done.status, "no new symbols: the model has all symbols of the text" in done.err) == (0, True)


def test_of_many_new_symbols_the_first_are_named(char_rnn: Command, run_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "other.txt"
    path.write_text("".join(map(chr, range(0x4E00, 0x4E00 + 900))), encoding="utf-8")
    arguments = ("--init-from", run_folder, "--grow-vocabulary", "--out", tmp_path / "run", *steps(1), *SMALL[4:])
    shown = " ".join(map(chr, range(0x4E00, 0x4E00 + 30)))
    assert f"\n900 new symbols: {shown} and 870 more\n" in char_rnn("train", path, *arguments).err


def test_what_is_set_on_resuming_stays(char_rnn: Command, run_folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(run_folder, run)
    assert char_rnn("train", "--resume", run, *steps(63), "--set", "logging.log_interval=3", "-q").status == 0
    assert load_config(run / "config.yaml").logging.log_interval == 3


@pytest.mark.skipif(sys.platform in {"win32", "darwin"}, reason="has no file names that are not UTF-8")
def test_names_that_are_not_utf8_come_back(
    char_rnn: Command, poem: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text, run = (tmp_path / os.fsdecode(name) for name in (b"caf\xe9.txt", b"r\xe9"))
    shutil.copy(poem, text)
    begun = char_rnn("train", text, "--out", run, *SMALL, "--set", "training.max_steps=4")
    assert (begun.status, caplog.text.count("r\\xe9/tensorboard: not UTF-8")) == (0, 1)
    again = ["train", "--resume", run, "--quiet", "--set", "training.max_steps=6", "--set", "logging.tensorboard=false"]
    for command in (again, ["sample", run, "--length", 5], ["inspect", run], ["runs", run], ["eval", run, text]):
        assert char_rnn(*command).status == 0
    assert char_rnn("train", text, "--torch7", "--out", f"{run}2", *SMALL[:-4], "-max_epochs", 1).status == 0
    assert load_config(f"{run}2/config.yaml").logging.checkpoint_dir == f"{run}2"


def test_a_folder_whose_run_saved_nothing_is_free(char_rnn: Command, poem: Path, tmp_path: Path) -> None:
    diverging = ["--set", "training.learning_rate=1e9", "--set", "training.grad_clip=0", *steps(50)]
    done = char_rnn("train", poem, "--out", tmp_path / "run", *SMALL, *diverging, "--set", "training.warmup_steps=0")
    assert done.status == 1
    assert "nothing was saved yet" in done.err
    assert char_rnn("train", poem, "--out", tmp_path / "run", *SMALL, *steps(3), "-q").status == 0


def test_minutes_plan_a_timed_run_anew(char_rnn: Command, poem: Path, tmp_path: Path) -> None:
    file = tmp_path / "timed.yaml"
    file.write_text("training:\n  max_steps: 50\n  horizons: [[0, 50]]\n  max_epochs: 100000\n")
    arguments = ["train", poem, *SMALL, "--config", file, "--minutes", 0.02, "--out", tmp_path / "run", "-q"]
    assert char_rnn(*arguments).status == 0
    assert load_config(tmp_path / "run" / "config.yaml").training.horizons != [(0, 50)]


def test_minutes_keep_the_limits_of_a_configuration(char_rnn: Command, poem: Path, tmp_path: Path) -> None:
    file = tmp_path / "limited.yaml"
    file.write_text("training:\n  max_steps: 7\n")
    arguments = ["train", poem, *SMALL, "--config", file, "--minutes", 5, "--out", tmp_path / "run", "-q"]
    assert char_rnn(*arguments).status == 0
    assert ModelFile.read(tmp_path / "run" / "last.safetensors").training["step"] == 7


@pytest.mark.slow
def test_minutes_record_the_steps_they_came_to(char_rnn: Command, poem: Path, tmp_path: Path) -> None:
    more = ["--set", "training.max_epochs=100000", "--quiet"]
    assert char_rnn("train", poem, *SMALL, *more, "--minutes", 0.05, "--out", tmp_path / "timed").status == 0
    config = load_config(tmp_path / "timed" / "config.yaml")
    assert config.training.minutes is None
    done = ModelFile.read(tmp_path / "timed" / "last.safetensors")
    assert config.training.max_steps == done.training["step"] > 10
    again = char_rnn("train", "--config", tmp_path / "timed" / "config.yaml", "--out", tmp_path / "again", "--quiet")
    assert again.status == 0, again.err
    repeated = ModelFile.read(tmp_path / "again" / "last.safetensors")
    assert all((done.tensors[name] == repeated.tensors[name]).all() for name in done.tensors)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)]
)
def test_a_signal_saves_first(poem: Path, tmp_path: Path, number: int, status: int) -> None:
    run = tmp_path / "my run (1)"
    command = [sys.executable, "-m", "char_rnn", "train", str(poem), "--out", str(run), *SMALL]
    endless = ["--set", "training.max_epochs=1000000", "--set", "device.threads=1"]
    with disposition(False, signal.SIGINT):
        process = subprocess.Popen([*command, *endless], stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    with process:
        wait_for_metrics(run, process)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert process.returncode == status
    assert f"continue with: char-rnn train --resume '{run}'\n".encode() in err
    assert b"Traceback" not in err
    assert (run / "training_state.safetensors").exists()
    assert not list(run.glob("*.tmp"))


def wait_for_metrics(run: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while not (run / "metrics.jsonl").exists() or not (run / "metrics.jsonl").stat().st_size:
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_a_closed_terminal_saves_first(poem: Path, tmp_path: Path) -> None:
    """The system then sends SIGHUP, and nothing can be printed any more."""
    import pty

    ours, theirs = pty.openpty()
    run, states = tmp_path / "run", tmp_path / "run" / "training_state.safetensors"
    own = (
        "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
        " os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    )
    command = [sys.executable, "-c", own, "-m", "char_rnn", "train", str(poem), "--out", str(run), *SMALL]
    endless = ["--set", "training.max_epochs=1000000", "--set", "logging.save_interval=1000000"]
    with disposition(False, signal.SIGHUP), subprocess.Popen(
        [*command, *endless, "--set", "training.eval_interval=1000000", "--set", "device.threads=1"],
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
    ) as process:  # fmt: skip
        os.close(theirs)
        wait_for_metrics(run, process)
        before = states.stat().st_mtime_ns
        os.close(ours)
        assert process.wait(60) == 128 + signal.SIGHUP
    assert states.stat().st_mtime_ns > before


def test_a_run_folder_can_be_moved(char_rnn: Command, run_folder: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    shutil.copytree(run_folder, moved)
    done = char_rnn("train", "--resume", moved, "--set", "training.max_steps=65", "--quiet")
    assert done.status == 0, done.err
    assert ModelFile.read(moved / "last.safetensors").training["step"] == 65


def test_metrics_are_json_lines_with_the_stated_keys(run_folder: Path) -> None:
    records = [json.loads(line) for line in (run_folder / "metrics.jsonl").read_text().splitlines()]
    for record in records:
        assert {"step", "epoch", "split", "loss", "bits_per_character", "perplexity", "seconds"} <= set(record)
    assert [record["split"] for record in records][-2:] == ["val", "test"]


@pytest.mark.slow
def test_a_script_is_the_command(poem: Path, tmp_path: Path) -> None:
    script = Path(__file__).parents[2] / "scripts" / "train.py"
    done = subprocess.run(
        [sys.executable, str(script), str(poem), "--out", str(tmp_path / "run"), *SMALL, *steps(2), "-q"],
        capture_output=True,
        env={**os.environ, "PYTHONUTF8": "0"},
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_several_files_are_found_again(char_rnn: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.txt").write_text(f"{name}: {TEXT}")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    done = char_rnn("train", "one.txt", "two.txt", "--separator", r"\n\n", "--out", "run", *SMALL, *steps(5))
    assert f"one-and-1-more: {2 * len(TEXT) + 12:,} characters" in done.err
    monkeypatch.chdir("elsewhere")
    resumed = char_rnn("train", "--resume", "../run", *steps(8))
    assert "continues at step 5" in resumed.err
    config = load_config("../run/config.yaml").data
    assert (config.separator, config.data_dir) == ("\n\n", [str(tmp_path / "one.txt"), str(tmp_path / "two.txt")])
    assert "on the val split of one-and-1-more" in char_rnn("eval", "../run", "../one.txt", "../two.txt").err
    copied = char_rnn("novelty", "../run", "../one.txt", "../two.txt", "--length", 50, "--num-samples", 1)
    assert (copied.status, "is not the text" in copied.err) == (0, False)


def test_a_run_of_version_1_0_reads_a_folder_in_its_order(char_rnn: Command, tmp_path: Path) -> None:
    books, run = tmp_path / "books", tmp_path / "run"
    books.mkdir()
    for number in (1, 2, 10):
        (books / f"{number}.txt").write_text(f"{number}: {TEXT}")
    path_order = ("--set", "data.file_order=path")
    assert char_rnn("train", books, "--out", run, *SMALL, *steps(5), *path_order).status == 0
    for name in ("best", "last"):  # as version 1.0 wrote them: without the keys that are new
        tensors, metadata = read_tensors(run / f"{name}.safetensors")
        config = json.loads(metadata["config"])
        del config["data"]["file_order"], config["data"]["separator"]
        write_tensors(run / f"{name}.safetensors", tensors, {**metadata, "config": json.dumps(config)})
    lines = (run / "config.yaml").read_text().splitlines()
    (run / "config.yaml").write_text("\n".join(line for line in lines if "file_order" not in line))
    assert "continues at step 5" in char_rnn("train", "--resume", run, *steps(8)).err
    assert "on the val split" in char_rnn("eval", run, books).err
