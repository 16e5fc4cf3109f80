"""Experiment trackers: the records, samples and configuration of a run, sent to Weights & Biases or Trackio.

A tracker cannot take a record back: what a run records again, after a resume from an earlier checkpoint or a rollback,
is not sent again. What it lost when a run was killed is sent when the run is resumed. ``tracker.json`` in the run
folder contains, by tracker, the ``project``, ``id`` and ``name`` of its run, and the last ``step`` certainly sent.
"""

from __future__ import annotations

import html
import importlib
import importlib.util
import io
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from char_rnn.model_file import ModelFile
from char_rnn.runs import METRICS, SAMPLES, SWEEP, TRACKER
from char_rnn.training.callbacks import Callback, Record, RecordsFile, scalars
from char_rnn.utils.files import read_regular, replacing
from char_rnn.utils.terminal import in_one_line

if TYPE_CHECKING:
    from char_rnn.training.trainer import CharRNNTrainer
    from char_rnn.utils.config import LoggingConfig

MAX_BYTES = 1 << 20

FINISH_SECONDS = 60
"""Longest wait at the end of a run for records that wandb has not sent; ``wandb sync`` sends them later."""

_logger = logging.getLogger("char_rnn")


class TrackerMissingError(RuntimeError):
    """The package of the tracker is not installed; the message says how to install it."""


def check_tracker(settings: LoggingConfig) -> None:
    """Check that the package of the tracker is installed.

    Raises:
        TrackerMissingError: it is not.
    """
    name = settings.tracker
    spec = importlib.util.find_spec(name) if name != "none" else None
    if name != "none" and (spec is None or spec.origin is None):  # a folder of this name is a module without origin
        install = f"pip install 'char-rnn-pytorch[{name}]'"
        raise TrackerMissingError(f"logging.tracker {name} needs {name}: {install}, or set logging.tracker to none")


def tracker_callbacks(run_dir: Path | None, settings: LoggingConfig) -> Sequence[Callback]:
    """Return the callback that sends a run to its tracker; none without a tracker or a run folder."""
    writer = {"wandb": WandbWriter, "trackio": TrackioWriter}.get(settings.tracker)
    return [writer(run_dir, settings)] if writer is not None and run_dir is not None else []


class TrackerWriter(Callback):
    """Sends records and samples to a tracker. If the tracker fails, the run continues without it."""

    def __init__(self, folder: Path, settings: LoggingConfig) -> None:
        self.folder, self.name, self.project = folder.resolve(), settings.tracker, settings.tracker_project
        self.quiet = not _logger.isEnabledFor(logging.WARNING)  # so it is while a quiet run is prepared
        self.module: Any = None
        self.run: Any = None
        self._held = self._step = -1  # last step that is not sent again, and last step that the tracker has
        self._handled: BaseException | None = None

    def open(self, saved: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[Any, int]:
        """Start a run of the tracker, or continue the saved one; return it and the last step that it has."""
        raise NotImplementedError

    def close(self, failed: bool) -> None:
        """Finish the run of the tracker."""
        raise NotImplementedError

    def on_start(self, trainer: CharRNNTrainer) -> None:
        """Start or continue the tracker's run; this does not count as training time."""
        self._handled = sys.exception()
        trainer.timer.pause()
        with self._guarded():
            saved = self._saved()
            group = self.folder.parent.name if (self.folder.parent / SWEEP).is_file() else None
            options = {"project": self.project, "group": group, "config": _description(trainer)}
            self.module = importlib.import_module(self.name)
            self.run, last = self.open(saved, options)
            self._held = self._step = max(last, saved.get("step", -1))
            self._save({"project": self.project, "id": self.run.id, "name": self.run.name, "step": self._step})
            self._catch_up()
        trainer.timer.resume()

    def on_event(self, trainer: CharRNNTrainer, event: Record) -> None:
        """Skip the steps that are repeated."""
        if "failed_step" in event:
            self._held = self._step

    def on_record(self, record: Record) -> None:
        """Send the numbers of the record."""
        self._send(record["step"], lambda: scalars(record))

    def on_sample(self, step: int, text: str) -> None:
        """Send the sample as preformatted text."""
        escaped = html.escape(text).encode("ascii", "xmlcharrefreplace").decode()
        page = f'<pre style="white-space: pre-wrap">{escaped}</pre>'
        self._send(step, lambda: {"sample": self.module.Html(page)})

    def on_end(self, trainer: CharRNNTrainer) -> None:
        """Finish the tracker's run, as failed if an error ended the training."""
        failed = sys.exception() not in (None, self._handled)
        with self._guarded():
            if self.run is not None:
                self.close(failed)
                self._save({**self._saved(), "step": self._step})
        self.run = None

    def _catch_up(self) -> None:
        """Send the records of the run folder that the tracker does not have."""
        entries = [entry for name in (METRICS, SAMPLES) for entry in RecordsFile(self.folder / name).read()]
        for entry in sorted(entries, key=lambda entry: entry["step"]):
            if "text" in entry:
                self.on_sample(entry["step"], entry["text"])
            elif "split" in entry:
                self.on_record(entry)

    def _send(self, step: int, values: Callable[[], Mapping[str, Any]]) -> None:
        """Send values, unless the tracker has this or a later step already."""
        with self._guarded():
            if self.run is not None and step > self._held and step >= self._step:
                self.run.log(values(), step=step)
                self._step = step

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Send the tracker's output to standard error (nowhere in a quiet run), and turn its errors into a warning."""
        with redirect_stdout(io.StringIO() if self.quiet else sys.stderr):
            try:
                yield
            except Exception as error:
                _logger.warning("%s failed; the run continues without it: %s", self.name, in_one_line(error))
                with suppress(Exception):  # otherwise it prints to standard output when the program ends
                    self.close(failed=True)
                self.run = None

    def _saved(self) -> dict[str, Any]:
        """Return what the run folder has about this tracker and project."""
        entry = self._file().get(self.name)
        return entry if isinstance(entry, dict) and entry.get("project") == self.project else {}

    def _file(self) -> dict[str, Any]:
        with suppress(OSError, ValueError):
            content = json.loads(read_regular(self.folder / TRACKER, MAX_BYTES))
            return content if isinstance(content, dict) else {}
        return {}

    def _save(self, entry: Mapping[str, Any]) -> None:
        content = json.dumps({**self._file(), self.name: entry}, indent=2)
        with replacing(self.folder / TRACKER) as temporary:
            temporary.write_text(content + "\n", encoding="utf-8", newline="\n")


class WandbWriter(TrackerWriter):
    """Sends a run to Weights & Biases, or to the folder ``wandb`` in the run folder in offline mode."""

    def open(self, saved: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[Any, int]:
        """Start or continue a run by its id; in offline mode, the steps that it has are not known."""
        run = self.module.init(
            **options,
            name=self.folder.name,
            id=saved.get("id"),
            resume="allow" if saved else None,
            allow_val_change=True,
            dir=os.environ.get("WANDB_DIR") or str(self.folder),
            settings={
                "console": "off",
                "silent": True,  # otherwise it prints to standard output
                "finish_timeout": FINISH_SECONDS,
                "x_disable_meta": True,  # the command line, the folder, the computer
                "disable_git": True,
            },
        )
        print(f"wandb: {Path(run.dir).parent if run.offline else run.url}")
        return run, run.step - 1

    def close(self, failed: bool) -> None:
        """Finish the run."""
        self.run.finish(exit_code=int(failed))


class TrackioWriter(TrackerWriter):
    """Sends a run to Trackio: to its database on this machine, or where its environment variables say."""

    def open(self, saved: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[Any, int]:
        """Start or continue a run by its name, which is all that trackio takes."""
        name = saved.get("name") or self._free_name()
        run = self.module.init(**options, name=name, resume="allow" if saved else "never", embed=False)
        return run, getattr(run, "_next_step", 0) - 1

    def close(self, failed: bool) -> None:
        """Finish the run; trackio has no state for a failed one."""
        self.module.finish()

    def _free_name(self) -> str:
        """Return the name of the run folder, with a number if the project has a run of that name already."""
        taken = set()
        with suppress(ValueError):  # no such project yet
            taken = {run.name for run in self.module.Api().runs(self.project)}
        names = (self.folder.name + (f"-{number}" if number > 1 else "") for number in count(1))
        return next(name for name in names if name not in taken)


def _description(trainer: CharRNNTrainer) -> dict[str, Any]:
    """Return the configuration, the facts about the text and the number of parameters.

    Paths are replaced by names. The suggested primes are left out: they are words of the text.
    """
    vocabulary, metadata = trainer.checkpoints.vocabulary, trainer.checkpoints.metadata
    assert vocabulary is not None  # a run folder needs one
    shared = ModelFile(trainer.config, vocabulary, {}, metadata).without_paths()
    parameters = sum(parameter.numel() for parameter in trainer.model.parameters())
    config = shared.config.model_dump(mode="json", exclude={"generation": {"suggested_primes"}})
    return {"parameters": parameters, **config, "metadata": dict(shared.training)}
