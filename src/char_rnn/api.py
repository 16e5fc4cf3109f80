"""Training in one call from Python, as ``char-rnn train`` does it, and what the command and the call share."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import Any

from char_rnn.data.sources import GIVEN_TEXT, Sources, as_list
from char_rnn.data.vocabulary import Vocabulary
from char_rnn.generation.text_generator import TextGenerator
from char_rnn.generation.unknown_characters import default_prime
from char_rnn.model_file import ModelFile
from char_rnn.models import CharModel
from char_rnn.runs.history import read_history
from char_rnn.sampling.options import Strategy
from char_rnn.training.callbacks import Callback
from char_rnn.training.evaluation import TrainingResult
from char_rnn.training.progress import training_progress
from char_rnn.training.run import RunContext, resume_run, start_run
from char_rnn.training.run_folder import check_run
from char_rnn.utils.config import Config, compose_config, with_settings
from char_rnn.utils.device import DeviceManager
from char_rnn.utils.signals import stopping_at_signals


@dataclass(frozen=True, repr=False)
class Trained:
    """A finished run, or one that was stopped. A notebook shows its losses and a sample of its model.

    Attributes:
        folder: run folder; usable as a model wherever one is expected (its best).
        result: how the run ended.
        config: its configuration.
    """

    folder: Path
    result: TrainingResult
    config: Config

    def __repr__(self) -> str:
        stopped = "stopped after " if self.result.stopped else ""
        return f"<Trained {self.folder}: {stopped}{describe_result(self.result, self.config)}>"

    def _repr_html_(self) -> str | None:
        """For notebooks: the losses, a sample, and how to continue. ``None`` = the display failed."""
        with suppress(Exception):
            from char_rnn.training.notebook_progress import CURVE_WIDTH, loss_curve

            history = read_history(self.folder)
            last = [f"{split} {history.finite(split)[-1].loss:.4f}" for split in history.points]
            return (
                f"<p>{escape(repr(self)[1:-1])}</p>\n"
                f'<img alt="Loss curve" width="{CURVE_WIDTH}" style="max-width: 100%"'
                f' src="data:image/png;base64,{loss_curve(history)}">\n'
                f"<p>last losses, in nats per {history.unit}: {', '.join(last)}</p>\n"
                f"{TextGenerator.load(self.folder)._repr_html_() or ''}"
                f"<p>{'continue' if self.result.stopped else 'write more'}: <code>{escape(self._next())}</code></p>\n"
            )
        return None

    def _next(self) -> str:
        """The call that continues a stopped run, or that writes with a finished one."""
        folder = str(self.folder)
        if self.result.stopped:
            text = "text=..., " if self.config.data.data_dir == GIVEN_TEXT else ""
            return f"char_rnn.train({text}resume={folder!r})"
        return f"char_rnn.TextGenerator.load({folder!r}).generate(length=500)"


def train(
    data: Sources | None = None,
    folder: str | Path | None = None,
    *,
    text: str | None = None,
    resume: str | Path | None = None,
    recipe: str | None = None,
    minutes: float | None = None,
    settings: Mapping[str, Any] | None = None,
    init_from: str | Path | ModelFile | None = None,
    grow_vocabulary: bool = False,
    callbacks: Sequence[Callback] | None = None,
) -> Trained:
    """Train a model on a text, as ``char-rnn train`` does.

    In a notebook, a bar and the loss curve show the progress, and interrupting the kernel stops the run after the
    current step, saves it and returns it. In a program, Ctrl-C saves the run too, before the ``KeyboardInterrupt``.

    Args:
        data: file, folder, or name of a data set; or a list of these, read one after the other.
        folder: run folder to make (default: one named after the text in ``logging.checkpoint_dir``).
        text: text itself, in place of ``data``. The run does not store it: give it again to resume the run.
        resume: folder of a run to continue, on its own text unless ``data`` or ``text`` is given.
        recipe: named recipe (default: the default configuration).
        minutes: training time on this machine (default: the recipe's own limits).
        settings: values by ``section.key``; they override the recipe.
        init_from: model to start from; its architecture and vocabulary are used.
        grow_vocabulary: add the symbols of the text that the model of ``init_from`` lacks, after its own.
        callbacks: callbacks (default: progress in the notebook or on standard error).

    Raises:
        ConfigError: a setting or the recipe does not exist, or a value is invalid.
        ValueError: the text, the model or the folder cannot be used; the message says how to fix it.
        OSError: a file cannot be read or written.
        TrainingDiverged: the loss exploded repeatedly.
    """
    _check_text((settings or {}).get("data.data_dir", data), text, needed=resume is None)
    if resume is not None and (folder or recipe or init_from or grow_vocabulary):
        raise ValueError("resume uses the settings of the run: leave out folder, recipe, init_from, grow_vocabulary")
    file = None if resume is None else check_run(resume)
    config = _config(GIVEN_TEXT if text is not None else data, compose_config(recipe, file), minutes, settings)
    device = DeviceManager(config.device.preferred, config.device.auto_detect, config.device.fallback)
    silent = callbacks is not None and not callbacks
    sample = None if silent else sampler_of(config)
    context = RunContext(device, [_progress()] if callbacks is None else callbacks, sample, text=text)
    if resume is not None:
        run = resume_run(config, resume, context=context)
    else:
        run = start_run(config, folder, init_from=init_from, grow_vocabulary=grow_vocabulary, context=context)
    assert run.folder is not None
    notebook = in_notebook()
    with stopping_at_signals(run.trainer.request_stop, quiet=silent or notebook) as received:
        result = run.train()
    if received and received[0] != signal.SIGINT:
        raise SystemExit(128 + received[0])
    if received and not notebook:
        raise KeyboardInterrupt
    return Trained(run.folder, result, run.trainer.config)


def in_notebook() -> bool:
    """Return whether this process is the IPython kernel of a notebook."""
    ipython = sys.modules.get("IPython")  # it is loaded in every kernel
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")


def _progress() -> Callback:
    if not in_notebook():
        return training_progress()
    from char_rnn.training.notebook_progress import NotebookProgress

    return NotebookProgress()


def _check_text(data: Sources | None, text: str | None, *, needed: bool) -> None:
    """Raise a ``ValueError`` if there is not one text, or ``text`` is not a text."""
    if (needed and data is None and text is None) or (data is not None and text is not None):
        raise ValueError("give one of data, the path or the name of a text, and text, a text itself")
    if text is None:
        return
    if not isinstance(text, str):
        raise ValueError(f"text: must be a text; given {text!r:.40}")  # noqa: TRY004 (as other arguments)
    if not text:
        raise ValueError("text: is empty")
    if "\n" not in text and os.path.exists(text):  # noqa: PTH110 (no error for any text)
        raise ValueError(f"text: {text!r} is a path; give it as data")


def _config(data: Sources | None, base: Config, minutes: float | None, settings: Mapping[str, Any] | None) -> Config:
    """Return a configuration with the text and the settings of a call."""
    given: dict[str, Any] = {}
    if data is not None:
        texts = [str(each) for each in as_list(data)]
        given["data.data_dir"] = texts if len(texts) > 1 else texts[0]
    if minutes is not None and base.training.horizons:  # those of an earlier timed run
        given |= {"training.horizons": None, "training.max_steps": None}
    given |= settings or {}
    if minutes is not None:
        given["training.minutes"] = minutes
    return with_settings(base, given, "settings")


def describe_result(result: TrainingResult, config: Config) -> str:
    """Return the steps, the time and the best loss of a finished run in words."""
    best = f"; best validation loss {result.best_val_loss:.4f} at step {result.best_step:,}" if result.best_step else ""
    early = f"; stopped early: no improvement in {config.training.patience} evaluations" if result.early else ""
    return f"{result.step:,} steps in {result.seconds / 60:.1f} minutes{best}{early}"


def sampler_of(config: Config, length: int | None = None) -> Callable[[CharModel, Vocabulary], str]:
    """Return the function that samples during training, always with the same seed, to show the progress.

    Without a prime of the user's own, a sample starts after two line ends, like a paragraph.
    """
    settings = config.generation

    def sample(model: CharModel, vocabulary: Vocabulary) -> str:
        if next(model.parameters()).device.type != "cpu":  # other devices are slow at single characters
            model = deepcopy(model).cpu()
        opening = "" if settings.prime else 2 * (vocabulary.line_end or "")
        text = TextGenerator(model, vocabulary).generate(
            opening or default_prime(vocabulary, settings.prime)[0],
            length if length is not None else config.logging.sample_length,
            seed=settings.seed if settings.seed is not None else config.training.seed,
            **asdict(Strategy.of(settings)),
        )
        return text.removeprefix(opening)

    return sample
