"""Learning from other models: their mean prediction of each batch, besides the text.

Dimensions: B streams (batch), T characters (time), V vocabulary.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import torch

from char_rnn.data.dataloader import Batches
from char_rnn.data.vocabulary import Vocabulary
from char_rnn.model_file import ModelFile
from char_rnn.models import CharModel, Hidden, build_model
from char_rnn.ops.output_loss import SoftTargets
from char_rnn.training.evaluation import CHUNK, MAX_OUTPUTS
from char_rnn.training.train_step import first_state
from char_rnn.utils.config import TrainingConfig
from char_rnn.utils.device import halving
from char_rnn.utils.terminal import counted, visible_name

Context = Callable[[], AbstractContextManager[Any]]

MEMORY, MEMORY_SHARE = 1 << 30, 0.25
"""Bytes for stored predictions, and the largest share of the free memory."""

ELEMENT = 2  # bytes of a float16

SHOWN = 5
"""Largest number of symbols in a message."""


class Teacher(NamedTuple):
    """A model to learn from, its path or name as configured, and the digest of its parameters."""

    name: str
    model: CharModel
    sha256: str


class Teachers:
    """Predicts a run's batches by the mean of its teachers' probabilities, each at the configured temperature.

    The teachers read the batches that the student reads, without dropout, each epoch from its first state. Epochs of
    streams alternate between two sets of batches, so the predictions of the first two are stored if they fit into
    memory, by the digest of all ids since the first state. Probabilities are rounded to float16, stored or not, so that
    both give the same bits. Without teachers there are no predictions.

    Raises:
        ValueError: The number of teachers differs from that in ``training.teacher``.

    Attributes:
        models: The models of the teachers, on the device.
        states: State of each teacher after the last batch; None if that is unknown: its predictions were stored ones.
        key: Digest of the ids since the first state.
        seconds_once: Seconds of the last prediction if later epochs will not need them again, else 0.
    """

    def __init__(
        self, given: Sequence[Teacher], training: TrainingConfig, batches: Batches, clock: Callable[[], float]
    ) -> None:
        if len(given) != len(training.teachers):
            raise ValueError(
                f"training.teacher names {counted(len(training.teachers), 'model')}, but the trainer was given"
                f" {counted(len(given), 'teacher')}; open_teachers opens them"
            )
        self.given, self.models = list(given), [teacher.model.eval().requires_grad_(False) for teacher in given]
        self.states: list[Hidden | None] | None = None
        self.key, self.seconds_once = b"", 0.0
        self._training, self._batches, self._clock = training, batches, clock
        self._device, self._chunk = torch.device("cpu"), CHUNK
        self._stored: dict[bytes, torch.Tensor] = {}
        self._room = self._room_for(batches) if given else 0

    def _room_for(self, batches: Batches) -> int:
        """Return the bytes that stored predictions may take: none if two epochs do not fit, or are never repeated."""
        needed = 2 * len(batches) * batches.batch_size * batches.seq_length * self.models[0].vocab_size * ELEMENT
        room = int(min(MEMORY, MEMORY_SHARE * psutil.virtual_memory().available))
        return room if batches.carries_state and needed <= room else 0

    def move_to(self, device: torch.device) -> None:
        """Copy the models to a device."""
        self._device = device
        if device.type != "cpu":
            self.models = [deepcopy(teacher.model).to(device) for teacher in self.given]
        else:
            self.models = [teacher.model for teacher in self.given]

    def predict(
        self, x: torch.Tensor, *, start: bool, position: tuple[int, int] = (0, 0), context: Context = nullcontext
    ) -> SoftTargets | None:
        """Read a batch and predict the next symbol after each symbol; None without teachers.

        Args:
            x: Ids, (B, T), on the CPU.
            start: Whether to begin in the first state; else in the states after the last batch.
            position: Epoch, and number of the batch in it.
            context: Makes the context of the forward passes, for their precision.
        """
        if not self.given:
            return None
        began = self._clock()
        before = b"" if start else self.key
        self.key = _digest_after(before, x)
        probabilities, self.seconds_once = self._stored.get(self.key), 0.0
        if probabilities is None:
            if start:
                self.states = self._first_states(position[0])
            elif self.states is None:
                self._catch_up(position, context)
            probabilities = self._read(x, context)
            if self.key in self._stored:
                self.seconds_once = self._clock() - began
        else:
            self.states = None
        return SoftTargets(probabilities, self._training.teacher_weight, self._training.teacher_temperature)

    def _first_states(self, epoch: int) -> list[Hidden | None]:
        return [first_state(model, self._batches, epoch) for model in self.models]

    def _catch_up(self, position: tuple[int, int], context: Context) -> None:
        """Read the batches of the epoch before this one, for the states after them."""
        epoch, batch = position
        last, self.key, self.states = self.key, b"", self._first_states(epoch)
        for x, _ in islice(self._batches.epoch(epoch), batch):
            self.key = _digest_after(self.key, x)
            self._read(x, context)
        self.key = last

    def _read(self, x: torch.Tensor, context: Context) -> torch.Tensor:
        """Return the mean probabilities in float16, (B, T, V), and store them if there is room; update the states."""
        chunk = max(1, min(self._chunk, x.shape[1], MAX_OUTPUTS // (len(x) * self.models[0].vocab_size)))
        with torch.no_grad(), context():
            compute = partial(self._by_chunks, x.to(self._device))
            (probabilities, self.states), self._chunk = halving(compute, chunk)
        if self.key not in self._stored and probabilities.nbytes <= self._room:
            self._room -= probabilities.nbytes
            self._stored[self.key] = probabilities = probabilities.cpu()
        return probabilities

    def _by_chunks(self, x: torch.Tensor, chunk: int) -> tuple[torch.Tensor, list[Hidden | None]]:
        states, parts = list(self.states or ()), []
        for ids in torch.split(x, chunk, 1):
            total: Any = 0
            for number, model in enumerate(self.models):
                log_probs, states[number] = model(ids, states[number])
                total = total + torch.softmax(log_probs / self._training.teacher_temperature, -1)
            parts.append(total / len(self.models))
        return torch.cat(parts, 1).half(), states

    def state_dict(self) -> dict[str, Any]:
        """Return the digests of the teachers' weights and the key, as JSON values."""
        return {"sha256": [teacher.sha256 for teacher in self.given], "key": self.key.hex()} if self.given else {}


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
        if (differs := difference(file.vocabulary, vocabulary)) is not None:
            raise ValueError(
                f"training.teacher: the vocabulary of {visible_name(name)} {differs}, compared with that of the text;"
                " give teachers trained on texts with the same symbols"
            )
        model = build_model(file.config.model, file.vocabulary.size, file.tensors)
        teachers.append(Teacher(name, model, _digest(file)))
    return teachers


def described(teachers: Sequence[Teacher]) -> dict[str, list[str]]:
    """Return the names and digests of teachers, for the metadata of the models that learn from them."""
    if not teachers:
        return {}
    return {"teacher": [each.name for each in teachers], "teacher_sha256": [each.sha256 for each in teachers]}


def _digest_after(before: bytes, x: torch.Tensor) -> bytes:
    return hashlib.sha256(before + x.numpy().tobytes()).digest()


def _digest(file: ModelFile) -> str:
    digest = hashlib.sha256()
    for name in sorted(file.tensors):
        digest.update(f"{name} {file.tensors[name].shape} {file.tensors[name].dtype}".encode())
        digest.update(file.tensors[name].tobytes())
    return digest.hexdigest()


def difference(own: Vocabulary, other: Vocabulary) -> str | None:
    """Return how a vocabulary differs from another one, as "lacks 'x' and has 'y'"; None if it is the same."""
    if own.kind != other.kind:
        return f"has {own.kind}, not {other.kind}"
    lacks, has = (set(a.symbols) - set(b.symbols) for a, b in ((other, own), (own, other)))
    parts = [f"{verb} {_listed(symbols, own)}" for verb, symbols in (("lacks", lacks), ("has", has)) if symbols]
    if not parts and own.symbols != other.symbols:
        return "has the symbols in another order"
    return " and ".join(parts) or None


def _listed(symbols: set[int], vocabulary: Vocabulary) -> str:
    first, more = sorted(symbols)[:SHOWN], len(symbols) - SHOWN
    listed = [f"byte {each}" if vocabulary.kind == "bytes" else f"'{visible_name(chr(each))}'" for each in first]
    return ", ".join(listed) + (f" and {more} more" if more > 0 else "")
