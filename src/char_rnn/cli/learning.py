"""Options and set-up of a model that learns from what a person writes, for ``interact`` and ``serve``."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING

import rich_click as click

from char_rnn.cli.options import all_options, check_needed, finite

if TYPE_CHECKING:
    from char_rnn.data.corpus import Split
    from char_rnn.model_file import ModelFile
    from char_rnn.training.learner import Learner

LENGTH = 200  # characters of each stream, to measure gradients with: a fifth of those of `eval --dynamic`

learn_options = all_options(
    click.option("--learn", is_flag=True, help="Learn from the text that a person writes, on a copy of the weights."),
    click.option(
        "--learn-rate",
        type=click.FloatRange(0, 1, min_open=True),
        callback=finite,
        help="Learning rate of --learn (default: 0.0002).",
    ),
)


def check_learning(learn: bool, **others: object) -> None:
    """Raise an error for options that need ``--learn``, and if PyTorch is missing."""
    check_needed("--learn", learn, **others)
    if learn and find_spec("torch") is None:
        raise click.ClickException("--learn needs PyTorch, which is not installed; run: pip install torch")


def learner_of(file: ModelFile, progress: Callable[[str, int, int], None], rate: float | None) -> Learner:
    """Return a learner that begins with a model's weights.

    Its steps are scaled by gradients on the training text if that is in the cache of this machine, else on samples.
    """
    from char_rnn.models import build_model
    from char_rnn.training.learner import RATE, SEGMENT, Learner, gradient_scale
    from char_rnn.utils.device import on_threads

    config = file.config
    model = build_model(config.model, file.vocabulary.size, file.tensors, config.training.parameter_type)
    model = model.requires_grad_().eval()
    text = _training_text(file)
    if text is not None and text.predicted < SEGMENT:
        text = None
    with on_threads(1):  # the result does not depend on the number of threads
        scale = gradient_scale(model, text, SEGMENT, progress, LENGTH)
    return Learner(model, scale, RATE if rate is None else rate)


def _training_text(file: ModelFile) -> Split | None:
    """Return the training split if the model's training text is in the cache."""
    from char_rnn.data.corpus import prepared_corpus

    data, sha256 = file.config.data, file.training.get("data_sha256")
    if not isinstance(sha256, str):
        return None
    corpus = prepared_corpus(sha256, file.vocabulary, data.encoding, data.cache_dir)
    return None if corpus is None else corpus.split("train", data.train_frac, data.val_frac)
