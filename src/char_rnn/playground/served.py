"""A model that is served: its engine, its batch, and what is told of it.

Dimensions: T characters, L layers, H hidden.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from char_rnn.generation.engine import Engine
from char_rnn.generation.generation_state import GenerationState
from char_rnn.generation.network import Array, Precision
from char_rnn.generation.spelling import Spelling, spelled
from char_rnn.generation.strategy import Strategy
from char_rnn.model_file import ModelFile
from char_rnn.playground.batch import Batch, ClosedError, FullError, Reading
from char_rnn.playground.cells import Cell, best_cells
from char_rnn.playground.reading import Recording, Sample, Scoring, States, UnfinishedError
from char_rnn.playground.requests import ApiError
from char_rnn.playground.schema import Limits
from char_rnn.playground.texts import aligned, labels

SAMPLE = 4000  # symbols that a model writes for its cells to be found
SAMPLE_STRATEGY = Strategy(temperature=0.8)


class Served:
    """A model and its batch.

    Args:
        name: What it goes by, in addresses too.
        file: The model.
        precision: Of its engine.
        limits: How many texts at once.
        threads: Of the engine; ``None`` for what the model's size is worth.

    Raises:
        ValueError: The file's weights are not those of its configuration.
    """

    def __init__(
        self, name: str, file: ModelFile, precision: Precision, limits: Limits, threads: int | None = None
    ) -> None:
        self.name = name
        self.vocabulary = file.vocabulary
        self.num_layers, self.hidden_size = file.config.model.num_layers, file.config.model.hidden_size
        self.batch = Batch(Engine(file.config.model, file.tensors, precision, threads=threads), limits.streams, name)
        loss = file.training.get("best_val_loss")
        data = file.without_paths().training.get("data")
        self.facts: dict[str, Any] = {
            "name": name,
            "cell": file.config.model.type,
            "hidden_size": self.hidden_size,
            "num_layers": self.num_layers,
            "parameters": sum(tensor.size for tensor in file.tensors.values()),
            "symbols": list(labels(file.vocabulary)),
            "data": None if data is None else str(data),
            "loss": loss if loss is not None and math.isfinite(loss) else None,
            "precision": precision,
        }
        self._cells: asyncio.Task[list[Cell]] | None = None

    def start(self) -> None:
        """Start computing, and look for cells in the background; on the event loop."""
        self.batch.start()
        self._cells = asyncio.get_running_loop().create_task(self._own_cells())
        self._cells.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def stop(self) -> None:
        """End all texts and the thread."""
        self.batch.close()
        await asyncio.to_thread(self.batch.join, 10)

    def add(self, reading: Reading, *, own: bool = False) -> None:
        """Let a text join the batch.

        Raises:
            ApiError: There is no room, or the server is shutting down.
        """
        try:
            self.batch.add(reading, own=own)
        except FullError as error:
            raise ApiError(429, f"model {self.name}: {error}; try again soon", headers={"retry-after": "1"}) from None
        except ClosedError as error:
            raise ApiError(503, str(error)) from None

    def cancel(self, reading: Reading) -> None:
        """Give a text up."""
        reading.cancel()
        self.batch.wake()

    async def cells(self) -> list[Cell]:
        """Wait for the cells found in a text of the model's own."""
        assert self._cells is not None
        return await asyncio.shield(self._cells)

    async def spelled(self, text: str) -> Spelling:
        """Decide what the model reads for a text."""
        return await asyncio.to_thread(spelled, self.vocabulary, text, "nearest")

    async def cells_of(self, text: str, spelling: Spelling) -> list[Cell]:
        """Find the cells that track something in a text, which is read so."""
        states = await self._states(spelling)
        return await asyncio.to_thread(best_cells, text, states)

    async def activations(self, spelling: Spelling, layer: int, unit: int | None) -> Array:
        """Return h after each character: of a unit (T,), or of a layer (T, H)."""
        values = await self._states(spelling, layer, unit)
        result: Array = values.astype(np.float64).round(5)
        return result

    async def score(self, spelling: Spelling) -> list[float | None]:
        """Return the log-probability of each character, in nats; ``None`` where the model reads nothing for it."""
        symbols, ends = spelling.indices.tolist(), spelling.ends
        if not symbols:
            return [None] * len(ends)
        sums = np.cumsum([0.0, *await self.recorded(Scoring(symbols, self.vocabulary.size))])
        begins = np.concatenate([[0], ends[:-1]])
        of_characters = sums[ends] - sums[begins]
        known = ends > begins
        return [round(float(value), 5) if seen else None for value, seen in zip(of_characters, known, strict=True)]

    async def recorded(self, reading: Recording, *, own: bool = False) -> list[Any]:
        """Have a text read, and return what is kept of it; cancelled, it leaves the batch.

        Raises:
            ApiError: There is no room, or it came to no end.
        """
        self.add(reading, own=own)
        try:
            return await asyncio.wrap_future(reading.result)
        except UnfinishedError as error:
            raise ApiError(503, f"model {self.name}: {error}") from None
        except asyncio.CancelledError:
            self.cancel(reading)
            raise

    async def _states(self, spelling: Spelling, layer: int | None = None, unit: int | None = None) -> Array:
        """Return what `States` keeps after each character, (T, ...); before anything is read it is 0."""
        symbols, ends = spelling.indices.tolist(), spelling.ends
        start = np.zeros((self.num_layers, self.hidden_size))
        start = start if layer is None else start[layer] if unit is None else start[layer, unit]
        kept = await self.recorded(States(symbols, layer, unit)) if symbols else []
        return np.stack([start, *kept])[ends]

    async def _own_cells(self) -> list[Cell]:
        sample = Sample(GenerationState(self.vocabulary, "", SAMPLE, SAMPLE_STRATEGY, seed=0))
        states = np.stack(await self.recorded(sample, own=True))
        text, ends = aligned(self.vocabulary, sample.symbols)
        return await asyncio.to_thread(best_cells, text, states[ends])


def names_of(paths: Iterable[str | Path]) -> list[str]:
    """Return a name for each model: its folder's or its file's without the ending, made unique by a number."""
    names: list[str] = []
    for path in map(Path, paths):
        resolved = path.resolve()
        stem = resolved.name if resolved.is_dir() else resolved.stem
        plain = "".join(character if character.isprintable() else "_" for character in stem) or "model"
        candidates = (plain if number == 1 else f"{plain}-{number}" for number in range(1, len(names) + 2))
        names.append(next(name for name in candidates if name not in names))
    return names
