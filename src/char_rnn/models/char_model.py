"""Character models: an embedding, blocks of a recurrent layer and its sublayers, and an output projection.

Dimensions: B batch, T time, V vocabulary, E embedding size, H hidden, L layers, A attending blocks, W window.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Unpack, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from char_rnn.cells import GRU, LSTM, RNN, Cell
from char_rnn.models.dropout import drop_symbols, drop_units, drop_weights, zoneout_mask
from char_rnn.models.initialization import initialize
from char_rnn.models.layers import (
    Block,
    OneHot,
    Options,
    RecurrentLayers,
    TiedProjection,
    check_ids,
    check_name,
    check_range,
    check_size,
    checked_config,
)
from char_rnn.models.matches import Matches
from char_rnn.models.pretrained import Pretrained
from char_rnn.ops import Parameters, State, run_layer

Hidden = Tensor | tuple[Tensor, ...]


class Activations(NamedTuple):
    """Output of the top recurrent layer, (B, T, H) each.

    Attributes:
        output: Before its dropout.
        dropped: After its dropout.
    """

    output: Tensor
    dropped: Tensor


class CharModel(Pretrained):
    """A character model of any cell; base of :class:`CharLSTM`, :class:`CharGRU` and :class:`CharRNN`.

    A block is a recurrent layer, followed optionally by an attention and a feed-forward sublayer, which normalize their
    input and add to it. Dropout follows every layer and sublayer, including the top layer as in the 2015 model
    (``nn.LSTM(dropout=p)`` has none there).

    Args:
        vocab_size: V, symbols in the vocabulary.
        hidden_size: H, units of each recurrent layer.
        num_layers: L, stacked recurrent layers.
        dropout: Probability of a unit's output being dropped in training, from 0 to below 1.
        cell: Cell of the recurrent layers; None for the cell of the class.
        **options: The keyword arguments below, checked as a configuration. By default, vectors are learned, nothing is
            dropped or normalized, there are neither sublayers nor matches, and the initialization is "pytorch".

    Keyword Args:
        embedding: "learned" vectors, or fixed "one-hot" ones.
        embedding_size: E, length of the learned vectors; None for V, or H if tied. One-hot vectors have length V.
        tie_weights: Whether the embedding is also the matrix of the projection; then E is H.
        locked_dropout: Whether `dropout` drops the same units at all steps of a sequence.
        embedding_dropout: Probability of a symbol's vector being dropped at all its positions.
        weight_dropout: Probability of a recurrent weight being dropped; in a cell without them, of an input weight.
        zoneout: Probability of a unit keeping its previous state.
        mogrifier_rounds: Number of times that input and state gate each other before a step of an LSTM.
        layer_norm: "none"; "between", of the input of each recurrent layer and the output of the top block; or "cell",
            inside the recurrent layers (:mod:`char_rnn.cells`).
        residual: Whether a recurrent layer's output is added to its input, if both have length H: with `layer_norm`
            "between" the blocks are pre-norm residual.
        feed_forward_size: Units of the feed-forward sublayers; None for no such sublayers.
        attention: Blocks with attention: "none", "top" or "all".
        attention_heads: Heads of each, a divisor of H (default: 1).
        attention_window: W, number of previous steps that they attend to (default: 256).
        match_lengths: Lengths n of matches (:mod:`char_rnn.ops.matching`), the most recent earlier occurrences of the
            last n symbols: a learned vector for the symbol that followed is added to that of the symbol read.
        match_window: Number of previous symbols searched for matches (default: 16,384).
        match_dropout: Probability that a sequence of a batch has no matches.
        initialization: "pytorch", "uniform", "xavier", "he" or "orthogonal"; see
            :mod:`char_rnn.models.initialization`.

    Raises:
        ValueError: An argument is out of its range, unknown, or in conflict with another.
    """

    cell: Cell
    """Cell of the recurrent layers; its name is that of the layers in the state dict."""
    embedding: nn.Embedding | OneHot

    def __init__(
        self,
        vocab_size: int,
        hidden_size: int,
        num_layers: int,
        dropout: float = 0.0,
        *,
        cell: Cell | None = None,
        **options: Unpack[Options],
    ) -> None:
        super().__init__()
        check_size("vocab_size", vocab_size)
        chosen: Any = getattr(self, "cell", None) if cell is None else cell
        self.config = config = checked_config(
            type(self).__name__, chosen, hidden_size=hidden_size, num_layers=num_layers, dropout=dropout, **options
        )
        self.cell = chosen
        self.vocab_size, self.hidden_size, self.num_layers = vocab_size, hidden_size, num_layers
        self.dropout = config.dropout
        size = config.input_size(vocab_size)
        self.embedding = OneHot(size) if config.embedding == "one-hot" else nn.Embedding(vocab_size, size)
        lengths, window = config.match_lengths, config.match_window
        self.match_window = window if lengths else 0
        self.matches = Matches(lengths, window, vocab_size, size, config.match_dropout) if lengths else None
        check_name(self.cell, self)
        normed, rounds = config.layer_norm == "cell", config.mogrifier_rounds
        layers = RecurrentLayers(self.cell, size, hidden_size, num_layers, normed=normed, mogrifier_rounds=rounds)
        self.add_module(self.cell.name, layers)
        attending = {"none": (), "top": (num_layers - 1,), "all": range(num_layers)}[config.attention]
        self.attending = tuple(attending)
        self.attention_window = config.attention_window if attending else 0
        self.blocks = nn.ModuleList(
            Block(
                self.layers.input_size(number),
                hidden_size,
                normed=config.layer_norm == "between",
                residual=config.residual,
                attention=(config.attention_heads, config.attention_window) if number in attending else None,
                feed_forward_size=config.feed_forward_size,
            )
            for number in range(num_layers)
        )
        self.output_norm = nn.LayerNorm(hidden_size) if config.layer_norm == "between" else nn.Identity()
        self.output_proj: nn.Linear | TiedProjection = (
            TiedProjection(cast(nn.Embedding, self.embedding))
            if config.tie_weights
            else nn.Linear(hidden_size, vocab_size)
        )
        initialize(self, config.initialization)

    @property
    def layers(self) -> RecurrentLayers:
        """The recurrent layers, whatever their name in the state dict."""
        return cast(RecurrentLayers, self.get_submodule(self.cell.name))

    def run_layer(self, x: Tensor, state: State, parameters: Parameters, **options: Any) -> tuple[Tensor, State]:
        """Run one recurrent layer; see :func:`char_rnn.ops.run_layer`."""
        return run_layer(self.cell, x, state, parameters, **options)

    def init_hidden(self, batch_size: int, device: torch.device | str | None = None) -> Hidden:
        """Return the zero state for a batch: (L, B, H), or a pair (h, c) of that shape for an LSTM.

        With attention, its memory, (A, B, W, H), follows in a tuple; with matches, the last part is the symbols read
        before, (1, B, W), as ids + 1 in int32.

        Args:
            batch_size: B.
            device: Device of the state; None for that of the model.
        """
        check_size("batch_size", batch_size)
        bias = self.output_proj.bias
        device = bias.device if device is None else device
        parts = [torch.zeros(shape, dtype=bias.dtype, device=device) for shape in self._shapes(batch_size)]
        if self.match_window:  # not every id is a number of bfloat16
            parts[-1] = parts[-1].int()
        return _as_hidden(parts)

    def forward(self, x: Tensor, hidden: Hidden | None = None) -> tuple[Tensor, Hidden]:
        """Predict the next symbol after each symbol.

        Args:
            x: Ids, (B, T), integers from 0 to V - 1, T at least 1.
            hidden: State before the first symbol, as from :meth:`init_hidden`; None for zeros.

        Returns:
            Log-probabilities of the next symbol in nats, (B, T, V), and the state after the last symbol.

        Raises:
            ValueError: `x` or `hidden` has a wrong shape.
            IndexError: An id is V or more (on the CPU; other devices report it later or not at all).
        """
        log_probs, hidden, _ = self.with_activations(x, hidden)
        return log_probs, hidden

    def with_activations(self, x: Tensor, hidden: Hidden | None = None) -> tuple[Tensor, Hidden, Activations]:
        """As :meth:`forward`, and return the activations of the top recurrent layer, for losses on them."""
        top, hidden, activations = self.outputs(x, hidden)
        # Under autocast the products have another type, the results do not.
        log_probs = F.log_softmax(self.output_proj(top), dim=-1, dtype=self.output_proj.bias.dtype)
        return log_probs, hidden, activations

    def outputs(self, x: Tensor, hidden: Hidden | None = None) -> tuple[Tensor, Hidden, Activations]:
        """As :meth:`with_activations`, but return the input of the output projection, (B, T, H), for its result."""
        check_ids(x)
        parts = self._as_parts(hidden, batch_size=x.shape[0])
        states, memories = parts[: len(self.cell.state)], parts[len(self.cell.state) :]
        ids, (x, symbols) = x, self._embed(x)
        after: list[State] = []
        remembered: list[Tensor] = []
        history: list[Tensor] = []
        if self.matches is not None:
            found, last = self.matches(ids, parts[-1][0])
            x, history = x + found, [last[None]]
        for number, block in enumerate(cast(Iterable[Block], self.blocks)):
            state = tuple(part[number] for part in states)
            memory = memories[0][len(remembered)] if number in self.attending else None
            output, state = self._recur(number, block.norm(x), state, symbols)
            symbols = None
            dropped = self._drop(output)
            x, memory = block.after(x, dropped, memory, self._drop)
            after.append(state)
            if memory is not None:
                remembered.append(memory)
        dtype = self.output_proj.bias.dtype  # autocast returns another
        groups = [*zip(*after, strict=True), remembered]
        stacked = [torch.stack(list(group)).to(dtype) for group in groups if group]
        return self.output_norm(x), _as_hidden([*stacked, *history]), Activations(output, dropped)

    def _embed(self, ids: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the lowest block's input, (B, T, I), and None; or a table of all vectors, (V, I), and the symbols.

        The latter if there are fewer symbols than positions in the batch, and only the recurrent layer reads them.
        """
        p = self.config.embedding_dropout if self.training else 0.0
        dtype = self.output_proj.bias.dtype
        if self.vocab_size < ids.numel() and not (self.matches or cast(Block, self.blocks[0]).residual):
            check_range(ids, self.vocab_size)
            if isinstance(self.embedding, OneHot):
                table = torch.eye(self.vocab_size, dtype=dtype, device=ids.device)
            else:
                table = self.embedding.weight
            return drop_symbols(table, None, self.vocab_size, p), ids
        # Time-major in memory and viewed batch-first: every step is one block of memory.
        times = ids.t()
        embedded = self.embedding(times, dtype) if isinstance(self.embedding, OneHot) else self.embedding(times)
        return drop_symbols(embedded, times, self.vocab_size, p).transpose(0, 1), None

    def _recur(self, number: int, x: Tensor, state: State, symbols: Tensor | None) -> tuple[Tensor, State]:
        """Run a recurrent layer with its configured options."""
        parameters = self.layers.named(number)
        options: dict[str, Any] = {} if symbols is None else {"symbols": symbols}
        if zoneout := self.config.zoneout:
            time = (x if symbols is None else symbols).shape[1]
            options["zoneout"] = [zoneout_mask(part, time, zoneout, training=self.training) for part in state]
        if self.training and (p := self.config.weight_dropout):
            name = "weight_hh" if self.cell.recurrent else "weight_ih"
            parameters[name] = drop_weights(parameters[name], p)
        return self.run_layer(x, state, parameters, **options)

    def _drop(self, x: Tensor) -> Tensor:
        return drop_units(x, self.dropout if self.training else 0.0, locked=self.config.locked_dropout)

    def _shapes(self, batch_size: int) -> list[tuple[int, ...]]:
        """Return the shapes of the parts of a hidden state."""
        recurrent = (self.num_layers, batch_size, self.hidden_size)
        memory = (len(self.attending), batch_size, self.attention_window, self.hidden_size)
        history = (1, batch_size, self.match_window)
        return [
            *[recurrent] * len(self.cell.state),
            *[memory] * bool(self.attending),
            *[history] * bool(self.match_window),
        ]

    def _as_parts(self, hidden: Hidden | None, batch_size: int) -> State:
        hidden = self.init_hidden(batch_size) if hidden is None else hidden
        parts = state_parts(hidden)
        shapes = self._shapes(batch_size)
        if [part.shape for part in parts] != shapes:
            needed = f"{' and '.join(self.cell.state)} of shape (layers, batch, hidden) = {shapes[0]}"
            if self.attending:
                memory = shapes[len(self.cell.state)]
                needed += f" and a memory of shape (attending layers, batch, window, hidden) = {memory}"
            if self.match_window:
                needed += f" and a history of shape (1, batch, window) = {shapes[-1]}"
            raise ValueError(
                f"hidden: {type(self).__name__} needs {needed}, got {', '.join(str(tuple(p.shape)) for p in parts)}; "
                f"init_hidden({batch_size}, device) makes it"
            )
        return parts


class CharLSTM(CharModel):
    """A character model of stacked LSTM layers; its hidden state is a pair (h, c), each (L, B, H).

    See :class:`CharModel` for the arguments, and :class:`char_rnn.cells.LSTM` for the equations.
    """

    cell = LSTM()


class CharGRU(CharModel):
    """A character model of stacked GRU layers; its hidden state is (L, B, H).

    See :class:`CharModel` for the other arguments, and :class:`char_rnn.cells.GRU` for the equations.

    Args:
        reset: Whether the reset gate is applied "after" the recurrent product, as in ``nn.GRU``, or "before" it, as in
            the 2015 model. They are different functions of the same weights.

    Raises:
        ValueError: As :class:`CharModel`, or `reset` is neither.
    """

    def __init__(
        self,
        vocab_size: int,
        hidden_size: int,
        num_layers: int,
        dropout: float = 0.0,
        *,
        reset: str = "after",
        **options: Unpack[Options],
    ) -> None:
        super().__init__(vocab_size, hidden_size, num_layers, dropout, cell=GRU(reset), **options)
        self.reset = reset


class CharRNN(CharModel):
    """A character model of stacked simple (tanh) layers; its hidden state is (L, B, H).

    See :class:`CharModel` for the arguments, and :class:`char_rnn.cells.RNN` for the equations.
    """

    cell = RNN()


def state_parts(hidden: Hidden) -> tuple[Tensor, ...]:
    """Return the tensors of a hidden state."""
    return (hidden,) if isinstance(hidden, Tensor) else tuple(hidden)


def map_state(function: Callable[..., Tensor], *states: Hidden) -> Hidden:
    """Return the state that a function makes, part by part, of one or more hidden states."""
    return _as_hidden([function(*parts) for parts in zip(*map(state_parts, states), strict=True)])


def detach_state(hidden: Hidden) -> Hidden:
    """Detach a hidden state from its graph, so that back-propagation through time ends there."""
    return map_state(Tensor.detach, hidden)


def _as_hidden(parts: Sequence[Tensor]) -> Hidden:
    return parts[0] if len(parts) == 1 else tuple(parts)
