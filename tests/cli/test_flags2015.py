"""``char-rnn train`` with the flags of train.lua: each sets what it set then."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
import torch
from cli_helpers import SMALL, Command

from char_rnn.cells import BUILT_IN
from char_rnn.cli.train import command
from char_rnn.cli.train_options import TrainOptions
from char_rnn.model_file import ModelFile
from char_rnn.torch7 import FLAGS
from char_rnn.utils.config import Config, ConfigError, compose_config, load_config

CELLS = ", ".join(BUILT_IN)
TINY = ["-rnn_size", "6", "-num_layers", "1", "-batch_size", "4", "-seq_length", "10", "-max_epochs", "1"]


def request(*arguments: object) -> TrainOptions:
    return TrainOptions.of(**command.make_context("train", [str(argument) for argument in arguments]).params)


def config(*arguments: object) -> Config:
    return request(*arguments).config()


def changes(found: Config, base: Config) -> dict[str, Any]:
    """What differs, by key."""
    before, after = base.model_dump(), found.model_dump()
    return {f"{s}.{k}": value for s in after for k, value in after[s].items() if before[s][k] != value}


TRAIN_LUA = {
    "-data_dir corpus": {"data.data_dir": "corpus"},
    "-rnn_size 512": {"model.hidden_size": 512},
    "-num_layers 3": {"model.num_layers": 3},
    "-model gru": {"model.type": "gru"},
    "-learning_rate 0.01": {"training.learning_rate": 0.01},
    "-learning_rate_decay 0.5": {"training.learning_rate_decay": 0.5},
    "-learning_rate_decay 1": {"training.learning_rate_decay": 1.0},
    "-learning_rate_decay 2": {"training.learning_rate_decay": 1.0},
    "-learning_rate_decay_after 3": {"training.learning_rate_decay_after": 3},
    "-decay_rate 0.9": {"training.decay_rate": 0.9},
    "-dropout 0.5": {"model.dropout": 0.5},
    "-seq_length 100": {"training.seq_length": 100},
    "-batch_size 1e2": {"training.batch_size": 100},
    "-max_epochs 3": {"training.max_epochs": 3},
    "-grad_clip 1": {"training.grad_clip": 1.0},
    "-train_frac 0.8": {"data.train_frac": 0.8},
    "-val_frac 0.01": {"data.val_frac": 0.01},
    "-init_from cv/lm.t7": {},
    "-init_from ''": {},
    "-seed 7": {"training.seed": 7},
    "-print_every 10": {"logging.log_interval": 10},
    "-eval_val_every 500": {"training.eval_interval": 500},
    "-checkpoint_dir out": {"logging.checkpoint_dir": "out"},
    "-savefile mine": {"logging.savefile": "mine"},
    "-accurate_gpu_timing 1": {},
    "-gpuid -1": {},
    "-opencl 0": {},
}
TODAY = {
    "-learning_rate_decay 0.5": {"training.learning_rate_decay": 0.5, "training.schedule": "exponential"},
    "-learning_rate_decay 1": {"training.learning_rate_decay": 1.0, "training.schedule": "exponential"},
    "-learning_rate_decay 2": {"training.learning_rate_decay": 1.0, "training.schedule": "exponential"},
    "-learning_rate_decay_after 3": {"training.learning_rate_decay_after": 3, "training.schedule": "exponential"},
    "-decay_rate 0.9": {"training.decay_rate": 0.9, "training.optimizer": "rmsprop"},
    "-gpuid -1": {"device.preferred": "cpu", "device.auto_detect": False},
}


def words(line: str) -> list[str]:
    return [word.strip("'") for word in line.split()]


@pytest.mark.parametrize("line", TRAIN_LUA)
def test_each_flag_sets_its_value_in_the_recipe_of_2015(line: str) -> None:
    assert changes(config("--torch7", *words(line)), compose_config("torch7")) == TRAIN_LUA[line]


@pytest.mark.parametrize("line", TRAIN_LUA)
def test_each_flag_sets_its_value_over_todays_defaults(line: str) -> None:
    assert changes(config(*words(line)), Config()) == TODAY.get(line, TRAIN_LUA[line])


def test_no_flag_of_train_lua_is_missing() -> None:
    names = {line.split()[0].removeprefix("-") for line in TRAIN_LUA}
    elsewhere = {"data_dir", "init_from", "seed", "accurate_gpu_timing", "gpuid", "opencl"}
    assert names == set(FLAGS) | elsewhere
    assert len(names) == 24


def test_the_flags_stay_out_of_the_help(char_rnn: Command) -> None:
    shown = char_rnn("train", "--help").out
    assert "--torch7" in shown
    assert "-rnn_size " not in shown.split("Options")[-1]


def test_init_from_is_passed_on() -> None:
    assert request("-init_from", "cv/lm.t7").init_from == "cv/lm.t7"
    assert request("-init_from", "").init_from is None


@pytest.mark.parametrize("flag", ["-rnn_size", "-num_layers", "-model"])
def test_a_model_to_start_from_keeps_its_architecture(flag: str) -> None:
    value = "gru" if flag == "-model" else "3"
    with pytest.raises(click.UsageError, match=r"^--init-from uses the architecture of the model: leave out -model"):
        request("--init-from", "cv/lm.t7", flag, value)
    assert request("--torch7", "-init_from", "cv/lm.t7", flag, value).init_from == "cv/lm.t7"  # as train.lua


def test_a_flag_wins_over_set_and_set_over_what_a_flag_implies() -> None:
    found = config("-decay_rate", 0.9, "-rnn_size", 9, "--set", "model.hidden_size=8", "--set",
                   "training.optimizer=adamw")  # fmt: skip
    assert (found.model.hidden_size, found.training.decay_rate, found.training.optimizer) == (9, 0.9, "adamw")


def test_a_recipe_or_a_file_takes_the_place_of_the_recipe_of_2015(tmp_path: Path) -> None:
    file = tmp_path / "my.yaml"
    file.write_text("model: {hidden_size: 8}\n")
    for arguments in (["--recipe", "default"], ["--config", file]):
        with pytest.raises(click.UsageError, match=r"--torch7 needs training\.trainer=torch7, .* has modern"):
            config("--torch7", *arguments)
    assert config("--torch7", "--recipe", "torch7").training.trainer == "torch7"


@pytest.mark.parametrize(("seed", "taken"), [(-5, 2**32 - 5), (4294967300, 4), (123, 123)])
def test_seeds_are_taken_as_the_generator_of_2015_took_them(seed: int, taken: int) -> None:
    assert config("--torch7", "-seed", seed).training.seed == taken


@pytest.mark.parametrize(
    ("given", "fractions"),
    [
        (["-train_frac", "0.98"], (0.98, 1 - 0.98)),
        (["-train_frac", "1"], (1.0, 0.0)),
        (["-val_frac", "0.2"], (0.95, 1 - 0.95)),
        (["-train_frac", "0.9", "-val_frac", "0.3"], (0.9, 1 - 0.9)),
        (["-train_frac", "0.8", "-val_frac", "0.1"], (0.8, 0.1)),
        (["-train_frac", "0.8"], (0.8, 0.05)),
        (["--set", "data.train_frac=0.98", "-val_frac", "0.02"], (0.98, 0.02)),
    ],
)
def test_fractions_beyond_the_whole_leave_validation_the_rest(given: list[str], fractions: tuple[float, float]) -> None:
    data = config("--torch7", *given).data
    assert (data.train_frac, data.val_frac) == fractions
    assert 1 - (data.train_frac + data.val_frac) <= 0 or fractions in {(0.8, 0.1), (0.8, 0.05)}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-rnn_size", "0"], "-rnn_size 0: must be a whole number from 1 to 65,536; given 0"),
        (["-rnn_size", "big"], "-rnn_size big: must be a whole number from 1 to 65,536; given 'big'"),
        (["-model", "lsmt"], f"-model lsmt: must be one of {CELLS}; given 'lsmt'; did you mean lstm?"),
        (["-dropout", "1"], "-dropout 1: must be a number from 0 to below 1; given 1"),
        (["-train_frac", "1.5"], "-train_frac 1.5: must be a number more than 0 and at most 1; given 1.5"),
        (["-train_frac", "most"], "-train_frac most: must be a number more than 0 and at most 1; given 'most'"),
        (["-val_frac", "-1"], "-val_frac -1: must be a number from 0 to below 1; given -1"),
        (["-learning_rate_decay", "0"], "-learning_rate_decay 0: must be a number more than 0 and at most 1; given 0"),
        (["-savefile", "a/b"], "-savefile a/b: must be a file name or null; given 'a/b'"),
        (["--seed", "-5"], "--seed -5: must be a whole number from 0 to 9,223,372,036,854,775,807; given -5"),
    ],
)
def test_a_bad_value_is_named_as_it_was_given(arguments: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config(*arguments)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-opencl", "1"], r"-opencl 1: OpenCL is not supported; .* give -gpuid 0 \(NVIDIA, AMD\) or --device mps"),
        (["-gpuid", "one"], r"'-gpuid': 'one' is not a valid integer"),
        (["-gpuid", "0", "--device", "cpu"], r"--device and -gpuid both name the device"),
        (["a.txt", "-data_dir", "b"], r"DATA and -data_dir both name the text"),
        (["-rnnsize", "5"], r"No such option:? '?-rnnsize.*-rnn_size"),
        (["--torch7", "--vocabulary", "characters"], r"--vocabulary characters: training\.trainer torch7 needs"),
        (["-rnn_size", "8", "-rnn_sze", "9"], r"No such option:? '?-rnn_sze'?\W+Did you mean:? '?-rnn_size'?\?? \(see"),
        (["-print_every", "8", "-patience", "3"], r"No such option:? '?-patience'?\.? \(see"),
        (["--torch7", "--minutes", "3"], r"--torch7 has no --minutes: give -max_epochs, or leave out --torch7"),
    ],
)
def test_a_bad_command_line_is_one_line_and_status_2(char_rnn: Command, arguments: list[str], message: str) -> None:
    done = char_rnn("train", *arguments)
    assert done.refused(2)
    assert re.search(message, done.err), done.err


def test_without_cuda_a_gpu_is_the_cpu_with_a_warning(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert changes(config("--torch7", "-gpuid", 0), compose_config("torch7")) == {}
    warned = capsys.readouterr().err
    assert warned == "warning: -gpuid 0: no such CUDA device; falling back to the CPU\n"


def test_on_cuda_the_numbers_are_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for gpuid, name in ((0, "cuda"), (1, "cuda:1")):
        asked = request("--torch7", "-gpuid", gpuid)
        found = asked.config()
        assert changes(found, compose_config("torch7")) == {
            "training.precision": "float32",
            "device.preferred": "cuda",
        }
        assert asked.device_name(found) == name
        assert not asked.insists_on_device
    assert config("--torch7", "-gpuid", 2).device.preferred == "cpu"
    assert config("--torch7", "-gpuid", 0, "--set", "training.precision=float64").training.precision == "float64"


LINE = (
    r"{step}/{total} \(epoch \d\.\d{{3}}\), train_loss = \d\.\d{{8}}, grad/param norm = \d\.\d{{4}}e[-+]\d\d, "
    r"time/batch = \d+\.\d{{4}}s"
)


@pytest.fixture
def folder(poem: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a 2015 data folder in it."""
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "input.txt").write_bytes(poem.read_bytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_torch7_prints_the_lines_of_train_lua_and_nothing_else(char_rnn: Command, folder: Path) -> None:
    done = char_rnn("train", "--torch7", "-data_dir", "corpus", *TINY, "-eval_val_every", 40, "-savefile", "poem")
    assert (done.status, done.err) == (0, "")
    lines = done.out.splitlines()
    total = 65
    steps = [line for line in lines if "train_loss" in line]
    assert len(steps) == total
    for step, line in enumerate(steps, 1):
        assert re.fullmatch(LINE.format(step=step, total=total), line), line
    assert "vocab size: 23" in lines
    assert "Number of data batches in train: 65, val: 4, test: 0" in done.out
    saved = [line.removeprefix("saving checkpoint to ") for line in lines if line.startswith("saving")]
    assert [Path(name).exists() for name in saved] == [True, True]
    assert re.fullmatch(r"cv/lm_poem_epoch0\.62_\d\.\d{4}\.safetensors", saved[0])
    file = ModelFile.read(saved[1])
    assert (file.vocabulary.kind, file.training["step"]) == ("bytes", 65)
    assert file.tensors["lstm.weight_hh_l0"].dtype == "float64"


def test_torch7_repeats_and_resumes(char_rnn: Command, folder: Path) -> None:
    arguments = ["train", "--torch7", "-data_dir", "corpus", *TINY, "-dropout", 0.3, "-eval_val_every", 10]
    assert char_rnn(*arguments, "--out", "whole", "-q").status == 0
    assert char_rnn(*arguments, "--out", "parts", "--set", "training.max_steps=30", "-q").status == 0
    done = char_rnn("train", "--torch7", "--resume", "parts", "--set", "training.max_steps=null")
    assert (done.status, done.err) == (0, "")
    assert "\n31/65 (epoch " in done.out
    assert "\n30/65" not in done.out
    whole, parts = (ModelFile.read(Path(name) / "last.safetensors").tensors for name in ("whole", "parts"))
    assert all((whole[name] == parts[name]).all() for name in whole)
    assert list(Path("whole").glob("lm_lstm_epoch1.00_*.safetensors"))
    assert not Path("cv").exists()


def test_flags_on_todays_trainer(char_rnn: Command, folder: Path) -> None:
    done = char_rnn("train", "-data_dir", "corpus", *TINY, "-model", "gru", "-decay_rate", 0.9, *SMALL[8:],
                    "--out", "run", "--set", "training.max_steps=3")  # fmt: skip
    assert done.status == 0, done.err
    found = load_config("run/config.yaml")
    assert (found.training.trainer, found.training.optimizer, found.model.type) == ("modern", "rmsprop", "gru")
    assert "validation:" in done.err


def test_a_t7_as_init_from_that_is_none_is_one_line(char_rnn: Command, folder: Path) -> None:
    Path("lm.t7").write_bytes(b"\x09\0\0\0")
    done = char_rnn("train", "-data_dir", "corpus", "-init_from", "lm.t7")
    assert done.status == 1
    assert re.fullmatch(r"error: lm\.t7: .*\n", done.err)


def test_the_script_is_train_lua(folder: Path) -> None:
    script = Path(__file__).parents[2] / "scripts" / "train.py"
    done = subprocess.run(
        [sys.executable, str(script), "-data_dir", "corpus", *TINY, "-print_every", "30"],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split()[0] for line in done.stdout.splitlines() if "train_loss" in line] == ["30/65", "60/65"]
