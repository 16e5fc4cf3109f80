"""Writes text with a trained model, one symbol at a time.

Dimensions: B batch (here 1), T time, V vocabulary.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from char_rnn.data.vocabulary import Vocabulary
from char_rnn.generation import strategies
from char_rnn.generation.stopping import StopText
from char_rnn.generation.symbols import as_symbols, split_unknown
from char_rnn.model_file import ModelFile
from char_rnn.models import CharModel, build_model
from char_rnn.models.base import Hidden

_PRIME_CHUNK = 1024

_logger = logging.getLogger("char_rnn")


class TextGenerator:
    """Continues texts with a model.

    Args:
        model: A model whose ``forward(x, hidden)`` gives log-probabilities (B, T, V); it is moved to ``device``.
        vocabulary: The model's vocabulary, or a mapping from characters to indices.
        idx_to_char: With a mapping: its inverse; ``None`` = made from it.
        device: Where the model computes. The CPU is the fastest for most models, as every symbol waits for the last.

    Raises:
        ValueError: Vocabulary and model are of different sizes, or the mappings do not fit each other.
    """

    def __init__(
        self,
        model: CharModel,
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
        self.device = torch.device(device)
        self.model = model.to(self.device)

    @classmethod
    def load(cls, source: str | Path | ModelFile, device: torch.device | str = "cpu") -> TextGenerator:
        """A generator for a model, in the precision it was trained in.

        Args:
            source: A model file, a run folder (its best model), or what `ModelFile.read` made of one.
            device: Where the model computes.

        Raises:
            ValueError: The file is no model file of this program, or damaged.
            OSError: It cannot be read.
        """
        file = source if isinstance(source, ModelFile) else ModelFile.read(source)
        model = build_model(file.config.model, file.vocabulary.size, file.tensors, file.config.training.parameter_type)
        return cls(model.eval(), file.vocabulary, device=device)

    def generate(
        self,
        prime_text: str = "",
        length: int = 1000,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        *,
        seed: int | None = None,
        stop: str | None = None,
        unknown: Literal["error", "skip"] = "error",
    ) -> str:
        """Continues a text.

        Args:
            prime_text: Text to continue; all of it runs through the model. If it is empty the model starts from the
                zero state and the first symbol is drawn from the uniform distribution (temperature 0: is the first).
            length: Symbols to add: characters, or bytes for a byte vocabulary.
            temperature: Divides the log-probabilities; 0 = always the likeliest symbol.
            top_k: Draw among the k likeliest symbols only; ``None`` = all.
            top_p: Draw among the likeliest symbols that together have this probability; ``None`` = all.
            seed: Seed of the drawing; ``None`` = another text each time.
            stop: End before this text, which is not put out; ``None`` = go on to ``length``.
            unknown: What to do with characters of ``prime_text`` that the vocabulary has not: ``"error"``, or
                ``"skip"`` them with a logged warning (they are still part of the returned text).

        Returns:
            ``prime_text`` and what the model added. Bytes at the very end that are no whole character are left out.

        Raises:
            UnknownCharacterError: ``prime_text`` has a character that the vocabulary has not.
            ValueError: Another argument is out of range, or the model gives no usable numbers.
        """
        return "".join(
            self.stream(prime_text, length, temperature, top_k, top_p, seed=seed, stop=stop, unknown=unknown)
        )

    def stream(
        self,
        prime_text: str = "",
        length: int = 1000,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        *,
        seed: int | None = None,
        stop: str | None = None,
        unknown: Literal["error", "skip"] = "error",
    ) -> Iterator[str]:
        """As `generate`, but yields the text in pieces as they are made, ``prime_text`` first.

        Bad arguments raise here, before the first piece is asked for.
        """
        strategies.check_strategy(temperature=temperature, top_k=top_k, top_p=top_p)
        _check_length(length)
        rng = _generator(seed)
        stop_text = StopText(stop)
        prime = self._encode(prime_text, unknown)
        indices = self._indices(prime, length, temperature, top_k, top_p, rng)
        return self._pieces(prime_text, indices, stop_text)

    def _encode(self, text: str, unknown: str) -> npt.NDArray[np.int64]:
        if unknown not in ("error", "skip"):
            raise ValueError(f"unknown: must be error or skip; given {unknown!r}")
        if unknown == "skip":
            text, missing = split_unknown(self.symbols, text)
            if missing:
                _logger.warning("prime text: skipped what the vocabulary has not: %s", " ".join(map(repr, missing)))
        return self.symbols.encode(text).astype(np.int64)

    def _pieces(self, prime_text: str, indices: Iterator[int], stop_text: StopText) -> Iterator[str]:
        if prime_text:
            yield prime_text
        decoder = self.symbols.decoder()
        for index in indices:
            if piece := stop_text.feed(decoder.decode([index])):
                yield piece
            if stop_text.found:
                return
        if rest := stop_text.rest():
            yield rest

    def _indices(
        self,
        prime: npt.NDArray[np.int64],
        length: int,
        temperature: float,
        top_k: int | None,
        top_p: float | None,
        rng: np.random.Generator,
    ) -> Iterator[int]:
        """Draws ``length`` indices after those of the prime text."""
        if length == 0:
            return
        hidden = self.model.init_hidden(1, self.device)
        if len(prime):
            log_probs, hidden = self._step(prime, hidden)
            index = strategies.sample(strategies.probabilities(log_probs, temperature, top_k, top_p), rng)
        else:
            index = 0 if temperature == 0 else int(rng.integers(self.symbols.size))
        yield index
        for _ in range(length - 1):
            log_probs, hidden = self._step(np.array([index]), hidden)
            index = strategies.sample(strategies.probabilities(log_probs, temperature, top_k, top_p), rng)
            yield index

    def _step(self, indices: npt.NDArray[np.int64], hidden: Hidden) -> tuple[strategies.Floats, Hidden]:
        """Runs indices (T,) through the model; returns the last log-probabilities (V,) and the state after them.

        Long texts go in chunks, so that their log-probabilities need not all be in memory.
        """
        with _evaluating(self.model), torch.inference_mode():
            for start in range(0, len(indices), _PRIME_CHUNK):
                x = torch.from_numpy(indices[None, start : start + _PRIME_CHUNK]).to(self.device)
                log_probs, hidden = self.model(x, hidden)
            return log_probs[0, -1].cpu().double().numpy(), hidden


@contextmanager
def _evaluating(model: torch.nn.Module) -> Iterator[None]:
    """Puts a model into evaluation mode and each of its modules back into its own afterwards.

    A stream does so at each step, not once around them all: between two pieces the caller may train the model.
    """
    training = [module for module in model.modules() if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


def _check_length(length: int) -> None:
    if not isinstance(length, (int, np.integer)) or isinstance(length, bool) or length < 0:
        raise ValueError(f"length: must be a whole number, 0 or more; given {length!r}")


def _generator(seed: int | None) -> np.random.Generator:
    if seed is not None and (not isinstance(seed, (int, np.integer)) or isinstance(seed, bool) or seed < 0):
        raise ValueError(f"seed: must be a whole number, 0 or more, or None for a new one; given {seed!r}")
    return np.random.default_rng(seed)
