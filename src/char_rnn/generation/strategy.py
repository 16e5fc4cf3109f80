"""How the next symbol is drawn: the settings, checked."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from char_rnn.generation.ranges import check_strategy

if TYPE_CHECKING:
    from char_rnn.utils.config import GenerationConfig


@dataclass(frozen=True)
class Strategy:
    """Settings of the drawing; the defaults draw from the model's own prediction.

    They apply in this order: banned and allowed characters, repetition penalty, temperature, top-k, top-p, min-p,
    typical. Each is a function of `char_rnn.generation.strategies`.

    Attributes:
        temperature: Divides the log-probabilities; 0 = always the likeliest.
        final_temperature: With it the temperature goes in a straight line from ``temperature`` at the first symbol to
            this at the last of the full length; ``None`` = stays.
        top_k: Only the k likeliest symbols; ``None`` = all.
        top_p: Only the likeliest that together have this probability; ``None`` = all.
        min_p: Only those at least this share as likely as the likeliest; ``None`` = all.
        typical_p: Only those of the most typical information that together have this probability; ``None`` = all.
        repetition_penalty: Above 1 discourages the symbols seen last, below 1 encourages them.
        repetition_window: How many symbols back that looks, those of the prime text among them.
        banned: Characters never drawn.
        allowed: Only these are drawn; ``None`` = all.

    Raises:
        ValueError: One is out of its range.
    """

    temperature: float = 1.0
    final_temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    typical_p: float | None = None
    repetition_penalty: float = 1.0
    repetition_window: int = 64
    banned: str = ""
    allowed: str | None = None

    def __post_init__(self) -> None:
        check_strategy(**{field.name: getattr(self, field.name) for field in fields(self)})

    @classmethod
    def of(cls, settings: GenerationConfig, **others: Any) -> Strategy:
        """The strategy that a model's configuration names.

        Args:
            settings: Its section `generation`.
            **others: Settings that take the place of those.
        """
        own = {field.name: getattr(settings, field.name) for field in fields(cls) if hasattr(settings, field.name)}
        return cls(**{**own, **others})

    def temperature_at(self, place: int, length: int) -> float:
        """The temperature for symbol ``place``, from 0, of ``length``."""
        if self.final_temperature is None:
            return self.temperature
        share = min(place / (length - 1), 1.0) if length > 1 else 0.0
        return (1 - share) * self.temperature + share * self.final_temperature
