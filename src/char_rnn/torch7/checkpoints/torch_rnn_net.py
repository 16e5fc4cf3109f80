r"""The network of a torch-rnn model as tensors.

Its ``net`` holds, one after the other, an ``nn.LookupTable``, for each layer an ``nn.LSTM`` or ``nn.VanillaRNN``, maybe
batch normalization and dropout, and at last an ``nn.Linear``. Vectors are rows that multiply from the left, so the
weight of a layer, (I + H, G H), is the transpose of PyTorch's two, the input's rows above the state's; there is one
bias, and the LSTM's blocks of H are i, f, o, g where PyTorch has i, f, g, o.

Batch normalization stands between a layer and the next, never inside the recurrence, and when it does not train it is
affine, y = s h + t with

    s = gamma / sqrt(running_var + eps)        t = beta - running_mean s

What comes next multiplies y by a matrix: W (s h + t) + b = (W diag(s)) h + (b + W t). So it disappears into the weight
and the bias of the next layer's input, or of the output projection. That is computed in float64, and all tensors of
such a model are float64, to lose nothing. A dropout that scales when it does not train (``v2`` false, y = (1 - p) h) is
affine too.

Dimensions: V vocabulary, D embedding, I a layer's input, H hidden, G gates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from char_rnn.torch7.checkpoints import fields
from char_rnn.torch7.checkpoints.fields import CheckpointFormatError, floats
from char_rnn.torch7.layout import Floats
from char_rnn.torch7.t7.values import TorchObject

Affine = tuple[Floats, Floats]
"""Factor and addend, (H,) or scalar, in float64."""
Affines = list[Callable[[], Affine]]
"""Made when they are needed: of the same few numbers a file may make any number of them."""

_CELLS = {"nn.LSTM": "lstm", "nn.SequenceLSTM": "lstm", "nn.VanillaRNN": "rnn", "nn.SequenceRNN": "rnn"}
_BLOCKS = {"lstm": (0, 1, 3, 2), "rnn": (0,)}
"""Which of torch-rnn's blocks stands where in PyTorch."""
_CONTAINERS = {"nn.Sequential", "nn.TemporalAdapter"}
_MAX_NESTING = 8


@dataclass
class Linear:
    """A weight and a bias, as in the file, and the affine maps between what comes before and them."""

    where: str
    weight: Floats
    bias: Floats
    before: Affines = field(default_factory=list)

    def folded(self, weight: Floats, bias: Floats) -> tuple[Floats, Floats]:
        """Return weight (out, H) and bias (out,) that do to h what the given ones do to all the maps of h."""
        for affine in reversed(self.before):
            scale, shift = affine()
            if scale.shape not in ((), weight.shape[1:]):
                raise CheckpointFormatError(f"{self.where} takes {weight.shape[1]} numbers, but is given {len(scale)}")
            weight = weight.astype(np.float64)
            bias = bias + weight @ np.broadcast_to(shift, weight.shape[1:])
            weight = weight * scale
        return weight, bias


@dataclass
class Network:
    """A network in the order of its forward pass.

    Attributes:
        cell: "lstm" or "rnn".
        embedding: (V, D).
        layers: the recurrent ones.
        output: the projection to V.
        dropout: probability.
    """

    cell: str
    embedding: Floats
    layers: list[Linear]
    output: Linear
    dropout: float

    def tensors(self) -> dict[str, Floats]:
        """Return the tensors by today's names, of the file's element type, or float64 where something was folded.

        Raises:
            CheckpointFormatError: the shapes do not fit each other.
        """
        linears = [*self.layers, self.output]
        fields.check_apart([self.embedding, *(part for linear in linears for part in (linear.weight, linear.bias))])
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

    def _layer_tensors(self, number: int, layer: Linear, width: int, hidden_size: int) -> dict[str, Floats]:
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


def read_network(net: TorchObject) -> Network:
    """Understand a model's ``net``.

    Raises:
        CheckpointFormatError: it has other modules than torch-rnn puts there, or in another order.
    """
    builder = _Builder()
    for part, where in _modules(net, "model.net", _MAX_NESTING, set()):
        builder.add(part, where)
    return builder.network()


class _Builder:
    """Takes the modules of a network one by one."""

    def __init__(self) -> None:
        self._cells: set[str] = set()
        self._embedding: Floats | None = None
        self._layers: list[Linear] = []
        self._output: Linear | None = None
        self._affine: Affines = []  # since the last layer
        self._dropout = 0.0

    def add(self, part: TorchObject, where: str) -> None:
        """Take the next module."""
        name = part.class_name
        inside = self._embedding is not None and self._output is None
        if name == "nn.LookupTable" and self._embedding is None:
            self._embedding = floats(part, "weight", where, 2)
        elif name in _CELLS and inside:
            self._layers.append(self._linear(part, where))
            self._cells.add(_CELLS[name])
        elif name == "nn.Linear" and inside:
            self._output = self._linear(part, where)
        elif name == "nn.BatchNormalization" and inside and self._layers:
            self._affine.append(partial(_normalization, part, where))
        elif name == "nn.Dropout" and inside and self._layers:
            self._dropout = fields.probability(part, where)
            if not part.get("v2"):
                kept = np.array(1.0 - self._dropout)
                self._affine.append(lambda: (kept, np.array(0.0)))
        else:
            raise CheckpointFormatError(f"{where} is a {name[:60]}, which no model of torch-rnn has in this place")

    def network(self) -> Network:
        """Return what was taken."""
        if self._embedding is None or self._output is None or len(self._cells) != 1:
            raise CheckpointFormatError(
                "model.net must have an nn.LookupTable, layers of one kind (nn.LSTM or nn.VanillaRNN) and an nn.Linear"
            )
        [cell] = self._cells
        return Network(cell, self._embedding, self._layers, self._output, self._dropout)

    def _linear(self, part: TorchObject, where: str) -> Linear:
        before, self._affine = self._affine, []
        return Linear(where, floats(part, "weight", where, 2), floats(part, "bias", where, 1), before)


def _modules(part: TorchObject, where: str, nesting: int, seen: set[int]) -> Iterator[tuple[TorchObject, str]]:
    """Go through the modules of a network but for views; of March 2016 some stand in an ``nn.TemporalAdapter``.

    Raises:
        CheckpointFormatError: one that holds others stands there twice: a small file could describe no end of them.
    """
    if part.class_name == "nn.View":
        return
    if part.class_name not in _CONTAINERS or not nesting:
        yield part, where
        return
    if id(part) in seen:
        raise CheckpointFormatError(f"{where} stands in the network twice, as no {part.class_name} of torch-rnn does")
    seen.add(id(part))
    if part.class_name == "nn.TemporalAdapter":
        held = [(part.get("net"), f"{where}.net")]
    else:
        listed = fields.table(part, "modules", where).array()
        held = [(inner, f"{where}.modules[{place}]") for place, inner in enumerate(listed, 1)]
    for inner, inner_where in held:
        yield from _modules(fields.module(inner, inner_where), inner_where, nesting - 1, seen)


def _normalization(part: TorchObject, where: str) -> Affine:
    """Return s and t, (H,), of a batch normalization that does not train.

    Its files of before 2016 hold ``running_std``, which is 1/sqrt(running_var + eps).
    """
    mean, scale = _statistic(part, "running_mean", where), _scale(part, where)
    if part.get("weight") is not None:
        scale = _statistic(part, "weight", where, mean.shape) * scale
    shift = -mean * scale
    if part.get("bias") is not None:
        shift = shift + _statistic(part, "bias", where, mean.shape)
    return scale, shift


def _scale(part: TorchObject, where: str) -> Floats:
    """Return 1/sqrt(running_var + eps), (H,)."""
    shape = _statistic(part, "running_mean", where).shape
    if part.get("running_var") is None and part.get("running_std") is not None:
        return _statistic(part, "running_std", where, shape)
    eps = part.get("eps")
    variance = _statistic(part, "running_var", where, shape) + (eps if fields.is_finite(eps) else 1e-5)
    if not (variance > 0).all():
        raise CheckpointFormatError(f"{where}.running_var holds negative numbers or NaN; the file is damaged")
    scale: Floats = 1 / np.sqrt(variance)
    return scale


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
