"""What stands around a recurrent layer: normalization before it, a residual connection and sublayers after it.

Dimensions: B batch, T time, I input size, H hidden, F feed-forward, W window.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

from char_rnn.models.checks import check_sizes
from char_rnn.ops import attend


class Block(nn.Module):
    """A recurrent layer's surroundings; in the plain configuration there are none.

    Args:
        input_size: I.
        hidden_size: H.
        normed: Whether the recurrent layer's input is normalized.
        residual: Whether the recurrent layer's output is added to its input, where I is H.
        attention: Heads and window of the sublayer that attends to the past; None for no such sublayer.
        feed_forward_size: Units of the one that feeds forward; None for no such sublayer.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        normed: bool,
        residual: bool,
        attention: tuple[int, int] | None,
        feed_forward_size: int | None,
    ) -> None:
        super().__init__()
        self.residual = residual and input_size == hidden_size
        self.norm = nn.LayerNorm(input_size) if normed else None
        self.attention = None if attention is None else CausalAttention(hidden_size, *attention)
        self.feed_forward = None if feed_forward_size is None else FeedForward(hidden_size, feed_forward_size)

    def before(self, x: Tensor) -> Tensor:
        """Return what the recurrent layer is to read in place of x, (B, T, I)."""
        normed: Tensor = x if self.norm is None else self.norm(x)
        return normed

    def after(
        self, x: Tensor, output: Tensor, memory: Tensor | None, drop: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, Tensor | None]:
        """Go on from what the recurrent layer made of x.

        Args:
            x: The block's input, (B, T, I).
            output: The recurrent layer's, after dropout, (B, T, H).
            memory: What the attention remembers, (B, W, H); None without attention.
            drop: The dropout after each sublayer.

        Returns:
            The block's output, (B, T, H), and the memory after it.
        """
        x = x + output if self.residual else output
        if self.attention is not None and memory is not None:
            found, memory = self.attention(x, memory)
            x = x + drop(found)
        if self.feed_forward is not None:
            x = x + drop(self.feed_forward(x))
        return x, memory


class CausalAttention(nn.Module):
    """A sublayer in which every step looks at its own state and the W before it; see :mod:`char_rnn.ops.attention`.

    It sees states normalized, and remembers them so. The matrices have no biases, so that the zeros which stand for the
    time before the text are found as zeros.

    Args:
        hidden_size: H.
        heads: N, a divisor of H.
        window: W.

    Raises:
        ValueError: A size is below 1, or N does not divide H.
    """

    def __init__(self, hidden_size: int, heads: int, window: int) -> None:
        super().__init__()
        check_sizes(attention_heads=heads, attention_window=window)
        if hidden_size % heads:
            raise ValueError(
                f"attention_heads: {heads} does not divide hidden_size {hidden_size}; give a divisor of it"
            )
        self.heads, self.window = heads, window
        self.norm = nn.LayerNorm(hidden_size)
        self.query, self.key, self.value, self.output = (
            nn.Linear(hidden_size, hidden_size, bias=False) for _ in range(4)
        )

    def forward(self, x: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Return what is to be added to x (B, T, H), and the memory (B, W, H) after it."""
        weights = (self.query.weight, self.key.weight, self.value.weight)
        found, memory = attend(self.norm(x), memory, *weights, self.heads)
        return self.output(found), memory

    def extra_repr(self) -> str:
        """Describe the sublayer in ``print(model)``."""
        return f"heads={self.heads}, window={self.window}"


class FeedForward(nn.Module):
    """A sublayer on each step for itself: widened, GELU (Hendrycks and Gimpel 2016, arXiv 1606.08415), narrowed.

    Source: Vaswani et al. (2017), arXiv 1706.03762, section 3.3, with its input normalized.

    Args:
        hidden_size: H.
        size: F.

    Raises:
        ValueError: F is below 1.
    """

    def __init__(self, hidden_size: int, size: int) -> None:
        super().__init__()
        check_sizes(feed_forward_size=size)
        self.norm = nn.LayerNorm(hidden_size)
        self.widen = nn.Linear(hidden_size, size)
        self.narrow = nn.Linear(size, hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """Return what is to be added to x, (B, T, H)."""
        narrowed: Tensor = self.narrow(F.gelu(self.widen(self.norm(x))))
        return narrowed
