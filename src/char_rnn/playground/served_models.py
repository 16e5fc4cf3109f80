"""The models of a server by name, and the run folders whose models are reloaded while they train."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from char_rnn.model_file import ModelFile
from char_rnn.playground.messages import ApiError
from char_rnn.playground.served_model import ServedModel
from char_rnn.runs import CONFIG
from char_rnn.runs.following import RunFollower, RunProgress, signature_of
from char_rnn.utils.model_files import BEST, LAST, find_model
from char_rnn.utils.terminal import first_line

SECONDS_TO_LOOK = 1.0
GRACE = 10.0  # seconds for requests that have found a model just before it is replaced
PATIENCE = 120.0  # seconds after which the texts of a replaced model are ended
MOST_REPLACED = 2  # replaced models that still write; the next replacement waits for them
REPLACED = "a better model has replaced the one that wrote this text; generate it again"

_logger = logging.getLogger("char_rnn")


class ServedModels(Mapping[str, ServedModel]):
    """Models by name. One that is replaced finishes its texts; new requests find the new one."""

    def __init__(self, models: Iterable[ServedModel]) -> None:
        self._models = {model.name: model for model in models}
        self._replaced: dict[ServedModel, asyncio.Task[None]] = {}

    def __getitem__(self, name: str) -> ServedModel:
        return self._models[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._models)

    def __len__(self) -> int:
        return len(self._models)

    @property
    def may_replace(self) -> bool:
        """Whether another model may be replaced now."""
        return len(self._replaced) < MOST_REPLACED

    def put(self, model: ServedModel) -> None:
        """Serve a model under its name from now on; on the event loop."""
        before = self._models.get(model.name)
        if before is not None:
            model.continue_counts(before)
            self._replaced[before] = asyncio.get_running_loop().create_task(self._finish(before))
        model.start()
        self._models[model.name] = model

    async def _finish(self, model: ServedModel) -> None:
        """Stop a replaced model when its texts have ended."""
        waited = GRACE
        await asyncio.sleep(GRACE)
        while model.busy and waited < PATIENCE:
            await asyncio.sleep(SECONDS_TO_LOOK)
            waited += SECONDS_TO_LOOK
        await model.stop(REPLACED)
        del self._replaced[model]

    def start(self) -> None:
        """Start computing."""
        for model in self._models.values():
            model.start()

    def close(self) -> None:
        """End all texts."""
        for model in (*self._models.values(), *self._replaced):
            model.close()

    async def stop(self) -> None:
        """End all texts and threads."""
        for task in self._replaced.values():
            task.cancel()
        await asyncio.gather(*(model.stop() for model in (*self._models.values(), *self._replaced)))


class ServedRun:
    """A run folder: its progress and its best model.

    Until there is a best model, it is the last checkpoint after the first step. A file that is damaged or disappears
    changes nothing.

    Args:
        name: Name to serve it under.
        folder: Run folder.
        serve: Makes a served model of a name and a file.

    Attributes:
        problem: Why the newest model file of the folder is not served, in one line.

    Raises:
        FileNotFoundError: It is not a run folder.
    """

    def __init__(self, name: str, folder: Path, serve: Callable[[str, ModelFile], ServedModel]) -> None:
        if not (folder / CONFIG).exists():
            find_model(folder)
        self.name, self._folder, self._serve = name, folder, serve
        self.problem: str | None = None
        self._follower, self._following = RunFollower(folder), asyncio.Lock()
        self._seen: tuple[Path, object] | None = None
        self._serves_best = False

    def load(self) -> ServedModel | None:
        """Return the model to serve from now on; ``None`` if there is no new one.

        Raises:
            OSError, ValueError: Its file cannot be read, or is not a model.
        """
        has_best = self._serves_best or (self._folder / BEST).exists()
        path = self._folder / (BEST if has_best else LAST)
        signature = signature_of(path)
        if signature is None or (path, signature) == self._seen:
            return None
        self._seen = path, signature
        try:
            file = ModelFile.read(path)
        except OSError:
            self._seen = None  # the next attempt may succeed, unlike with a damaged file
            raise
        if not has_best and file.training.get("step") == 0:
            return None  # not trained yet
        model = self._serve(self.name, file)
        self._serves_best = has_best
        return model

    async def watch(self, models: ServedModels) -> None:
        """Replace the model whenever the run has written a new one."""
        while True:
            await asyncio.sleep(SECONDS_TO_LOOK)
            if not models.may_replace:
                continue
            try:
                model = await asyncio.to_thread(self.load)
            except Exception as error:
                self.problem = self._described(error)
                if not isinstance(error, (OSError, ValueError)):
                    _logger.exception("%s", self.name)
            else:
                if model is not None:
                    models.put(model)
                    self.problem = None

    async def progress(self) -> RunProgress:
        """Return the progress of the run.

        Raises:
            ApiError: A file of the folder cannot be read.
        """
        async with self._following:  # one at a time
            try:
                return await asyncio.to_thread(self._follower.read)
            except OSError as error:
                raise ApiError(503, self._described(error)) from None

    def _described(self, error: Exception) -> str:
        """Return an error in one line, without the path of the folder."""
        if isinstance(error, OSError) and error.strerror:
            return f"{Path(error.filename or self.name).name}: {error.strerror}"
        return first_line(error).replace(f"{self._folder}{os.sep}", "")
