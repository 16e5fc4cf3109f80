"""Every recorded checkpoint converted: equal parameters, and what the original predicted with them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from flat_parameters import to_flat

from char_rnn.model_file import ModelFile
from char_rnn.models import build_model
from char_rnn.torch7 import read_model
from char_rnn.torch7.text import read_caches

RUNS = ["lstm", "gru", "rnn", "lstm_drop", "lstm1"]
WITH_ASCII = ["lstm", "gru", "rnn"]
TORCH_RNN = ["lstm2", "rnn2", "lstm_bn"]


def last(golden: Path, run: str) -> Path:
    """The checkpoint of the end of a run."""
    [path] = (golden / run / "cv").glob("*epoch1.00_*.t7")
    return path


def predicted(file: ModelFile, ids: np.ndarray, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Scores and log-probabilities (T, V) of a model in a precision."""
    model = build_model(file.config.model, file.vocabulary.size, file.tensors, dtype=dtype).eval()
    seen: list[torch.Tensor] = []
    model.output_proj.register_forward_hook(lambda _, __, result: seen.append(result))
    with torch.no_grad():
        log_probs, _ = model(torch.from_numpy(ids.astype(np.int64))[None])
    return seen[0][0].numpy(), log_probs[0].numpy()


def flat(file: ModelFile) -> np.ndarray:
    model = file.config.model
    return to_flat(model.type, file.vocabulary.size, model.hidden_size, model.num_layers, file.tensors)


@pytest.mark.parametrize("run", RUNS)
def test_the_parameters_are_those_of_the_end_of_the_run(golden: Path, run: str) -> None:
    file = read_model(last(golden, run))
    assert flat(file).tobytes() == np.load(golden / run / "golden.npz")["params_final"].tobytes()
    assert file.config.model.dropout == (0.5 if run == "lstm_drop" else 0.0)


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-5)])
def test_log_probabilities(golden: Path, run: str, dtype: str, tolerance: float) -> None:
    file = read_model(last(golden, run))
    ids = file.vocabulary.encode((golden / "corpus" / "logprob_bytes.bin").read_bytes())
    expected = np.load(golden / run / "golden.npz")["logprobs"]
    _, log_probs = predicted(file, ids, dtype)
    assert log_probs.shape == expected.shape == (64, 61)
    assert np.abs(log_probs - expected).max() <= tolerance


@pytest.mark.parametrize("run", WITH_ASCII)
def test_ascii_gives_the_same_as_binary(golden: Path, run: str) -> None:
    [path] = (golden / run).glob("*.ascii.t7")
    written, binary = read_model(path), read_model(last(golden, run))
    assert flat(written).tobytes() == flat(binary).tobytes()
    assert (written.config, written.vocabulary, written.training) == (
        binary.config,
        binary.vocabulary,
        binary.training,
    )


def test_a_gpus_checkpoint_opens_on_the_cpu(golden: Path) -> None:
    [path] = (golden / "gru").glob("*.cuda.t7")
    file = read_model(path)
    assert file.config.training.precision == "float32"
    assert np.array_equal(flat(file), np.load(golden / "gru" / "golden.npz")["params_final"].astype(np.float32))
    ids = file.vocabulary.encode((golden / "corpus" / "logprob_bytes.bin").read_bytes())
    expected = np.load(golden / "gru" / "golden.npz")["logprobs"]
    assert np.abs(predicted(file, ids, "float32")[1] - expected).max() <= 1e-5


@pytest.mark.parametrize("run", RUNS)
def test_facts_are_those_of_the_run(golden: Path, run: str) -> None:
    recorded = np.load(golden / run / "golden.npz")
    facts = read_model(last(golden, run)).training
    assert facts["step"] == len(recorded["train_losses"]) == 123
    assert facts["torch7"]["train_losses"] == recorded["train_losses"].tolist()
    losses = dict(zip(map(str, recorded["val_iters"].astype(int)), recorded["val_losses"].tolist(), strict=True))
    assert facts["torch7"]["val_losses"] == losses
    assert facts["best_val_loss"] == min(losses.values())
    assert facts["torch7"]["opt"] == json.loads((golden / run / "opt.json").read_text())


def test_every_checkpoint_survives_the_model_file(golden: Path, tmp_path: Path) -> None:
    paths = [*golden.glob("*/cv/*.t7"), *golden.glob("*/lm_*.t7"), *golden.glob("torch_rnn/*/*.t7")]
    assert len(paths) == 22
    for path in paths:
        original = read_model(path)
        read = ModelFile.read(original.write(tmp_path / "m.safetensors"))
        assert (read.config, read.vocabulary, read.training) == (
            original.config,
            original.vocabulary,
            original.training,
        )
        assert set(read.tensors) == set(original.tensors)
        for name, tensor in original.tensors.items():
            assert (read.tensors[name].dtype, read.tensors[name].tobytes()) == (tensor.dtype, tensor.tobytes())


@pytest.mark.parametrize("run", TORCH_RNN)
def test_scores_of_torch_rnn(golden: Path, run: str) -> None:
    folder = golden / "torch_rnn" / run
    file = read_model(folder / "checkpoint_64.t7")
    recorded = json.loads((folder / "golden.json").read_text())
    ids = np.array(recorded["input_indices_1based"]) - 1
    text = (golden / "corpus" / "input.txt").read_bytes().decode()[:64]
    assert file.vocabulary.encode(text).tolist() == ids.tolist()
    expected = np.fromfile(folder / "scores_double.f64").reshape(64, -1)
    scores, _ = predicted(file, ids, "float64")
    assert np.abs(scores - expected).max() <= 1e-13 * np.abs(expected).max()
    in_single = np.fromfile(folder / "scores_float.f64").reshape(64, -1)
    scores, _ = predicted(file, ids, "float32")
    assert np.abs(scores - in_single).max() <= 1e-6 * np.abs(in_single).max()


def test_caches_hold_the_corpus(golden: Path) -> None:
    assert read_caches(golden / "corpus").text == (golden / "corpus" / "input.txt").read_bytes()
