"""How much one request may ask for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What the server refuses more of.

    Attributes:
        length: Symbols that a request may have written.
        streams: Requests that a model computes for at once.
        prime: Characters of a text that a request brings.
        numbers: Activations in one answer.
        characters_held: Characters made ahead of a reader that does not keep up.
        seconds_stalled: How long a reader may take nothing before it is left.
        seconds_body: How long a request may take to arrive.

    Raises:
        ValueError: One of them is below 1.
    """

    length: int = 10_000
    streams: int = 32
    prime: int = 10_000
    numbers: int = 1_000_000
    characters_held: int = 512
    seconds_stalled: float = 60.0
    seconds_body: float = 30.0

    def __post_init__(self) -> None:
        for name in ("length", "streams", "prime"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: must be 1 or more; given {getattr(self, name)}")

    @property
    def body(self) -> int:
        """Bytes of a request: JSON takes up to 12 of them for a character of the prime."""
        return 12 * self.prime + 65_536
