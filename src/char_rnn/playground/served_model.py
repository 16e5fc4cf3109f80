"""A served model: its engine, its scheduler, and its activations and predictions for a text.

Dimensions: T characters, N symbols, L layers, H hidden.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from prometheus_client import Gauge

from char_rnn.generation.engine import Engine
from char_rnn.generation.generation_state import GenerationState
from char_rnn.generation.network import Array, Precision
from char_rnn.generation.tracking_cells import TrackingCell, best_cells
from char_rnn.generation.unknown_characters import Spelling, default_prime, spelled
from char_rnn.model_file import ModelFile
from char_rnn.playground.cell_finder import CellFinder
from char_rnn.playground.jobs import ReadJob, WriteJob, scores, states
from char_rnn.playground.messages import ApiError, Outbox
from char_rnn.playground.scheduler import CLOSING, Scheduler
from char_rnn.playground.schema import Limits
from char_rnn.sampling.options import OPTIONS, Strategy
from char_rnn.utils.hub import is_address


class ServedModel:
    """A model and its scheduler.

    Attributes:
        learns: Whether copies of it can learn from texts; see `LearningModel`.
        prime: Text that an empty prime stands for; may be empty too.

    Raises:
        ValueError: The weights do not match the configuration.
    """

    learns = False

    def __init__(
        self, name: str, file: ModelFile, precision: Precision, limits: Limits, threads: int | None = None
    ) -> None:
        self.name, self.vocabulary, self._limits = name, file.vocabulary, limits
        self._settings = file.config.generation
        self.prime, _ = default_prime(file.vocabulary, self._settings.prime)
        self.num_layers, self.hidden_size = file.config.model.num_layers, file.config.model.hidden_size
        engine = Engine(file.config.model, file.tensors, precision, threads=threads)
        self.scheduler = Scheduler(engine, limits.streams, name)
        step = file.training.get("step")
        more = {"symbols": list(file.vocabulary.labels), "precision": precision, "step": step and int(step)}
        self.metadata: dict[str, Any] = {"name": name, **file.summary(), **more, "learns": self.learns}
        self._finder = CellFinder(engine, file.vocabulary)

    def start(self) -> None:
        """Start computing."""
        self.scheduler.start()

    @property
    def busy(self) -> bool:
        """Whether it computes a text, or searches for cells."""
        return bool(self.scheduler.active + self.scheduler.waiting) or self._finder.searching

    def close(self, reason: str = CLOSING) -> None:
        """End all texts, whose clients get the reason."""
        self.scheduler.close(reason)

    async def stop(self, reason: str = CLOSING) -> None:
        """End all texts, whose clients get the reason, and the thread."""
        self._finder.close()
        self.close(reason)
        await asyncio.to_thread(self.scheduler.join, 10)

    def continue_counts(self, before: ServedModel) -> None:
        """Continue the counts of the model that this one replaces."""
        self.scheduler.symbols, self.scheduler.seconds = int(before.count("symbols")), before.count("seconds")

    def count(self, attribute: str) -> float:
        """Return a count of the scheduler."""
        value: float = getattr(self.scheduler, attribute)
        return value

    @property
    def learned_copies(self) -> int:
        """Number of learned copies in memory."""
        return 0

    async def learned(self, texts: Sequence[str]) -> ServedModel:
        """Return the model that has learned from some texts; without any text, the model itself.

        Raises:
            ApiError: The model does not learn.
        """
        if any(texts):
            raise ApiError(422, f"learn: model {self.name} does not learn; start char-rnn serve with --learn", "learn")
        return self

    async def forget(self, seconds: float) -> None:
        """Drop the learned copies that were not used for some time."""

    async def cells(self) -> list[TrackingCell]:
        """Find the cells that track features of texts that the model writes."""
        return await self._finder.cells()

    def strategy(self, given: Mapping[str, Any]) -> Strategy:
        """Return the sampling options of a request; for those that are not given, the model's own.

        Raises:
            ValueError: An option is out of range.
        """
        known = {name: value for name, value in given.items() if value is not None or OPTIONS[name].range.optional}
        return Strategy.of(self._settings, **known)

    async def spelled(self, text: str) -> Spelling:
        """Decide what the model reads for a text."""
        return await asyncio.to_thread(spelled, self.vocabulary, text, "nearest")

    async def cells_of(self, text: str, spelling: Spelling) -> list[TrackingCell]:
        """Find the cells that track features of a text with this spelling."""
        return await asyncio.to_thread(best_cells, text, await self.states(spelling))

    async def score(self, spelling: Spelling) -> tuple[list[float | None], Array | None]:
        """Return the log-probability of each character, in nats, and those of the next symbol (V,).

        It is ``None`` for a character that the model skips, and for the next symbol if the text is empty.
        """
        symbols, ends = spelling.indices.tolist(), spelling.ends
        first = -math.log(self.vocabulary.size)  # without the model, all symbols are equally likely
        *following, after = await self.result(ReadJob(symbols, scores(symbols))) if symbols else [None]
        sums = np.cumsum([0.0, first, *following])
        begins = np.concatenate([[0], ends[:-1]])
        values = (sums[ends] - sums[begins]).round(5).tolist()
        return [value if read else None for value, read in zip(values, ends > begins, strict=True)], after

    def write(
        self, texts: Sequence[GenerationState], streams: Gauge, **options: Any
    ) -> tuple[Outbox, Callable[[], None]]:
        """Start to write texts, counted as `streams`; return their outbox, and a function that ends them.

        Raises:
            ApiError: Not enough rows are free.
        """
        outbox = Outbox(self._limits.characters_held * len(texts), self.scheduler.wake)
        jobs = [WriteJob(text, self.vocabulary, outbox, number=number, **options) for number, text in enumerate(texts)]
        self.scheduler.add(*(job for job in jobs if not job.ended))
        streams.inc(len(jobs))

        def leave() -> None:
            streams.dec(len(jobs))
            for job in jobs:
                self.scheduler.cancel(job)

        return outbox, leave

    async def result(self, job: ReadJob) -> list[Any]:
        """Return the records of a job, which is cancelled with the caller.

        Raises:
            ApiError: All rows are in use, or the job failed.
        """
        self.scheduler.add(job)
        try:
            return await asyncio.wrap_future(job.result)
        except asyncio.CancelledError:
            self.scheduler.cancel(job)
            raise

    async def states(
        self, spelling: Spelling, layer: int | None = None, unit: int | None = None, last: int | None = None
    ) -> Array:
        """Return h after each character, or each of the `last` ones: (T, L, H), of a layer (T, H), or of a unit (T,).

        It is 0 before the first symbol.
        """
        symbols, ends = spelling.indices.tolist(), spelling.ends[-last:] if last else spelling.ends
        part: tuple[int, ...] = () if layer is None else (layer,) if unit is None else (layer, unit)
        first = int(ends[0]) if len(ends) else 0  # the states before it are not kept
        job = ReadJob(symbols, states(part, first - 1), wants_state=True) if symbols else None
        start = np.zeros((self.num_layers, self.hidden_size))[part]
        kept = [start] * (not first) + (await self.result(job) if job else [])[max(0, first - 1) :]
        return await asyncio.to_thread(lambda: np.stack(kept)[ends - first])


def model_names(paths: Iterable[str | Path]) -> list[str]:
    """Return a name for each model: its folder's or its file's without the ending, and a number if it is taken."""
    names: list[str] = []
    for path in map(Path, paths):
        resolved = path.resolve()
        stem = resolved.name if resolved.is_dir() or is_address(path) else resolved.stem
        plain = "".join(character if character.isprintable() else "_" for character in stem) or "model"
        candidates = (plain if number == 1 else f"{plain}-{number}" for number in range(1, len(names) + 2))
        names.append(next(name for name in candidates if name not in names))
    return names
