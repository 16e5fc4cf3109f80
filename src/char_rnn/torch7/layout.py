"""The layout of a 2015 model's parameters, and where each goes in today's state dict.

The 2015 program keeps all parameters in one flat vector: for each ``nn.Linear``, in the order in which the graph runs
them, the weight (out, in) row by row, then the bias (out). :func:`linears` lists them, each with its place in today's
state dict: a tensor's name and, for each of its blocks of rows, the block of that tensor it becomes.

* LSTM: 2015 stacks i, f, o, g (input, forget, output gate, candidate), PyTorch i, f, g, o.
* GRU: every gate is a Linear of its own, in the order z, z, candidate, r, r, candidate (the candidate's product with
  the state comes last, as it waits for r); PyTorch stacks r, z, n. And 2015's z weighs the candidate,
  h' = z n + (1 - z) h, while PyTorch's weighs the old state, h' = (1 - z) n + z h. As sigmoid(-a) = 1 - sigmoid(a),
  the blocks of z change their sign, which is exact.
* RNN: one block.

Dimensions: V vocabulary, H hidden, P all parameters.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]


class LinearSlot(NamedTuple):
    """One ``nn.Linear`` of the 2015 graph.

    Attributes:
        role: Its role in a layer, or "decoder".
        shape: (out, in) of its weight.
        target: Today's tensors: ``lstm.{}_ih_l0`` stands for a weight and a bias, ``output_proj.{}`` likewise.
        blocks: Place in the target of each of its blocks of rows, counted in blocks.
        stacked: Blocks in the target.
        sign: -1 if the target has the opposite sign.
    """

    role: str
    layer: int  # from 0
    shape: tuple[int, int]
    target: str
    blocks: tuple[int, ...] = (0,)
    stacked: int = 1
    sign: int = 1

    @property
    def name(self) -> str:
        """The role and, from 1, the layer."""
        return self.role if self.role == "decoder" else f"{self.role}_{self.layer + 1}"

    @property
    def size(self) -> int:
        """Number of parameters in weight and bias."""
        rows, columns = self.shape
        return rows * (columns + 1)


_LSTM, _RNN = (0, 1, 3, 2), (0,)
# Per layer, in the order of the flat vector: role, what it multiplies (input or hidden state), blocks, sign.
_CELLS: dict[str, tuple[tuple[str, str, tuple[int, ...], int], ...]] = {
    "lstm": (("i2h", "ih", _LSTM, 1), ("h2h", "hh", _LSTM, 1)),
    "gru": (
        ("update i2h", "ih", (1,), -1),
        ("update h2h", "hh", (1,), -1),
        ("candidate i2h", "ih", (2,), 1),
        ("reset i2h", "ih", (0,), 1),
        ("reset h2h", "hh", (0,), 1),
        ("candidate h2h", "hh", (2,), 1),
    ),
    "rnn": (("i2h", "ih", _RNN, 1), ("h2h", "hh", _RNN, 1)),
}
_STACKED = {"lstm": 4, "gru": 3, "rnn": 1}


def linears(cell: str, vocab_size: int, hidden_size: int, num_layers: int) -> list[LinearSlot]:
    """Return the Linears of a 2015 model in the order of its flat vector."""
    found = []
    for layer in range(num_layers):
        width = hidden_size if layer else vocab_size
        for role, side, blocks, sign in _CELLS[cell]:
            shape = (len(blocks) * hidden_size, width if side == "ih" else hidden_size)
            target = f"{cell}.{{}}_{side}_l{layer}"
            found.append(LinearSlot(role, layer, shape, target, blocks, _STACKED[cell], sign))
    return [*found, LinearSlot("decoder", num_layers, (vocab_size, hidden_size), "output_proj.{}")]


def to_tensors(cell: str, vocab_size: int, hidden_size: int, num_layers: int, flat: Floats) -> dict[str, Floats]:
    """Return today's tensors by name, made from a flat vector (P,), of its element type.

    Raises:
        ValueError: The vector has another length than such a model.
    """
    slots = linears(cell, vocab_size, hidden_size, num_layers)
    needed = sum(slot.size for slot in slots)
    if flat.shape != (needed,):
        raise ValueError(f"parameters: got {flat.size}, but a model of these sizes has {needed}")
    tensors: dict[str, Floats] = {}
    for slot, weight, bias in split(slots, flat):
        rows = len(bias) // len(slot.blocks)
        for kind, part in (("weight", weight), ("bias", bias)):
            empty = np.empty((slot.stacked * rows, *part.shape[1:]), part.dtype)
            tensor = tensors.setdefault(slot.target.format(kind), empty)
            for block, values in zip(slot.blocks, part.reshape(-1, rows, *part.shape[1:]), strict=True):
                np.multiply(values, slot.sign, out=tensor[block * rows : (block + 1) * rows])
    return tensors


def split(slots: list[LinearSlot], flat: Floats) -> Iterator[tuple[LinearSlot, Floats, Floats]]:
    """Yield each Linear of a flat vector (P,) with views of its weight (out, in) and its bias (out)."""
    start = 0
    for slot in slots:
        rows, columns = slot.shape
        middle, end = start + rows * columns, start + slot.size
        yield slot, flat[start:middle].reshape(rows, columns), flat[middle:end]
        start = end
