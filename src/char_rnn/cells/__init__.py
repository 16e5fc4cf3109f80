"""Recurrent cells, each written once as its equations, from which all backends are derived.

Pure Python: no NumPy, no PyTorch. A user's cell is a class like :class:`LSTM`, in any module.
"""

from char_rnn.cells.cell import CELLS, Cell, Loop, Step, loop_of, trace
from char_rnn.cells.gradient import Backward, derive
from char_rnn.cells.gru import GRU
from char_rnn.cells.language import (
    EPSILON,
    Matrix,
    Value,
    concatenate,
    evaluate,
    is_constant,
    normalize,
    ordered,
    relu,
    rows,
    sigmoid,
    softplus,
    split,
    tanh,
)
from char_rnn.cells.lstm import LSTM
from char_rnn.cells.mingru import MinGRU
from char_rnn.cells.minlstm import MinLSTM
from char_rnn.cells.rnn import RNN
from char_rnn.cells.slstm import SLSTM

BUILT_IN = tuple(CELLS)
"""Names of the cells that are not defined by the importing program."""

__all__ = [
    "BUILT_IN",
    "CELLS",
    "EPSILON",
    "GRU",
    "LSTM",
    "RNN",
    "SLSTM",
    "Backward",
    "Cell",
    "Loop",
    "Matrix",
    "MinGRU",
    "MinLSTM",
    "Step",
    "Value",
    "concatenate",
    "derive",
    "evaluate",
    "is_constant",
    "loop_of",
    "normalize",
    "ordered",
    "relu",
    "rows",
    "sigmoid",
    "softplus",
    "split",
    "tanh",
    "trace",
]
