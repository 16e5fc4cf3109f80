"""The texts of a request to the API under /v1: prompts as the model reads them, and their sampling.

Dimensions: V vocabulary.
"""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from char_rnn.data.vocabulary import Vocabulary
from char_rnn.generation.generation_state import GenerationState, seed_of_sample
from char_rnn.generation.sampler import Sampler
from char_rnn.generation.unknown_characters import spelled
from char_rnn.playground import v1_schema as schema
from char_rnn.playground.messages import ApiError
from char_rnn.playground.served_model import ServedModel
from char_rnn.playground.v1_answers import Prompt
from char_rnn.sampling.options import OPTIONS

LEAST_TOP_P = 1e-9
_SURROGATE = re.compile("[\ud800-\udfff]")


def new_texts(
    model: ServedModel, body: schema.TextRequest, texts: list[str], length: int, count: int
) -> tuple[list[Prompt], list[GenerationState]]:
    """Return the prompts as the model reads them, and the texts to write, `count` for each.

    Raises:
        ApiError: A field does not fit the model.
    """
    prompts = [Prompt(encodable(text), spelled(model.vocabulary, text, "nearest")) for text in texts]
    penalties = body.frequency_penalty, body.presence_penalty
    form = partial(PenalizedState, penalties) if any(penalties) else GenerationState
    try:
        sampler = Sampler(model.strategy(_settings(body)), model.vocabulary)
        seed = None if body.seed == -1 else body.seed
        states = [
            form(
                model.vocabulary,
                prompt.spelling.indices if prompt.text else model.prime,
                length,
                sampler,
                seed=seed_of_sample(seed, sample),
                stop=body.stop,
            )
            for prompt in prompts
            for sample in range(count)
        ]
    except ValueError as error:
        field = str(error).partition(":")[0]
        raise ApiError(422, str(error), field if field in type(body).model_fields else None) from None
    return prompts, states


def encodable(text: str) -> str:
    """Replace each half of a surrogate pair, which UTF-8 cannot encode, by U+FFFD."""
    return _SURROGATE.sub("\ufffd", text)


def _settings(body: schema.TextRequest) -> dict[str, Any]:
    """Return the given sampling options; numbers that turn an option off in other servers become ``None``."""
    settings: dict[str, Any] = body.model_dump(include=OPTIONS.keys() & body.model_fields_set)
    for name in {"top_k", "min_p"} & settings.keys():
        settings[name] = settings[name] if settings[name] > 0 else None
    if "top_p" in settings:
        settings["top_p"] = max(settings["top_p"], LEAST_TOP_P)
    return settings


class PenalizedState(GenerationState):
    """A text in which symbols that have been written are less likely; those of the prime do not count.

    Args:
        penalties: Subtracted from the log-probability of a symbol for each time that it was written; and once if it
            was written.
        vocabulary, *arguments, **options: Arguments of `GenerationState`.
    """

    def __init__(self, penalties: tuple[float, float], vocabulary: Vocabulary, *arguments: Any, **options: Any) -> None:
        super().__init__(vocabulary, *arguments, **options)
        self._frequency, self._presence = penalties
        self._counts = np.zeros(vocabulary.size, np.int64)

    def choose(self, log_probs: npt.ArrayLike) -> int:
        """Draw the next symbol from log-probabilities (V,), in nats, and add it."""
        penalties = self._frequency * self._counts + self._presence * (self._counts > 0)
        return super().choose(np.asarray(log_probs, np.float64) - penalties)

    def take(self, symbol: int) -> int:
        """Add a symbol, whoever chose it."""
        self._counts[symbol] += 1
        return super().take(symbol)
