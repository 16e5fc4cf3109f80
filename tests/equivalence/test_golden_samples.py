"""Every text that the 2015 programs sampled, byte for byte, through the command line."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from char_rnn.cli import main
from char_rnn.torch7 import read_model
from char_rnn.torch7.random import Generator
from char_rnn.torch7.sampling import sample_torch7

CHAR_RNN = ["lstm", "gru", "rnn", "lstm_drop", "lstm1"]
TORCH_RNN = ["lstm2", "rnn2", "lstm_bn"]
PRIMES = {"none": "", "cafe": "The café ", "The": "The "}
NAME = re.compile(r"(?:(argmax)_|verbose1_|)(?:seed(\d+)_)?(?:temp([\d.]+)_)?(?:len(\d+)_)?prime-(\w+)")


def output(capture: pytest.CaptureFixture[bytes], *arguments: object) -> bytes:
    """Standard output of a command that ends well and says nothing else."""
    capture.readouterr()
    with pytest.raises(SystemExit) as stop:
        main(["sample", *(str(argument) for argument in arguments)])
    captured = capture.readouterr()
    assert (stop.value.code, captured.err) == (0, b"")
    return captured.out


def flags(sample: Path) -> list[object]:
    """What sample.lua was called with, from the name of the file it was written to."""
    found = NAME.fullmatch(sample.stem)
    assert found is not None, sample
    argmax, seed, temperature, length, prime = found.groups()
    given = {"-seed": seed, "-temperature": temperature, "-sample": argmax and 0, "-length": length or 300}
    settings = [word for flag, value in given.items() if value is not None for word in (flag, value)]
    return ["-gpuid", -1, "-verbose", int("verbose1" in sample.stem), "-primetext", PRIMES[prime], *settings]


@pytest.mark.parametrize("run", CHAR_RNN)
def test_texts_of_char_rnn(golden: Path, run: str, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    folder = golden / run / "samples"
    checkpoint = golden / run / "cv" / (folder / "CHECKPOINT").read_text().strip()
    samples = sorted(folder.glob("*.txt"))
    assert len(samples) == 15
    for sample in samples:
        assert output(capfdbinary, checkpoint, "--torch7", *flags(sample)) == sample.read_bytes(), sample


@pytest.mark.parametrize("run", TORCH_RNN)
def test_texts_of_torch_rnn(golden: Path, run: str, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    folder = golden / "torch_rnn" / run
    samples: list[dict[str, Any]] = json.loads((folder / "golden.json").read_text())["samples"]
    assert len(samples) == 19
    for sample in samples:
        flags = [
            word for name in ("seed", "temperature", "length", "sample") for word in (f"-{name}", sample[name])
        ]  # fmt: skip
        arguments = ["--rng", "torch-rnn", "--quiet", "--prime", sample["start_text"], *flags]
        expected = (folder / "samples" / sample["file"]).read_bytes() + b"\n"
        assert output(capfdbinary, folder / "checkpoint_64.t7", *arguments) == expected, sample["file"]


@pytest.mark.parametrize("run", CHAR_RNN)
def test_the_generator_of_a_training_run(golden: Path, run: str) -> None:
    """Its words before the first step: two draws of every parameter are behind it."""
    arrays = np.load(golden / run / "golden.npz")
    generator = Generator(123)
    generator.words(len(arrays["params_init"]))
    drawn = generator.uniform(-0.08, 0.08, len(arrays["params_init"]))
    same = drawn == arrays["params_init"]
    forget_biases = {"lstm": 48, "lstm_drop": 48, "lstm1": 24}.get(run, 0)
    assert (~same).sum() == forget_biases
    assert (arrays["params_init"][~same] == 1).all()
    assert generator.words(4).tolist() == arrays["rng_next4_before_first_feval"].tolist()


def test_one_word_is_drawn_for_a_symbol_of_torch_rnn(golden: Path) -> None:
    """`next_rng_word` of the recordings is the word after the last draw."""
    samples = json.loads((golden / "torch_rnn" / "lstm2" / "golden.json").read_text())["samples"]
    for sample in samples:
        drawn = (sample["length"] - len(sample["start_text"])) * sample["sample"]
        assert Generator(sample["seed"]).words(drawn + 1)[-1] == sample["next_rng_word"]
    assert samples


def test_a_gpu_checkpoint_gives_the_same_text(golden: Path) -> None:
    """Its weights are rounded to float32, and no draw of this text is close enough to a bound to turn out otherwise."""
    file = read_model(next((golden / "gru").glob("*.cuda.t7")))
    sample = golden / "gru" / "samples" / "seed123_temp1_prime-none.txt"
    assert b"".join(sample_torch7(file, length=300)) + b"\n" == sample.read_bytes()
