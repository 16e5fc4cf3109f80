"""The modules of a model: recurrent layers, sublayers around them, the embedding and the tied projection.

At the end are the arguments of a model and their checks.

Dimensions: B batch, T time, V vocabulary, I input size, H hidden, L layers, F feed-forward, W window, N heads.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from char_rnn.cells import CELLS, GRU, Cell
from char_rnn.ops import attend
from char_rnn.utils.config import ModelConfig, config_from_dict

CUDNN_CELLS = {"lstm": "LSTM", "gru": "GRU", "rnn": "RNN_TANH"}
"""cuDNN's names of the cells."""

RESERVED = ("attending", "attention_window", "blocks", "output_norm", "output_proj")
"""Attributes of a model that cannot be a cell's name, in addition to those that the model has before its cell."""


class RecurrentLayers(nn.Module):
    """The parameters of L stacked recurrent layers, with the names and shapes of ``nn.LSTM(num_layers=L)``.

    The state dict of one loads into the other. There is no forward pass here: a model runs the layers one by one with
    :mod:`char_rnn.ops` and its own dropout, because PyTorch's multi-layer kernels on MPS have had wrong gradients and
    repeated dropout masks (pytorch issues 190056, 190057, 185351).

    Args:
        input_size: I of the lowest layer; H for the others.
        normed: Whether there is layer normalization inside the cell.
        mogrifier_rounds: Number of the mogrifier's matrices in each layer.
    """

    def __init__(
        self,
        cell: Cell,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        *,
        normed: bool = False,
        mogrifier_rounds: int = 0,
    ) -> None:
        super().__init__()
        self.cell = cell
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.normed = normed
        self._names = tuple(cell.shapes(1, 1, normed=normed, mogrifier=mogrifier_rounds))
        for layer in range(num_layers):
            columns = hidden_size if layer else input_size
            for name, shape in cell.shapes(columns, hidden_size, normed=normed, mogrifier=mogrifier_rounds).items():
                self.register_parameter(f"{name}_l{layer}", nn.Parameter(torch.empty(shape)))
        self.reset_parameters()
        self._pack_for_cudnn()

    def reset_parameters(self) -> None:
        """Draw every parameter uniformly over +-1/sqrt(H), as PyTorch; normalization gains are 1, their biases 0."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)
        for layer in range(self.num_layers if self.normed else 0):
            parameters = self.named(layer)
            for name in self.cell.normalization:
                nn.init.constant_(parameters[name], name.startswith("gain"))

    def named(self, layer: int) -> dict[str, Tensor]:
        """Return the parameters of a layer by their names in the cell's equations, in the order of the state dict."""
        return {name: getattr(self, f"{name}_l{layer}") for name in self._names}

    def weights(self, layer: int) -> list[Tensor]:
        """Return weight_ih, weight_hh, bias_ih and bias_hh of a layer."""
        return [getattr(self, f"{name}_l{layer}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]

    def input_size(self, layer: int) -> int:
        """Return I of a layer."""
        return int(self.named(layer)["weight_ih"].shape[1])

    def extra_repr(self) -> str:
        """Describe the layers in ``print(model)``."""
        sizes = f"hidden_size={self.hidden_size}, num_layers={self.num_layers}"
        return f"{type(self.cell).__name__}, input_size={self.input_size(0)}, {sizes}"

    def _apply(self, *args: Any, **kwargs: Any) -> RecurrentLayers:
        apply: Any = super()._apply
        apply(*args, **kwargs)
        self._pack_for_cudnn()
        return self

    def _pack_for_cudnn(self) -> None:
        """Move each layer's weights on CUDA into one chunk of memory; otherwise cuDNN does this at every call.

        One chunk a layer, as ``nn.RNNBase.flatten_parameters`` of a module of that layer alone.
        """
        cudnn: Any = torch.backends.cudnn
        if self.cell.name not in CUDNN_CELLS:
            return
        for weights in map(self.weights, range(self.num_layers)):
            if all(weight.is_cuda and cudnn.is_acceptable(weight) for weight in weights):
                self._pack_layer(weights)

    def _pack_layer(self, weights: list[Tensor]) -> None:
        from torch.backends.cudnn import rnn

        aten: Any = torch
        cudnn_rnn: Any = rnn
        mode = cudnn_rnn.get_cudnn_mode(CUDNN_CELLS[self.cell.name])
        input_size = weights[0].shape[1]
        with torch.no_grad(), torch.cuda.device(weights[0].device):
            aten._cudnn_rnn_flatten_weight(weights, len(weights), input_size, mode, self.hidden_size, 0, 1, True, False)


class OneHot(nn.Module):
    """The fixed embedding: id k becomes the k-th unit vector of length V. It has no parameters."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.embedding_dim = size

    def forward(self, ids: Tensor, dtype: torch.dtype) -> Tensor:
        """Return the unit vectors, (..., V), of ids (...)."""
        vectors = torch.zeros(*ids.shape, self.embedding_dim, dtype=dtype, device=ids.device)
        return vectors.scatter_(-1, ids.long().unsqueeze(-1), 1)

    def extra_repr(self) -> str:
        """Describe the embedding in ``print(model)``."""
        return str(self.embedding_dim)


class TiedProjection(nn.Module):
    """An output projection whose matrix is the embedding; it owns only the bias.

    Source: Press and Wolf (2017), arXiv 1608.05859; Inan et al. (2017), arXiv 1611.01462.
    """

    def __init__(self, embedding: nn.Embedding) -> None:
        super().__init__()
        self._embedding = (embedding,)  # in a tuple, to avoid registering it twice
        self.bias = nn.Parameter(torch.empty(embedding.num_embeddings))
        bound = 1 / math.sqrt(embedding.embedding_dim)
        for parameter in (embedding.weight, self.bias):  # as nn.Linear draws them
            nn.init.uniform_(parameter, -bound, bound)

    @property
    def weight(self) -> Tensor:
        """The weight of the embedding, (V, H)."""
        return self._embedding[0].weight

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores (..., V) of the symbols after x (..., H)."""
        return F.linear(x, self.weight, self.bias)


class Block(nn.Module):
    """Normalization, residual connection and sublayers around a recurrent layer.

    `attention` is the heads and window of that sublayer. A residual connection needs an input of length H.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        normed: bool,
        residual: bool,
        attention: tuple[int, int] | None,
        feed_forward_size: int | None,
    ) -> None:
        super().__init__()
        self.residual = residual and input_size == hidden_size
        self.norm = nn.LayerNorm(input_size) if normed else nn.Identity()
        self.attention = None if attention is None else CausalAttention(hidden_size, *attention)
        self.feed_forward = None if feed_forward_size is None else FeedForward(hidden_size, feed_forward_size)

    def after(
        self, x: Tensor, output: Tensor, memory: Tensor | None, drop: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, Tensor | None]:
        """Return the output of the block, (B, T, H), and the memory of its attention after it.

        Args:
            x: Input of the block, (B, T, I).
            output: Output of the recurrent layer, after dropout, (B, T, H).
            memory: Memory of the attention, (B, W, H); None without attention.
            drop: Dropout after each sublayer.
        """
        x = x + output if self.residual else output
        if self.attention is not None and memory is not None:
            found, memory = self.attention(x, memory)
            x = x + drop(found)
        if self.feed_forward is not None:
            x = x + drop(self.feed_forward(x))
        return x, memory


class CausalAttention(nn.Module):
    """A sublayer in which every step attends to its own state and the W before it; see :mod:`char_rnn.ops.attention`.

    It reads and remembers normalized states. The matrices have no biases, so that the zeros that stand for the time
    before the text remain zeros.
    """

    def __init__(self, hidden_size: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        self.norm = nn.LayerNorm(hidden_size)
        self.query, self.key, self.value, self.output = (
            nn.Linear(hidden_size, hidden_size, bias=False) for _ in range(4)
        )

    def forward(self, x: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Return the term to add to x (B, T, H), and the memory (B, W, H) after it."""
        weights = (self.query.weight, self.key.weight, self.value.weight)
        found, memory = attend(self.norm(x), memory, *weights, self.heads)
        return self.output(found), memory

    def extra_repr(self) -> str:
        """Describe the sublayer in ``print(model)``."""
        return f"heads={self.heads}, window={self.window}"


class FeedForward(nn.Module):
    """A sublayer on each step alone, with GELU (Hendrycks and Gimpel 2016, arXiv 1606.08415) and normalized input.

    Source: Vaswani et al. (2017), arXiv 1706.03762, section 3.3.
    """

    def __init__(self, hidden_size: int, size: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(hidden_size)
        self.widen = nn.Linear(hidden_size, size)
        self.narrow = nn.Linear(size, hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """Return the term to add to x, (B, T, H)."""
        narrowed: Tensor = self.narrow(F.gelu(self.widen(self.norm(x))))
        return narrowed


class Options(TypedDict, total=False):
    """Keyword arguments of a model; see :class:`char_rnn.models.CharModel`."""

    embedding: Literal["learned", "one-hot"]
    embedding_size: int | None
    tie_weights: bool
    locked_dropout: bool
    embedding_dropout: float
    weight_dropout: float
    zoneout: float
    mogrifier_rounds: int
    layer_norm: Literal["none", "between", "cell"]
    residual: bool
    feed_forward_size: int | None
    attention: Literal["none", "top", "all"]
    attention_heads: int
    attention_window: int
    match_lengths: Sequence[int]
    match_window: int
    match_dropout: float
    initialization: str


def check_cell(cell: Any) -> None:
    """Raise ValueError if a model cannot be made of a cell, or a configuration cannot name it."""
    kind = type(cell).__name__
    if CELLS.get(getattr(cell, "name", "")) is not type(cell):
        what = f"got {cell!r}; give an instance of a cell, such as char_rnn.cells.LSTM()"
        if isinstance(cell, Cell):
            fix = f"set {kind}.name, or create {kind}() again if the class was redefined"
            what = f"the class {kind} is not registered under its name; {fix}"
        raise ValueError(f"cell: {what}")
    try:
        hash(cell)
    except TypeError as error:
        raise ValueError(f"cell: {kind}'s attributes must be hashable ({error}); use tuples instead of lists") from None
    if cell != (GRU(cell.reset) if type(cell) is GRU else type(cell)()):
        raise ValueError(f"cell: a configuration stores only the name {cell.name}; use {kind}() with its defaults")


def checked_config(model: str, cell: Any, **options: Any) -> ModelConfig:
    """Return the arguments of a model as the section `model` of a configuration; raise ValueError if one is invalid."""
    check_cell(cell)
    section = dict(type=cell.name, reset=getattr(cell, "reset", "after"), **options)
    return config_from_dict({"model": section}, model).model


def check_name(cell: Cell, model: nn.Module) -> None:
    """Raise ValueError if a model has an attribute with the name of its cell."""
    if hasattr(model, cell.name) or cell.name in RESERVED:
        kind = type(cell).__name__
        raise ValueError(f"cell: the name {cell.name} is one of the model's attributes; give {kind} another")


def check_size(name: str, size: int) -> None:
    """Raise ValueError if a size is not a whole number from 1."""
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise ValueError(f"{name}: got {size!r}; give a whole number, 1 or more")


def check_ids(x: Tensor) -> None:
    """Raise ValueError if x is not ids of shape (batch, time)."""
    if x.dim() != 2 or x.shape[0] < 1 or x.shape[1] < 1:
        raise ValueError(f"x: got shape {tuple(x.shape)}; give ids of shape (batch, time), both 1 or more")
    if x.dtype not in (torch.int32, torch.int64):
        raise ValueError(f"x: got {x.dtype}; give ids as torch.int64, x.long() converts them")


def check_range(x: Tensor, vocab_size: int) -> None:
    """Raise IndexError if an id on the CPU is outside 0 to V - 1; on other devices the check would wait for them."""
    if x.is_cpu:
        smallest, largest = (int(bound) for bound in torch.aminmax(x))
        if smallest < 0 or largest >= vocab_size:
            raise IndexError(f"x: ids are from {smallest} to {largest}; give ids from 0 to {vocab_size - 1}")
