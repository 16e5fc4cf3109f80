"""The parts the models share: the recurrent layers' parameters, and what stands below and above them.

Dimensions: B batch, T time, V vocabulary, I input size, H hidden, L layers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from char_rnn.cells import Cell
from char_rnn.models.checks import check_sizes

CUDNN_CELLS = {"lstm": "LSTM", "gru": "GRU", "rnn": "RNN_TANH"}
"""What cuDNN calls its cells."""


class RecurrentLayers(nn.Module):
    """The parameters of L stacked recurrent layers, named and laid out as ``nn.LSTM(num_layers=L)`` has them.

    The state dict of one loads into the other. There is no forward pass here: a model runs the layers one by one
    through :mod:`char_rnn.ops`, with its own dropout, because PyTorch's multi-layer kernels on MPS have had wrong
    gradients and repeated dropout masks (pytorch issues 190056, 190057, 185351).

    Args:
        cell: The cell.
        input_size: I of the lowest layer; that of the others is H.
        hidden_size: H.
        num_layers: L.
        normed: Whether each layer has the parameters of layer normalization inside the cell.
        mogrifier_rounds: R, the mogrifier's matrices of each layer.
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
        self.mogrifier_rounds = mogrifier_rounds
        self._names = tuple(cell.shapes(1, 1, normed=normed, mogrifier=mogrifier_rounds))
        for layer in range(num_layers):
            columns = hidden_size if layer else input_size
            for name, shape in cell.shapes(columns, hidden_size, normed=normed, mogrifier=mogrifier_rounds).items():
                self.register_parameter(f"{name}_l{layer}", nn.Parameter(torch.empty(shape)))
        self.reset_parameters()
        self._pack_for_cudnn()

    def reset_parameters(self) -> None:
        """Draw every parameter from the uniform distribution over +-1/sqrt(H), as PyTorch's own layers do.

        Normalization starts with gains of 1 and biases of 0.
        """
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)
        for layer in range(self.num_layers if self.normed else 0):
            parameters = self.named(layer)
            for name in self.cell.normalization:
                nn.init.constant_(parameters[name], name.startswith("gain"))

    def named(self, layer: int) -> dict[str, Tensor]:
        """Return the parameters of one layer by their names in the cell's equations, in the order of the state dict."""
        return {name: getattr(self, f"{name}_l{layer}") for name in self._names}

    def weights(self, layer: int) -> list[Tensor]:
        """Return weight_ih, weight_hh, bias_ih and bias_hh of one layer."""
        return [getattr(self, f"{name}_l{layer}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]

    def input_size(self, layer: int) -> int:
        """Return the length of the vectors that one layer reads."""
        return int(self.weights(layer)[0].shape[1])

    def __iter__(self) -> Iterator[list[Tensor]]:
        return map(self.weights, range(self.num_layers))

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
        """Move each layer's weights on CUDA into one chunk of memory, which cuDNN would else make at every call.

        A chunk a layer, as ``nn.RNNBase.flatten_parameters`` would make it for a module of that layer alone.
        """
        cudnn: Any = torch.backends.cudnn
        if self.cell.name not in CUDNN_CELLS:
            return
        for weights in self:
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
    """The fixed embedding: id k becomes the k-th unit vector. It has no parameters.

    Args:
        size: V, the number of ids and the length of the vectors.
    """

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
    """The output projection whose matrix is the embedding's; its own is the bias.

    Source: Press and Wolf (2017), arXiv 1608.05859; Inan et al. (2017), arXiv 1611.01462.

    Args:
        embedding: V vectors of length H.
    """

    def __init__(self, embedding: nn.Embedding) -> None:
        super().__init__()
        self._embedding = (embedding,)  # in a tuple, so that it is no part of this one too
        self.bias = nn.Parameter(torch.empty(embedding.num_embeddings))
        bound = 1 / math.sqrt(embedding.embedding_dim)
        for parameter in (embedding.weight, self.bias):  # as nn.Linear draws them
            nn.init.uniform_(parameter, -bound, bound)

    @property
    def weight(self) -> Tensor:
        """The embedding's, (V, H)."""
        return self._embedding[0].weight

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores (..., V) of the symbols after x (..., H)."""
        return F.linear(x, self.weight, self.bias)


def make_embedding(
    kind: str, vocab_size: int, embedding_size: int | None, tied_size: int | None = None
) -> nn.Embedding | OneHot:
    """Make the embedding that a model's arguments describe.

    Args:
        kind: "learned" or "one-hot".
        vocab_size: V.
        embedding_size: Length of the learned vectors; None for the usual one.
        tied_size: The length they must have; None where any will do.

    Raises:
        ValueError: The arguments do not go together.
    """
    if kind not in ("learned", "one-hot"):
        raise ValueError(f'embedding: got {kind!r}; give "learned" or "one-hot"')
    if kind == "one-hot" and tied_size is not None:
        raise ValueError("tie_weights: one-hot vectors are not learned, so they cannot be shared; give False")
    if kind == "one-hot":
        if embedding_size is not None:
            raise ValueError(
                f"embedding_size: got {embedding_size}, but one-hot vectors are as long as the vocabulary; give None"
            )
        return OneHot(vocab_size)
    if embedding_size is not None:
        check_sizes(embedding_size=embedding_size)
    if tied_size is not None and embedding_size not in (None, tied_size):
        raise ValueError(
            f"embedding_size: got {embedding_size}, but tied vectors are as long as hidden_size {tied_size}; give None"
        )
    return nn.Embedding(vocab_size, embedding_size or tied_size or vocab_size)
