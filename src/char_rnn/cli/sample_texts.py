"""The texts of ``char-rnn sample``, as they are printed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import chain, product
from typing import TYPE_CHECKING, Any

import rich_click as click

from char_rnn.cli.inputs import UNKNOWN_ADVICE, impossible_stops

if TYPE_CHECKING:
    from char_rnn.cli.sample_options import SampleOptions
    from char_rnn.generation.scored_text import ScoredSymbol
    from char_rnn.generation.text_generator import TextGenerator
    from char_rnn.model_file import ModelFile

_BETWEEN = "---\n"
_TOGETHER = 256  # number of texts to write side by side before they are printed


def texts(generator: TextGenerator, file: ModelFile, chosen: SampleOptions) -> tuple[Iterator[str], list[str]]:
    """Return the pieces of the output, and the remarks about it; bad values raise here."""
    from char_rnn.data.vocabulary import UnknownCharacterError
    from char_rnn.generation.unknown_characters import default_prime
    from char_rnn.sampling.strategies import PredictionError

    settings, remarks = file.config.generation, []
    primes = chosen.primes(file)
    if primes is None:
        prime, remark = default_prime(file.vocabulary, settings.prime)
        primes, remarks = [prime], [remark] if remark else []
    remarks += impossible_stops(chosen.stop, chosen.stop_at_newline, file.vocabulary)
    length = settings.length if chosen.length is None else chosen.length
    seed = settings.seed if chosen.seed is None else chosen.seed
    try:
        options = {"length": length, "seed": seed, **chosen.strategy(settings), **chosen.ending}
        if chosen.beam is not None:
            found, likelihoods = _likeliest(generator, primes, length, chosen)
            return found, [*remarks, *likelihoods]
        if chosen.logprobs:
            return _scored(generator, primes, chosen, options), remarks
        if chosen.is_many:
            return _many(generator, primes, chosen, options), remarks
        pieces = generator.stream(primes[0], **options)
    except UnknownCharacterError as error:
        raise error.advising(UNKNOWN_ADVICE) from None
    except PredictionError:
        raise
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if chosen.hide_prime and primes[0]:
        next(pieces)
    return chain(pieces, "\n"), remarks


def _many(generator: TextGenerator, primes: list[str], chosen: SampleOptions, options: dict[str, Any]) -> Iterator[str]:
    """Write texts side by side, and yield each group before the next is written."""
    step = max(1, _TOGETHER // chosen.count)
    groups = [primes[start : start + step] for start in range(0, len(primes), step)]

    def written(group: list[str]) -> Iterator[tuple[str, str]]:
        found = generator.generate_many(group, num_samples=chosen.count, **options)
        for (prime, _), text in zip(product(group, range(chosen.count)), found, strict=True):
            yield prime, text.removeprefix(prime)

    first = list(written(groups[0]))
    pairs = chain(first, chain.from_iterable(map(written, groups[1:])))
    if not chosen.as_json:
        return _joined(text if chosen.hide_prime else prime + text for prime, text in pairs)
    entries = ({"sample": number, "prime": prime, "text": text} for number, (prime, text) in enumerate(pairs))
    return (json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries)


def _likeliest(
    generator: TextGenerator, primes: list[str], length: int, chosen: SampleOptions
) -> tuple[Iterator[str], list[str]]:
    """Search for the likeliest texts of each prime; return them, and remarks on how likely they are."""
    options = {"beams": chosen.beam or 1, **chosen.characters, **chosen.ending}
    found = ((prime, generator.beam_search(prime, length, **options)[: chosen.count]) for prime in primes)
    best = [("" if chosen.hide_prime else prime, text) for prime, likeliest in found for text in likeliest]
    return _joined(prime + text.text for prime, text in best), [f"{text.log_probability:.2f} nats" for _, text in best]


def _joined(found: Iterator[str]) -> Iterator[str]:
    for number, text in enumerate(found):
        yield f"{_BETWEEN if number else ''}{text}\n"


def _scored(
    generator: TextGenerator, primes: list[str], chosen: SampleOptions, options: dict[str, Any]
) -> Iterator[str]:
    """Yield a line of JSON for each symbol of the texts, which are written one after the other."""
    from char_rnn.generation.generation_state import seed_of_sample

    seed, options = options["seed"], {**options, "alternatives": chosen.alternatives or 0}
    found = (
        generator.stream_scored(prime, **{**options, "seed": seed_of_sample(seed, number)})
        for prime, number in product(primes, range(chosen.count))
    )
    first = next(found)  # bad values raise here
    return (
        _line(symbol, number if chosen.is_many else None)
        for number, symbols in enumerate(chain([first], found))
        for symbol in symbols
        if not (chosen.hide_prime and symbol.is_prime)
    )


def _line(symbol: ScoredSymbol, number: int | None) -> str:
    entry: dict[str, Any] = {} if number is None else {"sample": number}
    entry["text"] = symbol.text
    if symbol.symbol != symbol.text:
        entry["symbol"] = symbol.symbol
    entry["logprob"] = round(symbol.log_probability, 6)
    if symbol.alternatives:
        entry["alternatives"] = {label: round(value, 6) for label, value in symbol.alternatives.items()}
    if symbol.is_prime:
        entry["prime"] = True
    return json.dumps(entry, ensure_ascii=False) + "\n"
