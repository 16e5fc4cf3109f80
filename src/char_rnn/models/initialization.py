"""How a model's parameters start: one function a scheme, each with its source.

Fans are counted per gate: a gate's block of a recurrent weight is one (H, I) or (H, H) matrix, not a part of a
(4H, I) one. Except in ``uniform``, a learned embedding keeps PyTorch's standard normal: what it feeds to the first
layer then has the unit variance that the derivations below assume. A tied one is the projection's matrix first of all:
it is drawn as that. The gains of normalizations always start at 1, their biases at 0.

Dimensions: I input size, H hidden.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from char_rnn.cells import LSTM

if TYPE_CHECKING:
    from char_rnn.models.char_model import CharModel


def pytorch(model: CharModel) -> None:
    """Leave what PyTorch's modules draw.

    Recurrent parameters uniform over +-1/sqrt(H), embedding standard normal, projection uniform over +-1/sqrt(H);
    the matrices of sublayers uniform over +-1/sqrt(fan in).
    """


def uniform(model: CharModel) -> None:
    """Draw every parameter from +-0.08, then set the forget gate's input bias to 1 in an LSTM.

    Source: karpathy/char-rnn, train.lua (2015). There is no embedding there; here it is drawn like all the rest.
    """
    for name, parameter in model.named_parameters():
        in_cell = name.rpartition(".")[2].rpartition("_l")[0]
        if "norm" not in name and in_cell not in model.layers.cell.normalization:
            nn.init.uniform_(parameter, -0.08, 0.08)
    _open_forget_gates(model)


def xavier(model: CharModel) -> None:
    """Draw matrices uniformly over +-sqrt(6 / (fan in + fan out)); biases 0, an LSTM's forget gates 1.

    Source: Glorot and Bengio (2010), "Understanding the difficulty of training deep feedforward neural networks",
    equation 16; the forget gate's bias after Jozefowicz et al. (2015).
    """
    for matrix in _matrices(model):
        nn.init.xavier_uniform_(matrix)
    _reset_biases(model)


def he(model: CharModel) -> None:
    """Draw matrices from a normal distribution of variance 2 / fan in; biases 0, an LSTM's forget gates 1.

    Source: He et al. (2015), arXiv 1502.01852, equation 10, derived for rectifiers; with tanh cells it starts with
    larger activations than ``xavier``.
    """
    for matrix in _matrices(model):
        nn.init.kaiming_normal_(matrix)
    _reset_biases(model)


def orthogonal(model: CharModel) -> None:
    """Make every gate's recurrent matrix a random orthogonal one; all else as in ``xavier``.

    Source: Saxe et al. (2014), arXiv 1312.6120.
    """
    xavier(model)
    for matrix in _recurrent_matrices(model):
        nn.init.orthogonal_(matrix)


SCHEMES: dict[str, Callable[[CharModel], None]] = {
    "pytorch": pytorch,
    "uniform": uniform,
    "xavier": xavier,
    "he": he,
    "orthogonal": orthogonal,
}


@torch.no_grad()
def initialize(model: CharModel, scheme: str) -> None:
    """Set a model's parameters in place by the named scheme, drawing from PyTorch's global generator.

    Raises:
        ValueError: There is no such scheme.
    """
    if scheme not in SCHEMES:
        raise ValueError(f"initialization: got {scheme!r}; give one of {', '.join(SCHEMES)}")
    SCHEMES[scheme](model)


def _matrices(model: CharModel) -> Iterator[Tensor]:
    """All of them but an embedding that is not tied; of the recurrent ones each gate's."""
    for weight_ih, *_ in model.layers:
        yield from weight_ih.chunk(model.layers.cell.gates)
    yield from _recurrent_matrices(model)
    for number in range(model.num_layers):
        yield from (each for name, each in model.layers.named(number).items() if name.startswith("mogrifier_"))
    yield from (parameter for parameter in model.blocks.parameters() if parameter.ndim == 2)
    yield model.output_proj.weight


def _recurrent_matrices(model: CharModel) -> Iterator[Tensor]:
    """Each gate's (H, H) matrix, layer by layer."""
    for _, weight_hh, *_ in model.layers:
        yield from weight_hh.chunk(model.layers.cell.gates)


def _reset_biases(model: CharModel) -> None:
    nn.init.zeros_(model.output_proj.bias)
    for name, parameter in model.blocks.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
    for number in range(model.num_layers):
        parameters = model.layers.named(number)
        for name in ("bias_ih", "bias_hh", *model.layers.cell.vectors):
            nn.init.zeros_(parameters[name])
    _open_forget_gates(model)


def _open_forget_gates(model: CharModel) -> None:
    """Set an LSTM's forget biases to 1, so that it remembers at first; bias_hh adds what it holds."""
    if model.layers.cell.name != LSTM.name:
        return
    for *_, bias_ih, _ in model.layers:
        nn.init.ones_(bias_ih.chunk(LSTM.gates)[1])
