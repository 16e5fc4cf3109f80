"""Writes text with a trained model, one symbol at a time.

PyTorch is loaded only for a PyTorch model, or for a device other than the CPU.

Dimensions: N texts, T time, V vocabulary.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from html import escape
from itertools import islice, product
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from char_rnn.data.vocabulary import Vocabulary
from char_rnn.generation.beam import BeamText, beam_search
from char_rnn.generation.cell_activations import CellActivations, read_activations
from char_rnn.generation.engine import Engine, Predictor, read
from char_rnn.generation.generation_state import GenerationState, Seed, seed_of_sample, write_together
from char_rnn.generation.network import Precision
from char_rnn.generation.sampler import Sampler
from char_rnn.generation.scored_text import ScoredSymbol, scored_text
from char_rnn.generation.unknown_characters import Unknown, encode_prime, spelled
from char_rnn.model_file import ModelFile
from char_rnn.sampling.options import OPTIONS, Range, Strategy
from char_rnn.utils.config.fields import did_you_mean
from char_rnn.utils.terminal import counted

if TYPE_CHECKING:
    import torch

    from char_rnn.models import CharModel

_BLOCK_SECONDS = 0.01
"""A block takes less than twice this: a reader sees the text as it is written, and an interrupt is noticed soon."""
_LARGEST_BLOCK = 4096
_TOGETHER = 256
_MOST_SAMPLES = 1_000_000
_SHOWN = 400  # symbols of the text in a notebook


class Options(TypedDict, total=False):
    """Further options of a text: the first five are those of `GenerationState`, the others of `Strategy`."""

    seed: Seed
    stop: str | Sequence[str] | None
    stop_at_newline: bool
    keep_stop: bool
    unknown: Unknown
    final_temperature: float | None
    min_p: float | None
    typical_p: float | None
    repetition_penalty: float
    repetition_window: int
    banned: str
    allowed: str | None


class TextGenerator:
    """Continues texts with a model.

    Args:
        model: An `Engine`, or a PyTorch model whose ``forward(x, hidden)`` returns log-probabilities (B, T, V); it is
            moved to ``device``.
        vocabulary: The model's vocabulary, or a mapping from characters to indices.
        idx_to_char: With a mapping: its inverse; ``None`` = computed.
        device: Device of a PyTorch model. An engine runs on the CPU, the fastest device for most models because every
            symbol depends on the previous one.

    Raises:
        ValueError: The sizes of vocabulary and model differ, or the mappings do not match.
    """

    def __init__(
        self,
        model: CharModel | Engine,
        vocabulary: Vocabulary | Mapping[str, int],
        idx_to_char: Mapping[int, str] | Sequence[str] | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.vocabulary = vocabulary if isinstance(vocabulary, Vocabulary) else _vocabulary_of(vocabulary, idx_to_char)
        if model.vocab_size != self.vocabulary.size:
            raise ValueError(
                f"vocabulary: has {self.vocabulary.size} symbols, but the model was made for {model.vocab_size};"
                " use the one it was trained with"
            )
        self.model = model
        self.device = str(device)
        if isinstance(model, Engine):
            if self.device != "cpu":
                raise ValueError(f"device: an engine computes on the CPU; given {self.device!r}")
            self._predictor: Predictor = model
        else:
            from char_rnn.generation.torch_engine import TorchEngine

            self._predictor = TorchEngine(model, self.device)

    @classmethod
    def load(
        cls, source: str | Path | ModelFile, device: torch.device | str = "cpu", precision: Precision | None = None
    ) -> TextGenerator:
        """A generator for a saved model.

        Args:
            source: A model file, a run folder (its best model), ``hf://USER/NAME``, ``demo``, or a `ModelFile`.
            device: Device of the model.
            precision: Precision of the computation, see `Engine`; other devices support "float32" and "float64" only.
                ``None`` = that of the training.

        Raises:
            ValueError: The file is not a model file, or is damaged; or the device does not support this precision.
            OSError: The file cannot be read.
        """
        file = source if isinstance(source, ModelFile) else ModelFile.read(source)
        chosen = precision or file.config.training.parameter_type
        if str(device) == "cpu":
            return cls(Engine(file.config.model, file.tensors, chosen), file.vocabulary)
        if chosen not in ("float32", "float64"):
            raise ValueError(f"precision: must be float32 or float64 on the device {device}; given {chosen!r}")
        from char_rnn.models import build_model

        model = build_model(file.config.model, file.vocabulary.size, file.tensors, chosen)
        return cls(model.eval(), file.vocabulary, device=device)

    def generate(
        self,
        prime_text: str = "",
        length: int = 1000,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        **options: Unpack[Options],
    ) -> str:
        """Continue a text.

        Prime and sampling settings are the arguments only; the model's configuration (`generation`) has no effect.

        Args:
            prime_text: Text to continue; all of it runs through the model. If it is empty, the model starts from the
                zero state and the first symbol is drawn from the uniform distribution (temperature 0: the first one).
            length: Symbols to add: characters, or bytes for a byte vocabulary.
            temperature: Divides the log-probabilities; 0 = always the likeliest symbol.
            top_k: Sample from the k likeliest symbols only; ``None`` = all.
            top_p: Sample from the likeliest symbols that together have this probability; ``None`` = all.
            **options: ``seed``, ``stop``, ``stop_at_newline``, ``keep_stop`` and ``unknown`` of `GenerationState`, and
                the other options of `Strategy`.

        Returns:
            ``prime_text`` and the added text. Incomplete bytes at the very end are left out.

        Raises:
            UnknownCharacterError: ``prime_text`` has a character that the vocabulary lacks.
            ValueError: Another argument is out of range, or the model's predictions are not numbers.
        """
        return "".join(self.stream(prime_text, length, temperature, top_k, top_p, **options))

    def stream(
        self,
        prime_text: str = "",
        length: int = 1000,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        **options: Unpack[Options],
    ) -> Iterator[str]:
        """`generate`, but yielding the text in pieces as it is written, ``prime_text`` first.

        A piece of a fast model is the text of about 10 ms, that of a slow one a character. Invalid arguments raise
        here, not at the first piece.
        """
        strategy, others = _separated(temperature, top_k, top_p, options)
        return self._pieces(prime_text, GenerationState(self.vocabulary, prime_text, length, strategy, **others))

    def stream_scored(
        self,
        prime_text: str = "",
        length: int = 1000,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        *,
        alternatives: int = 0,
        **options: Unpack[Options],
    ) -> Iterator[ScoredSymbol]:
        """`stream`, but yielding the text symbol by symbol, with log-probabilities.

        They are the model's own, before temperature and filters. Arguments are those of `generate`, and
        ``alternatives``, the number of likeliest symbols to list with each.
        """
        Range(int, 0).check("alternatives", alternatives)
        strategy, others = _separated(temperature, top_k, top_p, options)
        state = GenerationState(self.vocabulary, prime_text, length, strategy, **others)
        return scored_text(self._predictor, self.vocabulary, state, alternatives)

    def generate_many(
        self,
        prime_text: str | Sequence[str] = "",
        length: int = 1000,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        *,
        num_samples: int = 1,
        **options: Unpack[Options],
    ) -> list[str]:
        """`generate` for several texts side by side, much faster than one after the other.

        Arguments are those of `generate`, but ``prime_text`` may be several texts of any lengths, and ``num_samples``
        is the number of texts for each. The texts of the first prime come first.

        Each text is what it would be alone: text 0 of a prime is that of `generate` with the same seed, and text k does
        not depend on the number of texts, nor on the other primes.
        """
        Range(int, 1, _MOST_SAMPLES).check("num_samples", num_samples)
        primes = [prime_text] if isinstance(prime_text, str) else list(prime_text)
        strategy, others = _separated(temperature, top_k, top_p, options)
        sampler, seed = Sampler(strategy, self.vocabulary), others.pop("seed", None)
        unknown = others.pop("unknown", "error")
        read = {prime: encode_prime(self.vocabulary, prime, unknown) for prime in dict.fromkeys(primes)}

        def new(prime: str, number: int) -> GenerationState:
            own = seed_of_sample(seed, number)
            return GenerationState(self.vocabulary, read[prime], length, sampler, seed=own, **others)

        wanted, texts = product(primes, range(num_samples)), list[str]()
        while batch := list(islice(wanted, _TOGETHER)):
            states = [new(*each) for each in batch]
            write_together(self._predictor, states)
            texts += [prime + state.text() for (prime, _), state in zip(batch, states, strict=True)]
        return texts

    def beam_search(
        self,
        prime_text: str = "",
        length: int = 1000,
        beams: int = 4,
        *,
        banned: str = "",
        allowed: str | None = None,
        stop: str | Sequence[str] | None = None,
        stop_at_newline: bool = False,
        keep_stop: bool = False,
        unknown: Unknown = "error",
    ) -> list[BeamText]:
        """The likeliest continuations, the best first; see `char_rnn.generation.beam.beam_search`.

        Returns:
            The texts without ``prime_text``, and their log-probabilities.
        """
        return beam_search(
            self._predictor, self.vocabulary, prime_text, length, beams,
            banned=banned, allowed=allowed, stop=stop, stop_at_newline=stop_at_newline, keep_stop=keep_stop,
            unknown=unknown,
        )  # fmt: skip

    def activations(self, text: str, unknown: Unknown = "error") -> CellActivations:
        """Read a text, and return the states of all cells after each character.

        Args:
            text: The text, T characters.
            unknown: Treatment of characters that the vocabulary lacks, as in `GenerationState`.

        Returns:
            The parts of the cells' state by name (an LSTM has h and c), each (T, layers, units) in float32. ``show``
            colours the text by one cell, and ``tracking`` finds the cells that track features of the text.

        Raises:
            UnknownCharacterError: ``text`` has a character that the vocabulary lacks.
        """
        return read_activations(self._predictor, text, spelled(self.vocabulary, text, unknown))

    def __repr__(self) -> str:
        return f"<TextGenerator: {self._description()}>"

    def _description(self) -> str:
        layers, units = next(iter(self._predictor.begin().cells().values())).shape
        size, where = self.vocabulary.size, getattr(self.model, "precision", None) or self.device
        model = f"{layers}-layer {self._predictor.cell} with {counted(units, 'unit')}"
        return f"{model}, {size} {self.vocabulary.kind}, {where}"

    def _repr_html_(self) -> str | None:
        """For notebooks: the model, and a short text coloured by a cell. ``None`` = the display failed."""
        with suppress(Exception):
            start = 2 * (self.vocabulary.line_end or "")
            sample = self.generate(start, _SHOWN, temperature=0.8, seed=1).removeprefix(start)
            return f"<b>{escape(self._description())}</b>\n{self.activations(sample).show_best()._repr_html_()}"
        return None

    def _pieces(self, prime_text: str, state: GenerationState) -> Iterator[str]:
        if prime_text:
            yield prime_text
        for _ in self._blocks(state):
            if piece := state.text():
                yield piece

    def _blocks(self, state: GenerationState) -> Iterator[None]:
        """Draw the symbols of a text, to its end, in blocks that take little time each."""
        if state.done:
            return
        streams = self._predictor.begin()
        symbol = state.begin()
        if symbol is None:
            symbol = state.choose(read(streams, state.prime))
        yield
        write, most = state.writer(streams), 1
        while not state.done:
            began = time.monotonic()
            symbol = write(symbol, most)
            is_quick = time.monotonic() - began < _BLOCK_SECONDS
            most = min(2 * most, _LARGEST_BLOCK) if is_quick else max(1, most // 2)
            yield


def _separated(
    temperature: float, top_k: int | None, top_p: float | None, options: Options
) -> tuple[Strategy, dict[str, Any]]:
    """The strategy, and the options of `GenerationState`."""
    others = {name: value for name, value in options.items() if name in _OF_A_STATE}
    settings: dict[str, Any] = {name: value for name, value in options.items() if name not in others}
    if unknown := next((name for name in settings if name not in OPTIONS), None):
        hint = did_you_mean(unknown, [*OPTIONS, *_OF_A_STATE, "length"])
        raise TypeError(f"{unknown}: not an option of generate and the other methods of TextGenerator{hint}")
    return Strategy(temperature, top_k=top_k, top_p=top_p, **settings), others


_OF_A_STATE = ("seed", "stop", "stop_at_newline", "keep_stop", "unknown")


def _vocabulary_of(char_to_idx: Mapping[str, int], idx_to_char: Mapping[int, str] | Sequence[str] | None) -> Vocabulary:
    """The vocabulary that the specification's mappings describe."""
    inverse = {index: character for character, index in char_to_idx.items()}
    if not inverse:
        raise ValueError("char_to_idx: must not be empty")
    if sorted(inverse) != list(range(len(char_to_idx))):
        raise ValueError(f"char_to_idx: indices must be 0 to {len(char_to_idx) - 1}, each once")
    given = idx_to_char if isinstance(idx_to_char, Mapping) else dict(enumerate(idx_to_char or ()))
    if idx_to_char is not None and dict(given) != inverse:
        raise ValueError("idx_to_char: must be the inverse of char_to_idx; leave it out to have it computed")
    if longer := [character for character in char_to_idx if len(character) != 1]:
        raise ValueError(f"char_to_idx: must map single characters; given {longer[0]!r}")
    return Vocabulary("characters", [ord(inverse[index]) for index in range(len(inverse))])
