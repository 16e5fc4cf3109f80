"""Initialization schemes for a model's parameters, each with its source.

Fans are counted per gate: a gate's block of a recurrent weight is one (H, I) or (H, H) matrix, not part of a (4H, I)
one. Except in ``uniform``, a learned embedding keeps PyTorch's standard normal, so that its vectors have the unit
variance that the derivations below assume. A tied embedding is initialized as the matrix of the projection. The gains
of normalizations always start at 1, their biases at 0.

Dimensions: I input size, H hidden.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from char_rnn.models.char_model import CharModel


def pytorch(model: CharModel) -> None:
    """Keep the values of PyTorch's modules.

    Recurrent parameters and the projection are uniform over +-1/sqrt(H), the embedding is standard normal, the matrices
    of sublayers are uniform over +-1/sqrt(fan in).
    """


def uniform(model: CharModel) -> None:
    """Draw every parameter uniformly over +-0.08, and set the forget gate's input bias to 1.

    Source: karpathy/char-rnn, train.lua (2015), which has no embedding; here it is drawn like the others.
    """
    for name, parameter in model.named_parameters():
        in_cell = name.rpartition(".")[2].rpartition("_l")[0]
        if "norm" not in name and in_cell not in model.cell.normalization:
            nn.init.uniform_(parameter, -0.08, 0.08)
    _open_forget_gates(model)


def xavier(model: CharModel) -> None:
    """Draw matrices uniformly over +-sqrt(6 / (fan in + fan out)); biases 0, forget gates 1.

    Source: Glorot and Bengio (2010), "Understanding the difficulty of training deep feedforward neural networks",
    equation 16; the forget gate's bias after Jozefowicz et al. (2015).
    """
    _initialize_matrices(model, nn.init.xavier_uniform_)


def he(model: CharModel) -> None:
    """Draw matrices from a normal distribution of variance 2 / fan in; biases 0, forget gates 1.

    Source: He et al. (2015), arXiv 1502.01852, equation 10, derived for rectifiers; with tanh cells, activations are
    larger at the start than with ``xavier``.
    """
    _initialize_matrices(model, nn.init.kaiming_normal_)


def orthogonal(model: CharModel) -> None:
    """Make every gate's recurrent matrix a random orthogonal one; all else as in ``xavier``.

    Source: Saxe et al. (2014), arXiv 1312.6120.
    """
    xavier(model)
    for matrix in _gates(model, "weight_hh"):
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
    """Initialize a model's parameters in place with PyTorch's global generator."""
    SCHEMES[scheme](model)


def _gates(model: CharModel, name: str) -> Iterator[Tensor]:
    """Yield each gate's part of a parameter, layer by layer; nothing if the cell does not have it."""
    for parameters in map(model.layers.named, range(model.num_layers)):
        if name in parameters:
            yield from parameters[name].chunk(model.cell.gates)


def _initialize_matrices(model: CharModel, draw: Callable[[Tensor], Tensor]) -> None:
    """Draw all matrices except an untied embedding, recurrent ones gate by gate; set biases to 0."""
    layers = list(map(model.layers.named, range(model.num_layers)))
    mogrifiers = (each for layer in layers for name, each in layer.items() if name.startswith("mogrifier_"))
    sublayers = (parameter for parameter in model.blocks.parameters() if parameter.ndim == 2)
    for matrix in (*_gates(model, "weight_ih"), *_gates(model, "weight_hh"), *mogrifiers, *sublayers):
        draw(matrix)
    draw(model.output_proj.weight)
    biases: list[Tensor] = [parameter for name, parameter in model.blocks.named_parameters() if name.endswith("bias")]
    biases += [layer[name] for layer in layers for name in ("bias_ih", "bias_hh", *model.cell.vectors) if name in layer]
    for bias in (model.output_proj.bias, *biases):
        nn.init.zeros_(bias)
    _open_forget_gates(model)


def _open_forget_gates(model: CharModel) -> None:
    """Set the biases of forget gates in bias_ih to 1, so that cells with such a gate remember at first."""
    if model.cell.forget_gate is not None:
        for bias in list(_gates(model, "bias_ih"))[model.cell.forget_gate :: model.cell.gates]:
            nn.init.ones_(bias)
