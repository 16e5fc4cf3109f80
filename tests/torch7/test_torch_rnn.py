"""Checkpoints of torch-rnn: their networks, tokens and options as model files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from equations_2015 import torch_rnn
from made_checkpoints import language_model, made, record

from char_rnn.data.vocabulary import Vocabulary
from char_rnn.model_file import ModelFile
from char_rnn.models import build_model
from char_rnn.torch7.checkpoints.fields import CheckpointFormatError
from char_rnn.torch7.checkpoints.torch_rnn import is_torch_rnn, read_tokens, read_torch_rnn
from char_rnn.torch7.t7.values import Table, TorchObject

TOKENS = [b"h", b"e", b"l", "é".encode(), b"\n"]
V, D, H = 5, 4, 3
Part = tuple[str, dict[str, np.ndarray]]


def drawn(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).uniform(-0.9, 0.9, shape).astype(np.float32)


def recurrent(name: str, width: int, seed: int) -> Part:
    gates = 4 if name == "nn.LSTM" else 1
    return name, {"weight": drawn(width + H, gates * H, seed=seed), "bias": drawn(gates * H, seed=seed)}


def normalization(seed: int) -> Part:
    fields = {name: drawn(H, seed=seed + n) for n, name in enumerate(("weight", "bias", "running_mean"))}
    return "nn.BatchNormalization", {**fields, "running_var": np.abs(drawn(H, seed=seed + 9))}


def output() -> Part:
    return "nn.Linear", {"weight": drawn(V, H, seed=8), "bias": drawn(V, seed=8)}


def objects(parts: list[Part], embedding: np.ndarray | None = None) -> list[TorchObject]:
    table = made("nn.LookupTable", weight=drawn(V, D) if embedding is None else embedding)
    return [table, *(made(name, **fields) for name, fields in parts)]


def plain(name: str = "nn.LSTM") -> list[Part]:
    return [recurrent(name, D, 1), recurrent(name, H, 2), output()]


def scores(file: ModelFile, ids: list[int]) -> np.ndarray:
    """What the output projection gives, (T, V), in float64."""
    model = build_model(file.config.model, file.vocabulary.size, file.tensors, dtype="float64").eval()
    seen: list[torch.Tensor] = []
    model.output_proj.register_forward_hook(lambda _, __, result: seen.append(result))
    with torch.no_grad():
        model(torch.tensor([ids]))
    return seen[0][0].numpy()


IDS = [0, 1, 2, 2, 4, 3, 0]
BATCHNORM: list[Part] = [
    recurrent("nn.LSTM", D, 1),
    normalization(20),
    recurrent("nn.LSTM", H, 2),
    normalization(40),
    output(),
]


@pytest.mark.parametrize(
    ("parts", "dtype"),
    [
        (plain("nn.LSTM"), "float32"),
        (plain("nn.VanillaRNN"), "float32"),
        ([recurrent("nn.LSTM", D, 3), output()], "float32"),
        (BATCHNORM, "float64"),
        ([recurrent("nn.VanillaRNN", D, 1), normalization(20), output()], "float64"),
    ],
)
def test_a_converted_model_gives_the_same_scores(parts: list[Part], dtype: str) -> None:
    file = read_torch_rnn(language_model(objects(parts), TOKENS))
    expected = torch_rnn(drawn(V, D).astype(np.float64), parts, IDS)
    np.testing.assert_allclose(scores(file, IDS), expected, rtol=0, atol=1e-13)
    assert {tensor.dtype.name for tensor in file.tensors.values()} == {dtype}
    assert file.config.training.precision == dtype
    model = file.config.model
    assert (model.embedding, model.embedding_size, model.hidden_size) == ("learned", D, H)
    assert model.type == ("lstm" if parts[0][0] == "nn.LSTM" else "rnn")


def test_there_is_one_bias() -> None:
    tensors = read_torch_rnn(language_model(objects(plain()), TOKENS)).tensors
    bias = plain()[0][1]["bias"].reshape(4, H)
    assert np.array_equal(tensors["lstm.bias_ih_l0"].reshape(4, H), bias[[0, 1, 3, 2]])
    assert not tensors["lstm.bias_hh_l0"].any()


def changed_normalization(**fields: Any) -> list[TorchObject]:
    """The modules of BATCHNORM with some fields of its first normalization replaced; None takes one away."""
    parts = objects(BATCHNORM)
    kept = {name.decode(): value for name, value in parts[2].fields.items()}
    parts[2].fields = record(**{**kept, **fields})
    return parts


def tensors_of(parts: list[TorchObject]) -> Mapping[str, np.ndarray]:
    return read_torch_rnn(language_model(parts, TOKENS)).tensors


def test_normalization_of_before_2016() -> None:
    """It kept 1/sqrt(var + eps) in the field running_std."""
    variance = BATCHNORM[1][1]["running_var"].astype(np.float64)
    old = changed_normalization(running_var=None, running_std=1 / np.sqrt(variance + 1e-5))
    expected, found = tensors_of(objects(BATCHNORM)), tensors_of(old)
    for name, tensor in expected.items():
        np.testing.assert_allclose(found[name], tensor, rtol=1e-14)


def test_normalization_without_a_learned_map() -> None:
    ones = {"weight": np.ones(H, np.float32), "bias": np.zeros(H, np.float32)}
    expected, found = (
        tensors_of(changed_normalization(**ones)),
        tensors_of(changed_normalization(weight=None, bias=None)),
    )
    assert all(np.array_equal(found[name], tensor) for name, tensor in expected.items())


def test_the_normalizations_own_epsilon_counts() -> None:
    variance = BATCHNORM[1][1]["running_var"].astype(np.float64)
    expected = tensors_of(changed_normalization(running_var=variance + 0.5 - 1e-5))
    found = tensors_of(changed_normalization(eps=0.5, running_var=variance))
    np.testing.assert_allclose(found["lstm.weight_ih_l1"], expected["lstm.weight_ih_l1"], rtol=1e-14)


def with_dropout(p: float, v2: bool | None) -> list[TorchObject]:
    parts = objects(plain())
    dropout = made("nn.Dropout", p=p, v2=v2)
    return [parts[0], parts[1], dropout, parts[2], dropout, parts[3]]


def test_dropout_is_kept_for_further_training() -> None:
    file = read_torch_rnn(language_model(with_dropout(0.25, True), TOKENS))
    assert file.config.model.dropout == 0.25
    assert file.tensors["output_proj.weight"].tobytes() == output()[1]["weight"].tobytes()


def test_dropout_of_the_first_version_scales_what_it_lets_through() -> None:
    tensors = tensors_of(with_dropout(0.25, None))
    assert np.array_equal(tensors["output_proj.weight"], output()[1]["weight"].astype(np.float64) * 0.75)
    assert np.array_equal(tensors["output_proj.bias"], output()[1]["bias"])


def test_the_adapters_of_march_2016_views_and_other_names() -> None:
    def adapter(part: TorchObject) -> TorchObject:
        view = made("nn.View", size=np.array([6, -1]))
        return made("nn.TemporalAdapter", net=made("nn.Sequential", modules=Table.of([view, part, view])))

    parts = objects(BATCHNORM)
    for layer in (parts[1], parts[3]):
        layer.class_name = "nn.SequenceLSTM"
        layer.fields = Table.of({**layer.fields, b"cell": drawn(2, 3, 4), b"h0": drawn(2, 4)})
    old = [parts[0], parts[1], adapter(parts[2]), parts[3], adapter(parts[4]), adapter(parts[5])]
    expected, found = tensors_of(objects(BATCHNORM)), tensors_of(old)
    assert all(np.array_equal(found[name], tensor) for name, tensor in expected.items())


def test_facts_and_configuration() -> None:
    file = read_torch_rnn(language_model(objects(plain()), TOKENS))
    assert dict(file.training) == {
        "step": 100,
        "data": "data/garden.h5",
        "best_step": 100,
        "best_val_loss": 3.0,
        "torch_rnn": {
            "opt": {"batch_size": 16, "checkpoint_every": 0, "input_h5": "data/garden.h5", "learning_rate": 0.001},
            "train_losses": [3.5, None],
            "val_losses": {"50": 3.25, "100": 3.0},
        },
    }
    assert json.loads(json.dumps(file.training, allow_nan=False)) == file.training
    training = file.config.training
    assert (training.trainer, training.batch_size, training.learning_rate) == ("modern", 16, 0.001)
    assert training.eval_interval == 1000  # 0 is not one


@pytest.mark.parametrize(
    ("changed", "facts"),
    [
        ({"i": None}, {"step": 100, "best_step": 100, "best_val_loss": 3.0}),
        ({"i": None, "val_loss_history_it": None}, {}),
        ({"val_loss_history": Table.of([float("nan")])}, {"step": 100}),
        ({"opt": None, "val_loss_history": 3.0}, {"step": 100}),
    ],
)
def test_older_files_lack_some(changed: dict[str, Any], facts: dict[str, Any]) -> None:
    training = dict(read_torch_rnn(language_model(objects(plain()), TOKENS, **changed)).training)
    del training["torch_rnn"]
    training.pop("data", None)
    assert training == facts


def test_nothing_is_lost_in_the_model_file(tmp_path: Path) -> None:
    original = read_torch_rnn(language_model(objects(BATCHNORM), TOKENS))
    read = ModelFile.read(original.write(tmp_path / "m.safetensors"))
    assert (read.config, read.vocabulary, read.training) == (original.config, original.vocabulary, original.training)
    assert read.vocabulary == Vocabulary("characters", map(ord, "helé\n"))
    for name, tensor in original.tensors.items():
        assert (read.tensors[name].dtype, read.tensors[name].tobytes()) == (tensor.dtype, tensor.tobytes())


def modules_without(place: int) -> list[TorchObject]:
    parts = objects(plain())
    del parts[place]
    return parts


def modules_with(place: int, **fields: Any) -> list[TorchObject]:
    parts = objects(plain())
    kept = {name.decode(): value for name, value in parts[place].fields.items()}
    parts[place].fields = record(**{**kept, **fields})
    return parts


def nested(depth: int) -> TorchObject:
    part = made("nn.LookupTable")
    for _ in range(depth):
        part = made("nn.Sequential", modules=Table.of([part]))
    return part


def many_times(depth: int) -> TorchObject:
    """A module that holds another many times, which does so too: 100 ** depth views by depth x 100 references."""
    part = made("nn.View")
    for _ in range(depth):
        part = made("nn.Sequential", modules=Table.of([part] * 100))
    return part


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (modules_without(0), r"model.net.modules\[1\] is a nn.LSTM, which no model of torch-rnn has in this place"),
        (modules_without(3), "must have an nn.LookupTable, layers of one kind"),
        ([*objects(plain()), made("nn.SoftMax")], r"modules\[5\] is a nn.SoftMax"),
        (objects([recurrent("nn.LSTM", D, 1), recurrent("nn.VanillaRNN", H, 1), output()]), "layers of one kind"),
        (objects([output()]), "layers of one kind"),
        (objects([normalization(1), *plain()]), "is a nn.BatchNormalization"),
        (modules_with(1, weight=drawn(D + H, H)), r"shape \(7, 3\), where torch-rnn has \(7, 12\)"),
        (modules_with(1, bias=drawn(H)), r"bias has shape \(3,\), where torch-rnn has \(12,\)"),
        (modules_with(2, weight=None), r"modules\[3\] has no field 'weight'"),
        (modules_with(3, bias=drawn(H)), r"where torch-rnn has \(5,\)"),
        (modules_with(0, weight=drawn(V + 1, D)), "has 5 tokens, but the network reads 6 and predicts 5"),
        (modules_with(3, weight=np.broadcast_to(drawn(H), (V, H))), "does not hold that many numbers"),
        (changed_normalization(running_var=drawn(H + 1)), r"running_var has shape \(4,\)"),
        (changed_normalization(running_mean=drawn(H + 1), running_var=drawn(H + 1) + 1), r"shape \(3,\)"),
        (changed_normalization(running_var=-np.ones(H)), "holds negative numbers or NaN"),
        (changed_normalization(running_var=None), "has no field 'running_var'"),
        (with_dropout(1.5, True), "p is 1.5, not a probability"),
        (objects([recurrent("nn.VanillaRNN", H if n else D, n) for n in range(1025)] + [output()]), "num_layers: must"),
        ([nested(40)], "is a nn.Sequential, which no model"),
        ([many_times(6)], r"modules\[2\] is in the network twice"),
    ],
)
def test_what_is_no_model_of_torch_rnn_is_refused_in_one_line(parts: list[TorchObject], message: str) -> None:
    with pytest.raises(CheckpointFormatError, match=message) as caught:
        read_torch_rnn(language_model(parts, TOKENS))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 250


def test_parameters_that_share_memory_are_refused() -> None:
    weight = drawn(H + H, 4 * H)
    parts = [recurrent("nn.LSTM", H, 1), recurrent("nn.LSTM", H, 2), output()]
    parts = [(name, {**fields, "weight": weight} if name == "nn.LSTM" else fields) for name, fields in parts]
    with pytest.raises(CheckpointFormatError, match="share memory"):
        read_torch_rnn(language_model(objects(parts, drawn(V, H)), TOKENS))


def test_other_tables_are_not_taken_for_torch_rnns() -> None:
    assert is_torch_rnn(language_model(objects(plain()), TOKENS))
    assert not is_torch_rnn(record(model=b"nn.LanguageModel"))
    assert not is_torch_rnn(record(model=made("nn.Sequential")))


def idx_to_token(tokens: list[object]) -> Table:
    return Table.of({float(index): token for index, token in enumerate(tokens, 1)})


def test_the_tokens_of_bytes() -> None:
    assert read_tokens(idx_to_token([b"b", b"[195]", b"a", b"[128]", b"[255]", b"["])) == Vocabulary(
        "bytes", [98, 195, 97, 128, 255, 91]
    )
    assert read_tokens(idx_to_token([b"]", b"["])).kind == "characters"


@pytest.mark.parametrize(
    "tokens",
    [[], [b"ab"], [b""], [b"\xff"], [b"a", b"a"], [b"a", 3.0], [b"[127]"], [b"[256]"], [b"[195]", "é".encode()]],
)
def test_tokens_that_are_no_single_characters_are_refused(tokens: list[object]) -> None:
    with pytest.raises(CheckpointFormatError, match="idx_to_token"):
        read_tokens(idx_to_token(tokens))


def test_indices_must_be_without_a_gap() -> None:
    with pytest.raises(CheckpointFormatError, match="token for every index from 1"):
        read_tokens(Table.of({1.0: b"a", 3.0: b"b"}))
