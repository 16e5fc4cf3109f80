"""Checkpoints of the 2015 char-rnn become model files that compute the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from equations_2015 import char_rnn
from flat_parameters import to_flat
from made_checkpoints import checkpoint, flat_vector, network, simple_checkpoint
from t7_writer import dump

from char_rnn.data.vocabulary import Vocabulary
from char_rnn.generation.text_generator import TextGenerator
from char_rnn.model_file import ModelFile
from char_rnn.models import build_model
from char_rnn.torch7 import layout
from char_rnn.torch7.checkpoints import read_model
from char_rnn.torch7.checkpoints.char_rnn import read_checkpoint
from char_rnn.torch7.checkpoints.fields import CheckpointFormatError
from char_rnn.torch7.t7 import is_t7
from char_rnn.utils.model_files import ModelFileError

SIZES = (5, 3, 2)
SYMBOLS = [b"\n", b" ", b"a", b"\xc3", b"\xff"]
SHAPES = [("lstm", (5, 3, 2)), ("lstm", (4, 4, 1)), ("gru", (5, 3, 2)), ("gru", (3, 1, 1)), ("rnn", (5, 3, 3))]


def log_probs(file: ModelFile, ids: list[int]) -> np.ndarray:
    """Log-probabilities (T, V) of the model in a file."""
    model = build_model(file.config.model, file.vocabulary.size, file.tensors, dtype=file.config.training.precision)
    with torch.no_grad():
        return model.eval()(torch.tensor([ids]))[0][0].numpy()


@pytest.mark.parametrize(("cell", "sizes"), SHAPES)
def test_a_converted_model_computes_what_the_graph_did(cell: str, sizes: tuple[int, int, int]) -> None:
    flat = flat_vector(cell, sizes)
    file = read_checkpoint(checkpoint(network(cell, sizes, flat).network(), [bytes([n]) for n in range(sizes[0])]))
    ids = [0, 2, 1, 2, 2, 0, 1]
    pairs = [(weight, bias) for _, weight, bias in layout.split(layout.linears(cell, *sizes), flat)]
    np.testing.assert_allclose(log_probs(file, ids), char_rnn(cell, pairs, sizes, ids), rtol=0, atol=1e-13)
    found = file.config.model
    assert (found.type, found.hidden_size, found.num_layers, found.dropout) == (cell, sizes[1], sizes[2], 0.0)
    assert (found.embedding, found.reset, found.initialization) == ("one-hot", "before", "uniform")


@pytest.mark.parametrize(("stored", "kept"), [("float64", "float64"), ("float32", "float32"), ("float16", "float32")])
def test_the_precision_of_the_file_is_kept(stored: str, kept: str) -> None:
    flat = flat_vector("gru", SIZES, stored)
    file = read_checkpoint(checkpoint(network("gru", SIZES, flat).network(), SYMBOLS))
    assert {tensor.dtype.name for tensor in file.tensors.values()} == {kept}
    assert file.config.training.precision == kept
    assert np.array_equal(to_flat("gru", *SIZES, file.tensors), flat)


def test_nothing_is_lost_in_the_model_file(tmp_path: Path) -> None:
    original = read_checkpoint(simple_checkpoint())
    read = ModelFile.read(original.write(tmp_path / "m.safetensors"))
    assert read.config == original.config
    assert read.vocabulary == original.vocabulary
    assert read.training == original.training
    assert {name: (array.dtype, array.tobytes()) for name, array in read.tensors.items()} == {
        name: (array.dtype, array.tobytes()) for name, array in original.tensors.items()
    }


@pytest.mark.parametrize(
    ("symbols", "expected"),
    [
        ([b"b", b"a", b"\xff", b"\0", b"\xc3"], Vocabulary("bytes", [98, 97, 255, 0, 195])),
        ([b"b", b"\xc3\xa9", b"a", b" ", "日".encode()], Vocabulary("characters", map(ord, "béa 日"))),
    ],
)
def test_the_vocabulary_keeps_the_order_of_the_file(symbols: list[bytes], expected: Vocabulary) -> None:
    flat = flat_vector("rnn", SIZES)
    file = read_checkpoint(checkpoint(network("rnn", SIZES, flat).network(), symbols))
    assert file.vocabulary == expected
    assert file.config.data.vocabulary == expected.kind
    assert file.config.training.trainer == ("torch7" if expected.kind == "bytes" else "modern")


def test_dropout_comes_from_the_graph() -> None:
    flat = flat_vector("lstm", SIZES)
    net = network("lstm", SIZES, flat, {"p": 0.25, "v2": True}).network()
    file = read_checkpoint(checkpoint(net, SYMBOLS))
    assert file.config.model.dropout == 0.25
    assert np.array_equal(to_flat("lstm", *SIZES, file.tensors), flat)


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_dropout_of_the_first_version_scales_what_it_lets_through(cell: str) -> None:
    flat = flat_vector(cell, SIZES)
    file = read_checkpoint(checkpoint(network(cell, SIZES, flat, {"p": 0.25, "v2": False}).network(), SYMBOLS))
    pairs = []
    for linear, weight, bias in layout.split(layout.linears(cell, *SIZES), flat):
        after_dropout = "_ih_l1" in linear.target or linear.name == "decoder"
        pairs.append((weight * 0.75 if after_dropout else weight, bias))
    ids = [3, 0, 4, 1]
    np.testing.assert_allclose(log_probs(file, ids), char_rnn(cell, pairs, SIZES, ids), rtol=0, atol=1e-13)


def test_read_model_reads_the_file(tmp_path: Path) -> None:
    path = tmp_path / "lm.t7"
    top = simple_checkpoint("gru")
    path.write_bytes(dump(top))
    expected, found = read_checkpoint(top), read_model(path)
    assert (found.config, found.vocabulary, found.training) == (expected.config, expected.vocabulary, expected.training)
    assert all(np.array_equal(found.tensors[name], tensor) for name, tensor in expected.tensors.items())


def test_errors_name_the_file(tmp_path: Path) -> None:
    path = tmp_path / "lm.t7"
    path.write_bytes(dump(simple_checkpoint(vocab=None)))
    with pytest.raises(CheckpointFormatError, match=r"lm\.t7: the checkpoint has no field 'vocab'"):
        read_model(path)
    path.write_bytes(dump(b"a string"))
    with pytest.raises(CheckpointFormatError, match=r"lm\.t7: holds a string; give a checkpoint"):
        read_model(path)


def test_a_generator_says_how_a_checkpoint_is_read(tmp_path: Path) -> None:
    path = tmp_path / "lm.t7"
    path.write_bytes(dump(simple_checkpoint()))
    with pytest.raises(ModelFileError, match=r"a file of Torch7; in Python give char_rnn\.torch7\.read_model\(path\)"):
        TextGenerator.load(path)
    generator = TextGenerator.load(read_model(path))
    with pytest.raises(ValueError, match=r"remove or replace it, or give unknown=\"nearest\" or \"skip\"$"):
        generator.generate("é", length=1)


def test_a_t7_file_is_known_by_its_name_or_its_beginning(tmp_path: Path) -> None:
    contents = {
        "binary": dump(simple_checkpoint()),
        "big-endian": bytes([0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 0]),
        "ascii": b"3\n1\n0\n",
        "named.t7": b"anything",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        assert is_t7(tmp_path / name)
    read_checkpoint(simple_checkpoint()).write(tmp_path / "m.safetensors")
    (tmp_path / "short").write_bytes(b"\x03\0\0")
    (tmp_path / "run.t7").mkdir()
    for name in ("m.safetensors", "short", "run.t7", "missing", "."):
        assert not is_t7(tmp_path / name)
    assert is_t7(str(tmp_path / "missing.t7"))
