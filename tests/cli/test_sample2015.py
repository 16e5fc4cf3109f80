"""``char-rnn sample`` with the flags, the random numbers and the lines of sample.lua and torch-rnn."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cli_helpers import Command, Outcome, loaded

from char_rnn.data.vocabulary import Vocabulary
from char_rnn.model_file import ModelFile
from char_rnn.torch7.layout import linears, to_tensors
from char_rnn.torch7.random import Generator
from char_rnn.torch7.sampling import sample_torch7, sample_torch_rnn
from char_rnn.utils.config import Config

SIZES = ("gru", 8, 6, 1)
DASHES = "-" * 26
SCRIPT = Path(__file__).parents[2] / "scripts" / "sample.py"


@pytest.fixture(scope="module")
def file() -> ModelFile:
    count = sum(linear.size for linear in linears(*SIZES))
    tensors = to_tensors(*SIZES, Generator(1).uniform(-2, 2, count))
    settings = {"type": "gru", "hidden_size": 6, "num_layers": 1, "embedding": "one-hot", "reset": "before"}
    return ModelFile(Config.model_validate({"model": settings}), Vocabulary("bytes", b"\n abcde-"), tensors)


@pytest.fixture(scope="module")
def path(file: ModelFile, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return file.write(tmp_path_factory.mktemp("models") / "model.safetensors")


def text(file: ModelFile, **options: object) -> str:
    return b"".join(sample_torch7(file, **options)).decode() + "\n"


def test_rng_torch7_has_the_defaults_of_sample_lua(char_rnn: Command, file: ModelFile, path: Path) -> None:
    done = char_rnn("sample", path, "--rng", "torch7")
    assert (done.status, done.out) == (0, text(file, prime=b"", length=2000, temperature=1, seed=123))
    assert "1-layer gru with 6 units" in done.err


@pytest.mark.parametrize("dash", ["-", "--"])
def test_every_setting_is_obeyed(char_rnn: Command, file: ModelFile, path: Path, dash: str) -> None:
    prime = "-primetext" if dash == "-" else "--prime"
    settings = [prime, "bad ", f"{dash}length", 70, f"{dash}temperature", 0.6, f"{dash}seed", -9]
    done = char_rnn("sample", path, "--rng", "torch7", *settings, "--quiet")
    assert done == Outcome(0, text(file, prime=b"bad ", length=70, temperature=0.6, seed=-9), "")


def test_sample_0_is_the_likeliest(char_rnn: Command, file: ModelFile, path: Path) -> None:
    greedy = text(file, prime=b"a", length=30, argmax=True)
    arguments = ["-sample", 0, "-primetext", "a", "-length", 30, "-verbose", 0]
    assert char_rnn("sample", path, "--rng", "torch7", *arguments) == Outcome(0, greedy, "")
    assert char_rnn("sample", path, *arguments) == Outcome(0, greedy, "")
    assert char_rnn("sample", path, "--rng", "torch-rnn", *arguments).out == greedy[:30] + "\n"


def test_torch7_writes_the_lines_of_sample_lua(char_rnn: Command, file: ModelFile, path: Path) -> None:
    done = char_rnn("sample", path, "--torch7", "-length", 9)
    words = "missing seed text, using uniform probability over first character"
    assert done == Outcome(0, f"creating an gru...\n{words}\n{DASHES}\n" + text(file, length=9), "")
    done = char_rnn("sample", path, "--torch7", "-length", 9, "-primetext", "ab", "-verbose", 1, "-gpuid", 0)
    assert done == Outcome(
        0, f"creating an gru...\nseeding with ab\n{DASHES}\n" + text(file, prime=b"ab", length=9), ""
    )
    assert char_rnn("sample", path, "--torch7", "-verbose", 0) == Outcome(0, text(file), "")


def test_the_script_is_sample_lua(file: ModelFile, path: Path) -> None:
    command = [sys.executable, str(SCRIPT), str(path), "-gpuid", "-1", "-length", "20", "-primetext", "e-"]
    done = subprocess.run([*command, "-verbose", "0"], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == (text(file, prime=b"e-", length=20), "")


@pytest.mark.slow
def test_no_torch_is_loaded(path: Path) -> None:
    assert loaded(["torch", "scipy", "matplotlib"], "sample", path, "--torch7", "--length", 5) == []


def test_torch_rnn_takes_a_new_seed_and_says_it(char_rnn: Command, file: ModelFile, path: Path) -> None:
    first, second = (char_rnn("sample", path, "--rng", "torch-rnn", "--length", 60) for _ in range(2))
    assert first.out != second.out
    seed = int(re.findall(r"^seed (\d+)$", first.err, re.MULTILINE)[0])
    assert first.out == b"".join(sample_torch_rnn(file, length=60, seed=seed)).decode() + "\n"
    assert char_rnn("sample", path, "--rng", "torch-rnn", "--length", 60, "--seed", seed) == Outcome(
        0, first.out, second.err.replace(re.findall(r"seed \d+\n", second.err)[0], "")
    )


@pytest.mark.skipif(os.name != "posix", reason="elsewhere a command line is text, not bytes")
def test_the_prime_is_the_bytes_of_the_command_line(file: ModelFile, tmp_path: Path) -> None:
    latin = ModelFile(file.config, Vocabulary("bytes", b"\n abcde\xe9"), file.tensors)
    path = latin.write(tmp_path / "latin.safetensors")
    command = [sys.executable, "-m", "char_rnn", "sample", str(path), "--torch7", "-verbose", "0", "-length", "40"]
    done = subprocess.run([*command, "-primetext", b"a\xe8"], capture_output=True, check=False)
    assert b"unknown byte 0xE8 at position 1" in done.stderr
    done = subprocess.run([*command, "-primetext", b"bad\xe9"], capture_output=True, check=True)
    assert done.stdout == b"".join(sample_torch7(latin, prime=b"bad\xe9", length=40)) + b"\n"
    assert done.stdout.count(b"\xe9") > 1


def test_gpuid_falls_back_with_a_warning(char_rnn: Command, path: Path, caplog: pytest.LogCaptureFixture) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    on_cpu = char_rnn("sample", path, "-gpuid", -1, "-seed", 3, "-length", 20, "--quiet")
    fallen = char_rnn("sample", path, "-gpuid", 0, "-seed", 3, "-length", 20, "--quiet")
    assert on_cpu.status == 0
    assert fallen.out == on_cpu.out
    assert [record.message for record in caplog.records] == [
        "device cuda:0 is not available (this machine has cpu); falling back to cpu"
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-opencl", 1], r"-opencl 1: OpenCL is not supported; leave it out for the CPU, or give -gpuid 0"),
        (["--rng", "torch7", "--top-k", 3], r"--top-k: not supported with --rng torch7"),
        (["--torch7", "--top-p", 0.5], r"--top-p: not supported with --rng torch7"),
        (["--rng", "torch-rnn", "--stop", "a"], r"--stop: not supported with --rng torch-rnn"),
        (["--rng", "torch7", "--unknown", "skip"], r"--unknown skip: not supported with --rng torch7"),
        (["--torch7", "--rng", "torch-rnn"], r"--torch7 means --rng torch7"),
        (["--torch7", "-primetext", "xyz"], r"unknown byte 0x78 \('x'\) at position 0"),
        (["-seed", -1], r"-1 is not in the range"),
        (["-gpuid", -2], r"-gpuid"),
        (["-sample", 2], r"-sample"),
    ],
)
def test_what_does_not_fit_together(char_rnn: Command, path: Path, arguments: list[object], message: str) -> None:
    done = char_rnn("sample", path, *arguments)
    assert done.refused(2)
    assert re.search(message, done.err)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--torch7", "--temperature", 0], r"^error: temperature: must be 1e-30 or more .*-sample 0 takes"),
        (["--rng", "torch-rnn", "-q", "--length", 1, "--prime", "ab"], r"^error: length: must be at least 2"),
    ],
)
def test_what_the_older_programs_failed_at(
    char_rnn: Command, path: Path, arguments: list[object], message: str
) -> None:
    done = char_rnn("sample", path, *arguments)
    assert (done.status, done.out) == (1, "")
    assert re.search(message, done.err)
