"""The parts the models share: the recurrent layers' parameters and the one-hot embedding.

Dimensions: B batch, T time, V vocabulary, I input size, H hidden, L layers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from char_rnn.models.parameters import PARAMETERS


class RecurrentLayers(nn.Module):
    """The parameters of L stacked recurrent layers, named and laid out as ``nn.LSTM(num_layers=L)`` has them.

    The state dict of one loads into the other. There is no forward pass here: a model runs the layers one by one
    through :mod:`char_rnn.ops`, with its own dropout, because PyTorch's multi-layer kernels on MPS have had wrong
    gradients and repeated dropout masks (pytorch issues 190056, 190057, 185351).

    Args:
        mode: What cuDNN calls the cell: "LSTM", "GRU" or "RNN_TANH".
        num_gates: Row blocks of each weight: 4, 3 or 1.
        input_size: I of the lowest layer; that of the others is H.
        hidden_size: H.
        num_layers: L.
    """

    def __init__(self, mode: str, num_gates: int, input_size: int, hidden_size: int, num_layers: int) -> None:
        super().__init__()
        self.mode = mode
        self.num_gates = num_gates
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        rows = num_gates * hidden_size
        for layer in range(num_layers):
            columns = hidden_size if layer else input_size
            for name, shape in zip(PARAMETERS, ((rows, columns), (rows, hidden_size), (rows,), (rows,)), strict=True):
                self.register_parameter(f"{name}_l{layer}", nn.Parameter(torch.empty(shape)))
        self.reset_parameters()
        self._pack_for_cudnn()

    def reset_parameters(self) -> None:
        """Draw every parameter from the uniform distribution over +-1/sqrt(H), as PyTorch's own layers do."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def weights(self, layer: int) -> list[Tensor]:
        """Return weight_ih, weight_hh, bias_ih and bias_hh of one layer."""
        return [getattr(self, f"{name}_l{layer}") for name in PARAMETERS]

    def __iter__(self) -> Iterator[list[Tensor]]:
        return map(self.weights, range(self.num_layers))

    def extra_repr(self) -> str:
        """Describe the layers in ``print(model)``."""
        input_size = self.weights(0)[0].shape[1]
        return f"{self.mode}, input_size={input_size}, hidden_size={self.hidden_size}, num_layers={self.num_layers}"

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
        for weights in self:
            if all(weight.is_cuda and cudnn.is_acceptable(weight) for weight in weights):
                self._pack_layer(weights)

    def _pack_layer(self, weights: list[Tensor]) -> None:
        from torch.backends.cudnn import rnn

        aten: Any = torch
        cudnn_rnn: Any = rnn
        mode = cudnn_rnn.get_cudnn_mode(self.mode)
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
