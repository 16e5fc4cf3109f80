"""Learning from other models: their mean prediction of each batch, beside the text.

Dimensions: B streams (batch), T characters (time), V vocabulary.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

import torch

from char_rnn.data.vocabulary import Vocabulary
from char_rnn.model_file import ModelFile
from char_rnn.models import CharModel, Hidden, build_model
from char_rnn.ops.output_loss import SoftTargets
from char_rnn.training.evaluation import CHUNK, MAX_OUTPUTS
from char_rnn.utils.config import TrainingConfig
from char_rnn.utils.device import is_out_of_memory
from char_rnn.utils.terminal import visible_name

SHOWN = 5
"""Largest number of symbols in a message."""


class Teacher(NamedTuple):
    """A model to learn from.

    Attributes:
        name: Path or name, as configured.
        model: The model.
        sha256: Digest of its parameters.
    """

    name: str
    model: CharModel
    sha256: str


class Teachers:
    """Predicts batches by the mean of the teachers' probabilities, each at the temperature of ``training``.

    The teachers read the batches that the student reads, without dropout. Their states are zero where the student's
    is. Probabilities are rounded to float16.

    Attributes:
        models: The teachers.
        states: State of each teacher after the last batch; None for zeros.
    """

    def __init__(self, models: Sequence[CharModel], training: TrainingConfig, device: torch.device) -> None:
        copies = [model if device.type == "cpu" else deepcopy(model).to(device) for model in models]
        self.models = [model.eval().requires_grad_(False) for model in copies]
        self.states: list[Hidden | None] = [None] * len(models)
        self._weight, self._temperature, self._device = training.teacher_weight, training.teacher_temperature, device
        self._chunk = CHUNK

    def predict(
        self, x: torch.Tensor, *, start: bool, context: AbstractContextManager[Any] | None = None
    ) -> SoftTargets:
        """Read a batch and predict the next symbol after each symbol.

        Args:
            x: Ids, (B, T).
            start: Whether to begin in the zero state; else in the states after the last batch.
            context: Context of the forward passes, for their precision.
        """
        before = [None] * len(self.models) if start else self.states
        chunk = max(1, min(self._chunk, MAX_OUTPUTS // (len(x) * self.models[0].vocab_size)))
        while True:
            try:
                with torch.no_grad(), context or nullcontext():
                    probabilities, self.states = self._read(x.to(self._device), before, chunk)
                return SoftTargets(probabilities, self._weight, self._temperature)
            except (RuntimeError, MemoryError) as error:
                if chunk == 1 or not is_out_of_memory(error):
                    raise
            self._chunk = chunk = min(chunk, x.shape[1]) // 2

    def _read(
        self, x: torch.Tensor, before: Sequence[Hidden | None], chunk: int
    ) -> tuple[torch.Tensor, list[Hidden | None]]:
        """Return the mean probabilities in float16, (B, T, V), and the states after the batch."""
        states, parts = list(before), []
        for ids in torch.split(x, chunk, 1):
            total: Any = 0
            for number, model in enumerate(self.models):
                log_probs, states[number] = model(ids, states[number])
                total = total + torch.softmax(log_probs / self._temperature, -1)
            parts.append((total / len(self.models)).half())
        return torch.cat(parts, 1), states


def open_teachers(
    names: Sequence[str], vocabulary: Vocabulary, open_model: Callable[[str | Path], ModelFile] = ModelFile.read
) -> list[Teacher]:
    """Open the models that ``training.teacher`` names.

    Raises:
        ValueError: One cannot be read, or has another vocabulary than the text.
        FileNotFoundError: One does not exist.
    """
    teachers = []
    for name in names:
        try:
            file = open_model(name)
        except (ValueError, OSError) as error:
            kind = FileNotFoundError if isinstance(error, FileNotFoundError) else ValueError
            raise kind(f"training.teacher: {error}") from None
        _check_vocabulary(name, file.vocabulary, vocabulary)
        model = build_model(file.config.model, file.vocabulary.size, file.tensors)
        teachers.append(Teacher(name, model, _digest(file)))
    return teachers


def described(teachers: Sequence[Teacher]) -> dict[str, list[str]]:
    """Return the names and digests of teachers, for the metadata of the models that learn from them."""
    return {"teacher": [each.name for each in teachers], "teacher_sha256": [each.sha256 for each in teachers]}


def _digest(file: ModelFile) -> str:
    digest = hashlib.sha256()
    for name in sorted(file.tensors):
        digest.update(f"{name} {file.tensors[name].shape} {file.tensors[name].dtype}".encode())
        digest.update(file.tensors[name].tobytes())
    return digest.hexdigest()


def _check_vocabulary(name: str, own: Vocabulary, text: Vocabulary) -> None:
    """Raise ValueError if a teacher's symbols are not those of the text."""
    if own.to_dict() == text.to_dict():
        return
    if own.kind != text.kind:
        reason = f"it predicts {own.kind}, not {text.kind}"
    else:
        lacks, has = (set(a.symbols) - set(b.symbols) for a, b in ((text, own), (own, text)))
        parts = [f"{verb} {_listed(symbols, own)}" for verb, symbols in (("lacks", lacks), ("has", has)) if symbols]
        reason = f"compared with the text, it {' and '.join(parts)}" if parts else "its symbols are in another order"
    raise ValueError(
        f"training.teacher: {visible_name(name)} has another vocabulary than the text: {reason};"
        " give teachers trained on texts with the same symbols"
    )


def _listed(symbols: set[int], vocabulary: Vocabulary) -> str:
    first, more = sorted(symbols)[:SHOWN], len(symbols) - SHOWN
    listed = [f"byte {each}" if vocabulary.kind == "bytes" else f"'{visible_name(chr(each))}'" for each in first]
    return ", ".join(listed) + (f" and {more} more" if more > 0 else "")
