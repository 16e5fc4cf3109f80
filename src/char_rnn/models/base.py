"""What every character model shares: an embedding, stacked recurrent layers, a projection, log-softmax.

Dimensions: B batch, T time, V vocabulary, E embedding size, H hidden, L layers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from char_rnn.models.initialization import initialize
from char_rnn.models.layers import OneHot, RecurrentLayers

Hidden = Tensor | tuple[Tensor, Tensor]
State = tuple[Tensor, ...]


class Activations(NamedTuple):
    """What the top recurrent layer put out, (B, T, H) each.

    Attributes:
        output: As the layer computed it.
        dropped: After its dropout.
    """

    output: Tensor
    dropped: Tensor


class CharModel(nn.Module, ABC):
    """Base of :class:`CharLSTM`, :class:`CharGRU` and :class:`CharRNN`.

    Dropout stands between the layers and after the top one, where ``nn.LSTM(dropout=p)`` has none: the 2015 model
    has it there too.

    Args:
        vocab_size: V, symbols in the vocabulary.
        hidden_size: H, units of each recurrent layer.
        num_layers: L, stacked recurrent layers.
        dropout: Probability of a unit's output being dropped in training, 0 <= dropout < 1.
        embedding: "learned" vectors, or fixed "one-hot" ones.
        embedding_size: E, length of the learned vectors; None for V. One-hot vectors are always V long.
        initialization: "pytorch", "uniform", "xavier", "he" or "orthogonal"; see
            :mod:`char_rnn.models.initialization`.

    Raises:
        ValueError: A size below 1, a dropout outside its range, or a choice that does not exist.
    """

    name: ClassVar[str]
    """What the recurrent layers are called in the state dict."""
    mode: ClassVar[str]
    """What cuDNN calls the cell."""
    num_gates: ClassVar[int]
    """Row blocks in the recurrent weights."""
    state_names: ClassVar[tuple[str, ...]] = ("h",)
    """The tensors a hidden state is made of."""

    def __init__(
        self,
        vocab_size: int,
        hidden_size: int,
        num_layers: int,
        dropout: float = 0.0,
        *,
        embedding: Literal["learned", "one-hot"] = "learned",
        embedding_size: int | None = None,
        initialization: str = "pytorch",
    ) -> None:
        super().__init__()
        _check_sizes(vocab_size=vocab_size, hidden_size=hidden_size, num_layers=num_layers)
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout: got {dropout}; give a probability from 0 to below 1")
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.dropout = float(dropout)
        self.embedding = _make_embedding(embedding, vocab_size, embedding_size)
        layers = RecurrentLayers(self.mode, self.num_gates, self.embedding.embedding_dim, hidden_size, num_layers)
        self.add_module(self.name, layers)
        self.output_proj = nn.Linear(hidden_size, vocab_size)
        initialize(self, initialization)

    @property
    def layers(self) -> RecurrentLayers:
        """The recurrent layers, whatever their name in the state dict."""
        return cast(RecurrentLayers, self.get_submodule(self.name))

    @abstractmethod
    def run_layer(self, x: Tensor, state: State, weights: list[Tensor]) -> tuple[Tensor, State]:
        """Run one recurrent layer over x (B, T, I) from its state, tensors of (B, H); return outputs and new state."""

    def init_hidden(self, batch_size: int, device: torch.device | str | None = None) -> Hidden:
        """Return the zero state for a batch: (L, B, H), or a pair (h, c) of that shape for an LSTM.

        Args:
            batch_size: B.
            device: Where to make it; None for where the model is.
        """
        _check_sizes(batch_size=batch_size)
        weight = self.output_proj.weight
        shape = (self.num_layers, batch_size, self.hidden_size)
        device = weight.device if device is None else device
        return self._as_hidden(tuple(torch.zeros(shape, dtype=weight.dtype, device=device) for _ in self.state_names))

    def forward(self, x: Tensor, hidden: Hidden | None = None) -> tuple[Tensor, Hidden]:
        """Predict, after each symbol, the next.

        Args:
            x: Ids, (B, T), integers from 0 to V - 1, T at least 1.
            hidden: State before the first symbol, as :meth:`init_hidden` makes it; None for zeros.

        Returns:
            Log-probabilities of the next symbol in nats, (B, T, V), and the state after the last symbol.

        Raises:
            ValueError: `x` or `hidden` does not have the shape the model needs.
            IndexError: An id is V or more (on the CPU; other devices report it later or not at all).
        """
        log_probs, hidden, _ = self.with_activations(x, hidden)
        return log_probs, hidden

    def with_activations(self, x: Tensor, hidden: Hidden | None = None) -> tuple[Tensor, Hidden, Activations]:
        """As :meth:`forward`, and what the top recurrent layer made of the text, for losses on it."""
        _check_ids(x)
        parts = self._as_parts(hidden, batch_size=x.shape[0])
        # The embedding is made time-major and viewed batch-first: so every step is one block of memory.
        output = self._embed(x.t()).transpose(0, 1)
        states, raw = [], output
        for layer, weights in enumerate(self.layers):
            raw, state = self.run_layer(output, tuple(part[layer] for part in parts), weights)
            output = F.dropout(raw, self.dropout, self.training)
            states.append(state)
        dtype = self.output_proj.weight.dtype  # Under autocast the products are in another, the results are not.
        log_probs = F.log_softmax(self.output_proj(output), dim=-1, dtype=dtype)
        hidden = self._as_hidden(tuple(torch.stack(part).to(dtype) for part in zip(*states, strict=True)))
        return log_probs, hidden, Activations(raw, output)

    def _embed(self, ids: Tensor) -> Tensor:
        embedded: Tensor
        if isinstance(self.embedding, OneHot):
            embedded = self.embedding(ids, self.output_proj.weight.dtype)
        else:
            embedded = self.embedding(ids)
        return embedded

    def _as_hidden(self, parts: State) -> Hidden:
        return parts[0] if len(parts) == 1 else (parts[0], parts[1])

    def _as_parts(self, hidden: Hidden | None, batch_size: int) -> State:
        if hidden is None:
            hidden = self.init_hidden(batch_size)
        parts = (hidden,) if isinstance(hidden, Tensor) else tuple(hidden)
        shape = (self.num_layers, batch_size, self.hidden_size)
        if len(parts) != len(self.state_names) or any(part.shape != shape for part in parts):
            raise ValueError(
                f"hidden: {type(self).__name__} needs {' and '.join(self.state_names)} of shape (layers, batch, "
                f"hidden) = {shape}, got {', '.join(str(tuple(part.shape)) for part in parts)}; "
                f"init_hidden({batch_size}, device) makes it"
            )
        return parts


def detach_state(hidden: Hidden) -> Hidden:
    """Cut a hidden state from the graph that made it, so that back-propagation through time ends there."""
    if isinstance(hidden, Tensor):
        return hidden.detach()
    h, c = hidden
    return h.detach(), c.detach()


def _make_embedding(kind: str, vocab_size: int, embedding_size: int | None) -> nn.Embedding | OneHot:
    if kind == "one-hot":
        if embedding_size is not None:
            raise ValueError(
                f"embedding_size: got {embedding_size}, but one-hot vectors are as long as the vocabulary; give None"
            )
        return OneHot(vocab_size)
    if kind != "learned":
        raise ValueError(f'embedding: got {kind!r}; give "learned" or "one-hot"')
    if embedding_size is None:
        return nn.Embedding(vocab_size, vocab_size)
    _check_sizes(embedding_size=embedding_size)
    return nn.Embedding(vocab_size, embedding_size)


def _check_sizes(**sizes: int) -> None:
    for name, size in sizes.items():
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise ValueError(f"{name}: got {size!r}; give a whole number, 1 or more")


def _check_ids(x: Tensor) -> None:
    if x.dim() != 2 or x.shape[0] < 1 or x.shape[1] < 1:
        raise ValueError(f"x: got shape {tuple(x.shape)}; give ids of shape (batch, time), both 1 or more")
    if x.dtype not in (torch.int32, torch.int64):
        raise ValueError(f"x: got {x.dtype}; give ids as torch.int64, x.long() converts them")
