"""Where the numbers of a 2015 model stand, and where they go in today's.

The 2015 program keeps all parameters in one flat vector: for each ``nn.Linear``, in the order in which the graph runs
them, the weight (out, in) row by row, then the bias (out). :func:`linears` lists them, each with its place in today's
state dict. A place is a tensor's name and, block by block of H rows, which block of that tensor it becomes:

* LSTM: 2015 stacks i, f, o, g (input, forget, output gate, candidate), PyTorch i, f, g, o.
* GRU: every gate is a Linear of its own, in the order z, z, candidate, r, r, candidate (the candidate's product with
  the state comes last, as it waits for r); PyTorch stacks r, z, n. And 2015's z weighs the candidate,
  h' = z n + (1 - z) h, where PyTorch's weighs the old state, h' = (1 - z) n + z h. As sigmoid(-a) = 1 - sigmoid(a),
  the blocks of z change their sign, which no rounding touches.
* RNN: one block.

Dimensions: V vocabulary, H hidden, P all parameters.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Linear:
    """One ``nn.Linear`` of the 2015 graph.

    Attributes:
        name: what the 2015 program calls it, or what it does there.
        shape: (out, in) of its weight.
        target: today's tensors: ``lstm.{}_ih_l0`` stands for a weight and a bias, ``output_proj.{}`` likewise.
        blocks: for each block of H rows its place in the target, counted in blocks; None for all rows as they are.
        sign: -1 where the target has the opposite sign.
    """

    name: str
    shape: tuple[int, int]
    target: str
    blocks: tuple[int, ...] | None = None
    sign: int = 1

    @property
    def size(self) -> int:
        """Numbers in weight and bias."""
        rows, columns = self.shape
        return rows * (columns + 1)


# Per layer, in the order of the flat vector: name, what it multiplies (input or hidden state), blocks, sign.
_CELLS: dict[str, tuple[tuple[str, str, tuple[int, ...], int], ...]] = {
    "lstm": (("i2h", "ih", (0, 1, 3, 2), 1), ("h2h", "hh", (0, 1, 3, 2), 1)),
    "gru": (
        ("update i2h", "ih", (1,), -1),
        ("update h2h", "hh", (1,), -1),
        ("candidate i2h", "ih", (2,), 1),
        ("reset i2h", "ih", (0,), 1),
        ("reset h2h", "hh", (0,), 1),
        ("candidate h2h", "hh", (2,), 1),
    ),
    "rnn": (("i2h", "ih", (0,), 1), ("h2h", "hh", (0,), 1)),
}
_NUM_BLOCKS = {"lstm": 4, "gru": 3, "rnn": 1}


def linears(cell: str, vocab_size: int, hidden_size: int, num_layers: int) -> list[Linear]:
    """Return the Linears of a 2015 model in the order of its flat vector."""
    found = []
    for layer in range(num_layers):
        width = hidden_size if layer else vocab_size
        for name, side, blocks, sign in _CELLS[cell]:
            shape = (len(blocks) * hidden_size, width if side == "ih" else hidden_size)
            found.append(Linear(f"{name}_{layer + 1}", shape, f"{cell}.{{}}_{side}_l{layer}", blocks, sign))
    return [*found, Linear("decoder", (vocab_size, hidden_size), "output_proj.{}")]


def to_tensors(cell: str, vocab_size: int, hidden_size: int, num_layers: int, flat: Floats) -> dict[str, Floats]:
    """Turn a flat vector (P,) into today's tensors by name, of its element type.

    Raises:
        ValueError: the vector has another length than such a model.
    """
    layout = linears(cell, vocab_size, hidden_size, num_layers)
    needed = sum(linear.size for linear in layout)
    if flat.shape != (needed,):
        raise ValueError(f"parameters: got {flat.size}, but a model of these sizes has {needed}")
    tensors: dict[str, Floats] = {}
    for linear, weight, bias in split(layout, flat):
        for kind, part in (("weight", weight), ("bias", bias)):
            _place(tensors, linear, linear.target.format(kind), part, _NUM_BLOCKS[cell])
    return tensors


def to_flat(cell: str, vocab_size: int, hidden_size: int, num_layers: int, tensors: Mapping[str, Floats]) -> Floats:
    """Turn today's tensors into 2015's flat vector (P,), of their element type: the inverse of :func:`to_tensors`."""
    parts = []
    for linear in linears(cell, vocab_size, hidden_size, num_layers):
        for kind in ("weight", "bias"):
            tensor = tensors[linear.target.format(kind)]
            parts.append(_take(linear, tensor, _NUM_BLOCKS[cell]).ravel())
    return np.concatenate(parts)


def split(layout: list[Linear], flat: Floats) -> Iterator[tuple[Linear, Floats, Floats]]:
    """Go through a flat vector (P,): each Linear with views of its weight (out, in) and its bias (out)."""
    start = 0
    for linear in layout:
        rows, columns = linear.shape
        middle, end = start + rows * columns, start + linear.size
        yield linear, flat[start:middle].reshape(rows, columns), flat[middle:end]
        start = end


def _place(tensors: dict[str, Floats], linear: Linear, name: str, part: Floats, num_blocks: int) -> None:
    """Copy a weight or a bias to where it belongs in the tensor ``name``, which is made when it is not there yet."""
    if linear.blocks is None:
        tensors[name] = part.copy()
        return
    size = len(part) // len(linear.blocks)
    whole = tensors.setdefault(name, np.empty((num_blocks * size, *part.shape[1:]), part.dtype))
    for block, rows in zip(linear.blocks, part.reshape(len(linear.blocks), size, *part.shape[1:]), strict=True):
        np.multiply(rows, linear.sign, out=whole[block * size : (block + 1) * size])


def _take(linear: Linear, tensor: Floats, num_blocks: int) -> Floats:
    """Return a Linear's weight or bias out of today's tensor."""
    if linear.blocks is None:
        return tensor
    blocks = tensor.reshape(num_blocks, len(tensor) // num_blocks, *tensor.shape[1:])
    return linear.sign * blocks[list(linear.blocks)]
