"""Writes text with a trained model, one symbol at a time.

Nothing here loads PyTorch unless it is given a module, or another device than the CPU.

Dimensions: N texts, T time, V vocabulary.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

import numpy as np

from char_rnn.data.vocabulary import Vocabulary
from char_rnn.generation.beam import BeamText, beam_search
from char_rnn.generation.engine import Engine
from char_rnn.generation.generation_state import GenerationState, choose_together, seed_of_sample
from char_rnn.generation.network import Precision
from char_rnn.generation.predictor import Predictor, read
from char_rnn.generation.sampler import Sampler
from char_rnn.generation.spelling import Unknown, encode_prime
from char_rnn.generation.symbols import as_symbols
from char_rnn.model_file import ModelFile
from char_rnn.sampling.options import Range, Strategy

if TYPE_CHECKING:
    import torch

    from char_rnn.models import CharModel

_BLOCK_SECONDS = 0.01
"""What is drawn at a time takes less than twice this, so that a reader sees it come and an interrupt is heard."""
_LARGEST_BLOCK = 4096
_TOGETHER = 256
_MOST_SAMPLES = 1_000_000


class Options(TypedDict, total=False):
    """Further options of a text: the first four are those of `GenerationState`, the others of `Strategy`."""

    seed: int | None
    stop: str | Sequence[str] | None
    stop_at_newline: bool
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
        model: An `Engine`, or a PyTorch model whose ``forward(x, hidden)`` gives log-probabilities (B, T, V); that is
            moved to ``device``.
        vocabulary: The model's vocabulary, or a mapping from characters to indices.
        idx_to_char: With a mapping: its inverse; ``None`` = made from it.
        device: Where a PyTorch model computes. An engine does on the CPU, which is the fastest for most models, as
            every symbol waits for the last.

    Raises:
        ValueError: Vocabulary and model are of different sizes, or the mappings do not fit each other.
    """

    def __init__(
        self,
        model: CharModel | Engine,
        vocabulary: Vocabulary | Mapping[str, int],
        idx_to_char: Mapping[int, str] | Sequence[str] | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.symbols = as_symbols(vocabulary, idx_to_char)
        if model.vocab_size != self.symbols.size:
            raise ValueError(
                f"vocabulary: has {self.symbols.size} symbols, but the model was made for {model.vocab_size};"
                " use the one it was trained with"
            )
        self.model = model
        self.device = str(device)
        self._predictor = _predictor(model, self.device)

    @classmethod
    def load(
        cls, source: str | Path | ModelFile, device: torch.device | str = "cpu", precision: Precision | None = None
    ) -> TextGenerator:
        """A generator for a model.

        Args:
            source: A model file, a run folder (its best model), or what `ModelFile.read` made of one.
            device: Where the model computes.
            precision: In what: see `Engine`; other devices have "float32" and "float64" alone. ``None`` = what its
                weights were trained in.

        Raises:
            ValueError: The file is no model file of this program, or damaged; or the device has not this precision.
            OSError: It cannot be read.
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
        """Continues a text.

        Args:
            prime_text: Text to continue; all of it runs through the model. If it is empty the model starts from the
                zero state and the first symbol is drawn from the uniform distribution (temperature 0: is the first).
            length: Symbols to add: characters, or bytes for a byte vocabulary.
            temperature: Divides the log-probabilities; 0 = always the likeliest symbol.
            top_k: Draw among the k likeliest symbols only; ``None`` = all.
            top_p: Draw among the likeliest symbols that together have this probability; ``None`` = all.
            **options: ``seed``, ``stop``, ``stop_at_newline``, ``unknown``: see `GenerationState`;
                ``final_temperature``, ``min_p``, ``typical_p``, ``repetition_penalty``, ``repetition_window``,
                ``banned``, ``allowed``: see `Strategy`.

        Returns:
            ``prime_text`` and what the model added. Bytes at the very end that are no whole character are left out.

        Raises:
            UnknownCharacterError: ``prime_text`` has a character that the vocabulary has not.
            ValueError: Another argument is out of range, or the model gives no usable numbers.
        """
        strategy, others = _parted(temperature, top_k, top_p, options)
        continuation = GenerationState(self.symbols, prime_text, length, strategy, **others)
        for _ in self._blocks(continuation):
            pass
        return prime_text + continuation.text()

    def stream(
        self,
        prime_text: str = "",
        length: int = 1000,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        **options: Unpack[Options],
    ) -> Iterator[str]:
        """As `generate`, but yields the text in pieces as they are made, ``prime_text`` first.

        A piece of a fast model is what it writes in about 10 ms, that of a slow one a character.

        Bad arguments raise here, before the first piece is asked for.
        """
        strategy, others = _parted(temperature, top_k, top_p, options)
        return self._pieces(prime_text, GenerationState(self.symbols, prime_text, length, strategy, **others))

    def generate_many(
        self,
        prime_text: str = "",
        length: int = 1000,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        *,
        num_samples: int,
        **options: Unpack[Options],
    ) -> list[str]:
        """As `generate`, but several texts, side by side: much faster than one after the other.

        Text k of a seed is the same however many there are, and text 0 is that of `generate`.

        Args:
            prime_text: See `generate`, as for the next ones.
            length: Of each.
            temperature: Of each.
            top_k: Of each.
            top_p: Of each.
            num_samples: How many texts.
            **options: See `generate`.
        """
        Range(int, 1, _MOST_SAMPLES).check("num_samples", num_samples)
        strategy, others = _parted(temperature, top_k, top_p, options)
        sampler, seed = Sampler(strategy, self.symbols), others.pop("seed", None)
        prime = encode_prime(self.symbols, prime_text, others.pop("unknown", "error"))
        texts = []
        for start in range(0, num_samples, _TOGETHER):
            seeds = [seed_of_sample(seed, k) for k in range(start, min(start + _TOGETHER, num_samples))]
            continuations = [GenerationState(self.symbols, prime, length, sampler, seed=own, **others) for own in seeds]
            self._write_together(continuations)
            texts += [prime_text + continuation.text() for continuation in continuations]
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
        unknown: Unknown = "error",
    ) -> list[BeamText]:
        """The likeliest continuations, the best first; see `char_rnn.generation.beam.beam_search`.

        Returns:
            Their texts without ``prime_text``, and their log-probabilities.
        """
        return beam_search(
            self._predictor, self.symbols, prime_text, length, beams,
            banned=banned, allowed=allowed, stop=stop, stop_at_newline=stop_at_newline, unknown=unknown,
        )  # fmt: skip

    def _pieces(self, prime_text: str, continuation: GenerationState) -> Iterator[str]:
        if prime_text:
            yield prime_text
        for _ in self._blocks(continuation):
            if piece := continuation.text():
                yield piece

    def _blocks(self, continuation: GenerationState) -> Iterator[None]:
        """Draws the symbols of a text, to its end, as many between two of the caller's turns as take little time."""
        if continuation.done:
            return
        streams = self._predictor.begin()
        symbol = continuation.begin()
        if symbol is None:
            symbol = continuation.choose(read(streams, continuation.prime))
        yield
        write, most = continuation.writer(streams), 1
        while not continuation.done:
            began = time.monotonic()
            symbol = write(symbol, most)
            is_quick = time.monotonic() - began < _BLOCK_SECONDS
            most = min(2 * most, _LARGEST_BLOCK) if is_quick else max(1, most // 2)
            yield

    def _write_together(self, continuations: list[GenerationState]) -> None:
        """Writes texts with the same prime text to their ends."""
        first = continuations[0]
        if first.done:
            return
        streams = self._predictor.begin(len(continuations))
        if len(first.prime):
            prediction = read(streams, first.prime)
            state = streams.state()
            for row in range(1, len(continuations)):
                streams.set_state(state, row)
            symbols = choose_together(continuations, np.tile(prediction, (len(continuations), 1)))
        else:
            symbols = [symbol for continuation in continuations if (symbol := continuation.begin()) is not None]
        live = list(range(len(continuations)))
        while live := [row for row in live if not continuations[row].done]:
            predictions = streams.step([symbols[row] for row in live], live)
            drawn = choose_together([continuations[row] for row in live], predictions)
            for row, symbol in zip(live, drawn, strict=True):
                symbols[row] = symbol


def _predictor(model: CharModel | Engine, device: str) -> Predictor:
    if isinstance(model, Engine):
        if device != "cpu":
            raise ValueError(f"device: an engine computes on the CPU; given {device!r}")
        return model
    from char_rnn.generation.torch_engine import TorchEngine

    return TorchEngine(model, device)


_OF_A_TEXT = ("seed", "stop", "stop_at_newline", "unknown")


def _parted(
    temperature: float, top_k: int | None, top_p: float | None, options: Options
) -> tuple[Strategy, dict[str, Any]]:
    """The strategy, and what else a `GenerationState` takes."""
    settings: dict[str, Any] = dict(options)
    others = {name: settings.pop(name) for name in _OF_A_TEXT if name in settings}
    return Strategy(temperature, top_k=top_k, top_p=top_p, **settings), others
