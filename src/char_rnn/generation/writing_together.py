"""Writes several texts side by side: each symbol of all of them in one step of the model.

Dimensions: N texts, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from char_rnn.generation.engine import Predictor, PredictorStreams
from char_rnn.generation.generation_state import GenerationState, choose_together


def write_together(model: Predictor, states: Sequence[GenerationState]) -> None:
    """Write N texts to their ends, each as it would be alone.

    They share a length and a `Sampler`. Texts that share the array of their prime read it once.
    """
    if states[0].done:
        return
    streams = model.begin(len(states))
    symbols = _first_symbols(streams, states)
    live = list(range(len(states)))
    while live := [row for row in live if not states[row].done]:
        predictions = streams.step([symbols[row] for row in live], live)
        drawn = choose_together([states[row] for row in live], predictions)
        for row, symbol in zip(live, drawn, strict=True):
            symbols[row] = symbol


def _first_symbols(streams: PredictorStreams, states: Sequence[GenerationState]) -> list[int]:
    """Read each prime once, and draw the first symbol of each text."""
    primes = {id(state.prime): state.prime for state in states}
    rows = dict(zip(primes, range(len(primes)), strict=True))  # the streams that read them
    sources = [rows[id(state.prime)] for state in states]
    streams.feed_each([prime[:-1] for prime in primes.values()])
    ends = {row: prime[-1] for row, prime in enumerate(primes.values()) if len(prime)}
    predictions = dict(zip(ends, streams.step(list(ends.values()), list(ends)), strict=True)) if ends else {}
    for row in reversed(range(len(states))):  # a text is never in a stream before that which reads its prime
        streams.set_state(streams.state(sources[row]), row)
    symbols = {row: symbol for row, state in enumerate(states) if (symbol := state.begin()) is not None}
    if primed := [row for row in range(len(states)) if row not in symbols]:
        log_probs = np.stack([predictions[sources[row]] for row in primed])
        symbols |= zip(primed, choose_together([states[row] for row in primed], log_probs), strict=True)
    return [symbols[row] for row in range(len(states))]
