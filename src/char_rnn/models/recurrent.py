"""The character models, one for each cell."""

from __future__ import annotations

from typing import Any

from char_rnn.cells import GRU, LSTM, RNN
from char_rnn.models.base import CharModel


class CharLSTM(CharModel):
    """A character model of stacked LSTM layers; its hidden state is a pair (h, c), each (L, B, H).

    See :class:`~char_rnn.models.base.CharModel` for the arguments, and :class:`char_rnn.cells.LSTM` for the equations.
    """

    cell = LSTM()


class CharGRU(CharModel):
    """A character model of stacked GRU layers; its hidden state is (L, B, H).

    See :class:`char_rnn.cells.GRU` for the equations.

    Args:
        vocab_size: V, symbols in the vocabulary.
        hidden_size: H, units of each recurrent layer.
        num_layers: L, stacked recurrent layers.
        dropout: Probability of a unit's output being dropped in training, 0 <= dropout < 1.
        reset: Whether the reset gate is applied "after" the recurrent product, as ``nn.GRU`` does, or "before" it,
            as the 2015 model does. They are different functions of the same weights.
        options: The keyword arguments of :class:`~char_rnn.models.base.CharModel`.

    Raises:
        ValueError: As the base, or `reset` is neither.
    """

    def __init__(
        self,
        vocab_size: int,
        hidden_size: int,
        num_layers: int,
        dropout: float = 0.0,
        *,
        reset: str = "after",
        **options: Any,
    ) -> None:
        self.cell = GRU(reset)
        super().__init__(vocab_size, hidden_size, num_layers, dropout, **options)
        self.reset = reset


class CharRNN(CharModel):
    """A character model of stacked simple (tanh) layers; its hidden state is (L, B, H).

    See :class:`~char_rnn.models.base.CharModel` for the arguments, and :class:`char_rnn.cells.RNN` for the equations.
    """

    cell = RNN()
