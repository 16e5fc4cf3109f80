"""What a character costs in multiplications and bytes, from a model's shapes alone.

Dimensions: V vocabulary, E embedding size, H hidden, L layers, G gates.

Only the matrix products are counted, as is the custom: what is done element by element (the gates, the loss, the
optimizer's update) takes time but is no product. A product of a matrix and a vector is one multiplication and one
addition an element of the matrix, 2 FLOP. So a character costs, forward,

    2 * (G H (E + H) + (L - 1) G H 2H + H V)

and in training three times that: the backward pass makes one such product for the gradient of what entered and one for
that of the matrix. The engine looks up what the lowest layer makes of a symbol, so that its step has no ``G H E``.
"""

from __future__ import annotations

import math

from char_rnn.models.parameters import parameter_shapes
from char_rnn.utils.config import ModelConfig

FLOP = 2
TRAINING = 3  # forward, and the two products of the backward pass


def matrix_elements(config: ModelConfig, vocab_size: int, *, looked_up: bool = False) -> int:
    """Return how many elements the matrices have that a character is multiplied with.

    Args:
        config: of a plain model: no options within or around its layers, and its own output matrix.
        vocab_size: V.
        looked_up: leave out the matrix that the lowest layer multiplies its input with.
    """
    left_out = ("embedding.weight", "weight_ih_l0") if looked_up else ("embedding.weight",)
    shapes = (shape for name, shape in parameter_shapes(config, vocab_size) if not name.endswith(left_out))
    return sum(shape[0] * shape[1] for shape in shapes if len(shape) == 2)


def training_flop(config: ModelConfig, vocab_size: int) -> int:
    """Return the FLOP of training on one character."""
    return TRAINING * FLOP * matrix_elements(config, vocab_size)


def writing_flop(config: ModelConfig, vocab_size: int) -> int:
    """Return the FLOP of a step of the engine for one text."""
    return FLOP * matrix_elements(config, vocab_size, looked_up=True)


def parameter_count(config: ModelConfig, vocab_size: int) -> int:
    """Return how many parameters a model has."""
    return sum(math.prod(shape) for _, shape in parameter_shapes(config, vocab_size))
