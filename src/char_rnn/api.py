"""Training in one call from Python, as ``char-rnn train`` does it, and what the command and the call share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from char_rnn.data.sources import Sources, as_list
from char_rnn.data.vocabulary import Vocabulary
from char_rnn.generation.text_generator import TextGenerator
from char_rnn.generation.unknown_characters import default_prime
from char_rnn.model_file import ModelFile
from char_rnn.models import CharModel
from char_rnn.sampling.options import Strategy
from char_rnn.training.callbacks import Callback
from char_rnn.training.evaluation import TrainingResult
from char_rnn.training.progress import training_progress
from char_rnn.training.run import RunContext, start_run
from char_rnn.utils.config import Config, compose_config, config_from_dict
from char_rnn.utils.device import DeviceManager


@dataclass(frozen=True)
class Trained:
    """A finished run.

    Attributes:
        folder: run folder; usable as a model wherever one is expected (its best).
        result: how the run ended.
    """

    folder: Path
    result: TrainingResult


def train(
    data: Sources,
    folder: str | Path | None = None,
    *,
    recipe: str | None = None,
    minutes: float | None = None,
    settings: Mapping[str, Any] | None = None,
    init_from: str | Path | ModelFile | None = None,
    grow_vocabulary: bool = False,
    callbacks: Sequence[Callback] | None = None,
) -> Trained:
    """Train a model on a text, as ``char-rnn train`` does.

    Args:
        data: file, folder, or name of a data set; or a list of these, read one after the other.
        folder: run folder to make (default: one named after the text in ``logging.checkpoint_dir``).
        recipe: named recipe (default: the default configuration).
        minutes: training time on this machine (default: the recipe's own limits).
        settings: values by ``section.key``; they override the recipe.
        init_from: model to start from; its architecture and vocabulary are used.
        grow_vocabulary: add the symbols of the text that the model of ``init_from`` lacks, after its own.
        callbacks: callbacks (default: progress on standard error).

    Raises:
        ConfigError: a setting or the recipe does not exist, or a value is invalid.
        ValueError: the text, the model or the folder cannot be used; the message says how to fix it.
        OSError: a file cannot be read or written.
        TrainingDiverged: the loss exploded repeatedly.
    """
    texts = [str(each) for each in as_list(data)]
    given = {"data.data_dir": texts if len(texts) > 1 else texts[0], **(settings or {})}
    if minutes is not None:
        given["training.minutes"] = minutes
    sections = compose_config(recipe).model_dump()
    for key, value in given.items():
        section, _, name = key.partition(".")
        sections.setdefault(section, {})[name] = value
    config = config_from_dict(sections, "settings")
    device = DeviceManager(config.device.preferred, config.device.auto_detect, config.device.fallback)
    context = RunContext(device, [training_progress()] if callbacks is None else callbacks)
    run = start_run(config, folder, init_from=init_from, grow_vocabulary=grow_vocabulary, context=context)
    assert run.folder is not None
    return Trained(run.folder, run.train())


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
