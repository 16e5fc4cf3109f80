r"""The network of a torch-rnn model as tensors.

Its ``net`` is a sequence: an ``nn.LookupTable``, for each layer an ``nn.LSTM`` or ``nn.VanillaRNN``, optionally with
batch normalization and dropout, and an ``nn.Linear``. Vectors are rows, multiplied from the left, so the weight of a
layer, (I + H, G H), is the transpose of PyTorch's two, with the input's rows above the state's. There is one bias, and
the LSTM's blocks of H are i, f, o, g; PyTorch's are i, f, g, o.

Batch normalization is between a layer and the next, never inside the recurrence. In evaluation it is affine,
y = s h + t with

    s = gamma / sqrt(running_var + eps)        t = beta - running_mean s

The next matrix multiplies y: W (s h + t) + b = (W diag(s)) h + (b + W t). So it is folded into the weight and bias of
the next layer's input, or of the output projection, in float64. All tensors of such a model are float64, to lose
nothing. A dropout that scales in evaluation (``v2`` false, y = (1 - p) h) is affine too.

Dimensions: V vocabulary, D embedding, I a layer's input, H hidden, G gates.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from char_rnn.torch7.checkpoints import fields
from char_rnn.torch7.checkpoints.fields import CheckpointFormatError, floats
from char_rnn.torch7.layout import Floats
from char_rnn.torch7.t7.values import TorchObject

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


@dataclass
class TorchRNNNetwork:
    """A network in the order of its forward pass, filled module by module.

    Attributes:
        cells: Types of its recurrent layers, "lstm" or "rnn".
        embedding: (V, D).
        layers: The recurrent layers.
        output: The projection to V.
        dropout: Probability.
    """

    cells: set[str] = field(default_factory=set)
    embedding: Floats | None = None
    layers: list[FoldedLinear] = field(default_factory=list)
    output: FoldedLinear | None = None
    dropout: float = 0.0
    _affine: Affine | None = None  # since the last layer

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
            self.dropout = fields.probability(part, where)
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
        listed = fields.table(part, "modules", where).array()
        held = [(inner, f"{where}.modules[{place}]") for place, inner in enumerate(listed, 1)]
    for inner, inner_where in held:
        yield from _modules(fields.module(inner, inner_where), inner_where, nesting - 1, seen)


def _normalization(part: TorchObject, where: str) -> Affine:
    """Return s and t, (H,), of a batch normalization in evaluation.

    Files before 2016 have ``running_std``, which is 1/sqrt(running_var + eps).
    """
    mean = _statistic(part, "running_mean", where)
    if part.get("running_var") is None and part.get("running_std") is not None:
        scale = _statistic(part, "running_std", where, mean.shape)
    else:
        eps = part.get("eps")
        variance = _statistic(part, "running_var", where, mean.shape) + (eps if fields.is_finite(eps) else 1e-5)
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
