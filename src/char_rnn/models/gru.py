"""The gated recurrent unit character model."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from char_rnn.cells import GRU
from char_rnn.models.base import CharModel, State
from char_rnn.ops import GRUNorm, gru
from char_rnn.ops.gru_options import Reset


class CharGRU(CharModel):
    """A character model of stacked GRU layers; its hidden state is (L, B, H).

    See :func:`char_rnn.ops.gru_reference` for the equations.

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

    name = "gru"
    num_gates = GRU.gates
    make_norm = GRUNorm

    def __init__(
        self,
        vocab_size: int,
        hidden_size: int,
        num_layers: int,
        dropout: float = 0.0,
        *,
        reset: Reset = "after",
        **options: Any,
    ) -> None:
        super().__init__(vocab_size, hidden_size, num_layers, dropout, **options)
        if reset not in ("after", "before"):
            raise ValueError(f'reset: got {reset!r}; give "after" or "before"')
        self.reset = reset

    def run_layer(self, x: Tensor, state: State, weights: list[Tensor], **options: Any) -> tuple[Tensor, State]:
        """Run one GRU layer over x (B, T, I) from its state, h of (B, H)."""
        output, h = gru(x, state[0], *weights, reset=self.reset, **options)
        return output, (h,)
