r"""Checkpoints of torch-rnn (jcjohnson) as model files.

A checkpoint is a table: ``model`` (an ``nn.LanguageModel``, with its tokens), ``opt`` (the command line), the loss
histories, and ``i``. As with char-rnn, the sizes of the network are not taken from ``opt``.

The model's ``net`` is a sequence: an ``nn.LookupTable``, for each layer an ``nn.LSTM`` or ``nn.VanillaRNN``,
optionally with batch normalization and dropout, and an ``nn.Linear``. Vectors are rows, multiplied from the left, so
the weight of a layer, (I + H, G H), is the transpose of PyTorch's two, with the input's rows above the state's. There
is one bias, and the LSTM's blocks of H are i, f, o, g; PyTorch's are i, f, g, o.

Batch normalization is between a layer and the next, never inside the recurrence. In evaluation it is affine,
y = s h + t with

    s = gamma / sqrt(running_var + eps)        t = beta - running_mean s

The next matrix multiplies y: W (s h + t) + b = (W diag(s)) h + (b + W t). So it is folded into the weight and bias of
the next layer's input, or of the output projection, in float64. All tensors of such a model are float64, to lose
nothing. A dropout that scales in evaluation (``v2`` false, y = (1 - p) h) is affine too.

Dimensions: V vocabulary, D embedding, I a layer's input, H hidden, G gates.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from char_rnn.data.vocabulary import Vocabulary
from char_rnn.model_file import ModelFile
from char_rnn.torch7.checkpoints.fields import (
    MAX_LOSSES,
    CheckpointFormatError,
    Scalar,
    check_apart,
    field,
    floats,
    is_finite,
    losses,
    make_config,
    module,
    probability,
    scalars,
    settings_in,
    table,
    training_metadata,
)
from char_rnn.torch7.layout import Floats
from char_rnn.torch7.t7.values import Table, TorchObject

_OPTIONS = {
    "batch_size": "training.batch_size",
    "seq_length": "training.seq_length",
    "learning_rate": "training.learning_rate",
    "max_epochs": "training.max_epochs",
    "grad_clip": "training.grad_clip",
    "checkpoint_every": "training.eval_interval",
    "print_every": "logging.log_interval",
}
_BYTE = re.compile(rb"\[(1(?:2[89]|[3-9]\d)|2(?:[0-4]\d|5[0-5]))\]")  # [128] to [255]


def is_torch_rnn(top: Table) -> bool:
    """Return whether a file's table is a checkpoint of torch-rnn."""
    model = top.get("model")
    return isinstance(model, TorchObject) and model.class_name == "nn.LanguageModel"


def read_torch_rnn(top: Table) -> ModelFile:
    """Convert a checkpoint's table to a model file.

    Raises:
        CheckpointFormatError: It is not a supported checkpoint.
    """
    model = module(top.get("model"), "model")
    network = read_network(module(field(model, "net", "model"), "model.net"))
    tensors = network.tensors()
    vocabulary = read_tokens(table(model, "idx_to_token", "model"))
    vocab_size, hidden_size = tensors["output_proj.weight"].shape
    inputs, embedding_size = tensors["embedding.weight"].shape
    if not vocabulary.size == vocab_size == inputs:
        raise CheckpointFormatError(
            f"model.idx_to_token has {vocabulary.size} tokens, but the network reads {inputs} and predicts {vocab_size}"
        )
    options = scalars(top.get("opt"))
    required = {
        "model.type": network.cell,
        "model.hidden_size": hidden_size,
        "model.num_layers": len(network.layers),
        "model.dropout": network.dropout,
        "model.embedding": "learned",
        "model.embedding_size": embedding_size,
        "training.precision": tensors["output_proj.weight"].dtype.name,
        "training.weight_decay": 0.0,
        "training.warmup_steps": 0,
        "data.vocabulary": vocabulary.kind,
    }
    config = make_config(None, required, settings_in(options, _OPTIONS))
    return ModelFile(config, vocabulary, tensors, _metadata(top, options))


def read_tokens(idx_to_token: Table) -> Vocabulary:
    """Return the vocabulary of a table of tokens by index, in its order.

    Tokens are characters in UTF-8. With ``preprocess.py --encoding bytes`` they are ASCII characters, and other bytes
    are written as "[195]".

    Raises:
        CheckpointFormatError: They are not numbered from 1, or are something else.
    """
    tokens = idx_to_token.array()
    if not tokens or len(tokens) != len(idx_to_token) or not all(isinstance(token, bytes) for token in tokens):
        raise CheckpointFormatError("model.idx_to_token does not have a token for every index from 1")
    try:
        if any(_BYTE.fullmatch(token) for token in tokens):
            return Vocabulary("bytes", [_byte(token) for token in tokens])
        return Vocabulary("characters", [ord(token.decode()) for token in tokens])
    except (ValueError, TypeError):
        raise CheckpointFormatError("model.idx_to_token has tokens that are not distinct single characters") from None


def _byte(token: bytes) -> int:
    written = _BYTE.fullmatch(token)
    return int(written[1]) if written else ord(token.decode("ascii"))


def _metadata(top: Table, options: Mapping[str, Scalar]) -> dict[str, Any]:
    histories = (top.get(name) for name in ("train_loss_history", "val_loss_history", "val_loss_history_it"))
    train, val, iterations = (value.array() if isinstance(value, Table) else [] for value in histories)
    measured = [(int(at), loss) for at, loss in zip(iterations, losses(val), strict=False) if is_finite(at)]
    step = top.get("i")
    if step is None and measured:
        step = float(measured[-1][0])  # not written before 2016-04-24
    metadata = training_metadata(step=step, epoch=None, data=options.get("input_h5"), val_losses=dict(measured))
    metadata["torch_rnn"] = {
        "opt": dict(options),
        "train_losses": losses(train[:MAX_LOSSES]),
        "val_losses": {str(at): loss for at, loss in measured},
    }
    return metadata


Affine = tuple[Floats, Floats]
"""Factor and addend, (H,) or scalar, in float64."""

_CELLS = {"nn.LSTM": "lstm", "nn.SequenceLSTM": "lstm", "nn.VanillaRNN": "rnn", "nn.SequenceRNN": "rnn"}
_BLOCKS = {"lstm": (0, 1, 3, 2), "rnn": (0,)}
"""torch-rnn's block for each of PyTorch's."""
_CONTAINERS = {"nn.Sequential", "nn.TemporalAdapter"}
_MAX_NESTING = 8


@dataclass
class FoldedLinear:
    """A weight and a bias, as in the file, and the affine map between the previous layer and them, if any."""

    where: str
    weight: Floats
    bias: Floats
    before: Affine | None

    def folded(self, weight: Floats, bias: Floats) -> tuple[Floats, Floats]:
        """Return weight (out, H) and bias (out,) that map h as the given ones map the affine map of h."""
        if self.before is None:
            return weight, bias
        scale, shift = self.before
        if scale.shape not in ((), weight.shape[1:]):
            raise CheckpointFormatError(f"{self.where} takes {weight.shape[1]} numbers, but is given {len(scale)}")
        weight = weight.astype(np.float64)
        return weight * scale, bias + weight @ np.broadcast_to(shift, weight.shape[1:])


class TorchRNNNetwork:
    """A network in the order of its forward pass, filled module by module."""

    def __init__(self) -> None:
        self.cells: set[str] = set()  # types of its recurrent layers
        self.embedding: Floats | None = None  # (V, D)
        self.layers: list[FoldedLinear] = []
        self.output: FoldedLinear | None = None
        self.dropout = 0.0
        self._affine: Affine | None = None  # since the last layer

    @property
    def cell(self) -> str:
        """The one type of its recurrent layers."""
        [cell] = self.cells
        return cell

    def add(self, part: TorchObject, where: str) -> None:
        """Add the next module."""
        name = part.class_name
        inside = self.embedding is not None and self.output is None
        if name == "nn.LookupTable" and self.embedding is None:
            self.embedding = floats(part, "weight", where, 2)
        elif name in _CELLS and inside:
            self.layers.append(self._linear(part, where))
            self.cells.add(_CELLS[name])
        elif name == "nn.Linear" and inside:
            self.output = self._linear(part, where)
        elif name == "nn.BatchNormalization" and inside and self.layers:
            self._append(_normalization(part, where), where)
        elif name == "nn.Dropout" and inside and self.layers:
            self.dropout = probability(part, where)
            if not part.get("v2"):
                self._append((np.array(1.0 - self.dropout), np.array(0.0)), where)
        else:
            raise CheckpointFormatError(f"{where} is a {name[:60]}, which no model of torch-rnn has in this place")

    def _linear(self, part: TorchObject, where: str) -> FoldedLinear:
        before, self._affine = self._affine, None
        return FoldedLinear(where, floats(part, "weight", where, 2), floats(part, "bias", where, 1), before)

    def _append(self, affine: Affine, where: str) -> None:
        """Apply a map after those since the last layer."""
        scale, shift = affine
        if self._affine is not None:
            before, added = self._affine
            if before.shape and scale.shape not in ((), before.shape):
                raise CheckpointFormatError(f"{where} takes {len(scale)} numbers, but is given {len(before)}")
            scale, shift = scale * before, scale * added + shift
        self._affine = scale, shift

    def tensors(self) -> dict[str, Floats]:
        """Return the tensors by today's names, in the file's element type, or float64 if something was folded.

        Raises:
            CheckpointFormatError: The shapes do not match.
        """
        assert self.embedding is not None
        assert self.output is not None
        linears = [*self.layers, self.output]
        check_apart([self.embedding, *(part for linear in linears for part in (linear.weight, linear.bias))])
        vocab_size, hidden_size = self.output.weight.shape
        _check_shape(self.output.bias, (vocab_size,), f"{self.output.where}.bias")
        tensors = {"embedding.weight": self.embedding}
        width = self.embedding.shape[1]
        for number, layer in enumerate(self.layers):
            tensors |= self._layer_tensors(number, layer, width, hidden_size)
            width = hidden_size
        output = self.output.folded(self.output.weight, self.output.bias)
        tensors["output_proj.weight"], tensors["output_proj.bias"] = output
        dtype = np.result_type(*tensors.values(), np.float32)  # half precision becomes single
        return {name: tensor.astype(dtype, order="C") for name, tensor in tensors.items()}

    def _layer_tensors(self, number: int, layer: FoldedLinear, width: int, hidden_size: int) -> dict[str, Floats]:
        order = _BLOCKS[self.cell]
        _check_shape(layer.weight, (width + hidden_size, len(order) * hidden_size), f"{layer.where}.weight")
        _check_shape(layer.bias, (len(order) * hidden_size,), f"{layer.where}.bias")
        weight = _reordered(layer.weight.T, order)
        weight_ih, bias_ih = layer.folded(weight[:, :width], _reordered(layer.bias, order))
        parts = {
            "weight_ih": weight_ih,
            "weight_hh": weight[:, width:],
            "bias_ih": bias_ih,
            "bias_hh": np.zeros_like(bias_ih),
        }
        return {f"{self.cell}.{name}_l{number}": part for name, part in parts.items()}


def read_network(net: TorchObject) -> TorchRNNNetwork:
    """Parse a model's ``net``.

    Raises:
        CheckpointFormatError: It has other modules than torch-rnn's, or in another order.
    """
    network = TorchRNNNetwork()
    for part, where in _modules(net, "model.net", _MAX_NESTING, set()):
        network.add(part, where)
    if network.embedding is None or network.output is None or len(network.cells) != 1:
        raise CheckpointFormatError(
            "model.net must have an nn.LookupTable, layers of one kind (nn.LSTM or nn.VanillaRNN) and an nn.Linear"
        )
    return network


def _modules(part: TorchObject, where: str, nesting: int, seen: set[int]) -> Iterator[tuple[TorchObject, str]]:
    """Yield the modules of a network except views; files of March 2016 have some in an ``nn.TemporalAdapter``.

    Repeated containers are refused: a small file could describe endless modules.
    """
    if part.class_name == "nn.View":
        return
    if part.class_name not in _CONTAINERS or not nesting:
        yield part, where
        return
    if id(part) in seen:
        raise CheckpointFormatError(f"{where} is in the network twice; torch-rnn shares no {part.class_name}")
    seen.add(id(part))
    if part.class_name == "nn.TemporalAdapter":
        held = [(part.get("net"), f"{where}.net")]
    else:
        listed = table(part, "modules", where).array()
        held = [(inner, f"{where}.modules[{place}]") for place, inner in enumerate(listed, 1)]
    for inner, inner_where in held:
        yield from _modules(module(inner, inner_where), inner_where, nesting - 1, seen)


def _normalization(part: TorchObject, where: str) -> Affine:
    """Return s and t, (H,), of a batch normalization in evaluation.

    Files before 2016 have ``running_std``, which is 1/sqrt(running_var + eps).
    """
    mean = _statistic(part, "running_mean", where)
    if part.get("running_var") is None and part.get("running_std") is not None:
        scale = _statistic(part, "running_std", where, mean.shape)
    else:
        eps = part.get("eps")
        variance = _statistic(part, "running_var", where, mean.shape) + (eps if is_finite(eps) else 1e-5)
        if not (variance > 0).all():
            raise CheckpointFormatError(f"{where}.running_var holds negative numbers or NaN; the file is damaged")
        scale = 1 / np.sqrt(variance)
    if part.get("weight") is not None:
        scale = _statistic(part, "weight", where, mean.shape) * scale
    shift = -mean * scale
    if part.get("bias") is not None:
        shift = shift + _statistic(part, "bias", where, mean.shape)
    return scale, shift


def _statistic(part: TorchObject, name: str, where: str, shape: tuple[int, ...] | None = None) -> Floats:
    """Return a field, (H,), in float64."""
    array = floats(part, name, where, 1)
    if shape is not None:
        _check_shape(array, shape, f"{where}.{name}")
    return array.astype(np.float64)


def _reordered(rows: Floats, order: tuple[int, ...]) -> Floats:
    """Return rows (G H, ...) with their blocks of H in PyTorch's order."""
    blocks = np.split(rows, len(order))
    return np.concatenate([blocks[place] for place in order])


def _check_shape(array: Floats, shape: tuple[int, ...], where: str) -> None:
    if array.shape != shape:
        raise CheckpointFormatError(f"{where} has shape {array.shape}, where torch-rnn has {shape}")
