"""Puts a run together as the command line asks for it: device, listeners, samples; what is said of it."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import asdict
from typing import TYPE_CHECKING

import rich_click as click

from char_rnn.cli.models import open_model
from char_rnn.cli.options import say

if TYPE_CHECKING:
    from collections.abc import Callable

    from char_rnn.cli.train_request import Request
    from char_rnn.data.vocabulary import Vocabulary
    from char_rnn.models import CharModel
    from char_rnn.training import Callback, TrainingResult
    from char_rnn.training.backend import TrainerBackend
    from char_rnn.training.process_group import ProcessGroup
    from char_rnn.training.run import Run
    from char_rnn.utils.config import Config
    from char_rnn.utils.device import DeviceManager


def run_device(config: Config, request: Request) -> DeviceManager:
    """Return the manager of the device; one that was asked for by name is not silently replaced.

    Several processes train on CUDA, a GPU each, or on the CPU: gloo and NCCL know no other device.
    """
    from char_rnn.training.process_group import ProcessGroup
    from char_rnn.utils.device import DeviceManager

    wanted = config.device
    if ProcessGroup.launched():
        if request.device == "mps":
            raise click.UsageError("--device mps trains in one process: leave out torchrun, or give --device cpu")
        ProcessGroup.take_gpu()
        if wanted.preferred == "mps":
            wanted = wanted.model_copy(update={"preferred": "cuda" if "cuda" in DeviceManager.available() else "cpu"})
    fallback = wanted.fallback and not request.insists_on_device
    preferred = wanted.preferred if ProcessGroup.launched() else request.device_name(config)
    return DeviceManager(preferred, auto_detect=wanted.auto_detect, fallback=fallback)


def open_run(config: Config, request: Request, manager: DeviceManager, group: ProcessGroup) -> Run:
    """Put a new run together, or one that goes on, and say what it is."""
    from char_rnn.cli.progress import preparation
    from char_rnn.training.run import RunContext, resume_run, start_run

    with preparation(request.silent) as progress:
        context = RunContext(
            device=manager,
            callbacks=_callbacks(request),
            sample_text=None if request.silent else sampler_of(config),
            progress=progress,
            open_model=open_model,
            group=group,
        )
        if request.resume is not None:
            run = resume_run(config, request.resume, context=context, backend=_backend(config))
        else:
            run = start_run(config, request.out, init_from=request.init_from, context=context, backend=_backend(config))
    say(_introduction(run, manager.describe()), quiet=request.silent, wrap=True)
    return run


def _backend(config: Config) -> TrainerBackend:
    """Return the implementation that ``training.trainer`` selects."""
    if config.training.trainer == "torch7":
        from char_rnn.torch7.trainer import Torch7Backend

        return Torch7Backend()
    from char_rnn.training.backend import TrainerBackend

    return TrainerBackend()


def _callbacks(request: Request) -> list[Callback]:
    if request.quiet:
        return []
    if request.torch7:
        from char_rnn.torch7.lines import TrainLuaLines

        return [TrainLuaLines()]
    from char_rnn.training.progress import training_progress

    return [training_progress()]


def _introduction(run: Run, device: str) -> str:
    from char_rnn.training.tuning import training_path

    trainer, vocabulary = run.trainer, run.corpus.vocabulary
    model, train = trainer.config.model, trainer.dataloaders["train"]
    parameters = sum(parameter.numel() for parameter in trainer.model.parameters())
    read = f"{run.corpus.name}: {len(run.corpus.ids):,} {vocabulary.kind}, {vocabulary.size} distinct"
    built = f"{model.num_layers}-layer {model.type} of {model.hidden_size}, {parameters:,} parameters"
    trained = f"on {device}, {trainer.config.training.precision}, {training_path(trainer.config, trainer.device)}"
    if not trainer.group.alone:
        trained += f", in each of {trainer.group.size} processes"
    passed = f"{len(train):,} steps per epoch; {train.dropped:,} of {train.split.predicted:,} predictions unused"
    begin = f"continues at step {trainer.step:,}" if trainer.step else "starts"
    if not trainer.should_continue:
        begin = f"is finished after {trainer.step:,} steps and is evaluated again"
    return f"{read}\n{built}\n{trained}\n{passed}\n{run.folder} {begin}"


def ending(result: TrainingResult, config: Config) -> str:
    """Say how a run that came to its end went."""
    best = f"; best validation loss {result.best_val_loss:.4f} at step {result.best_step:,}" if result.best_step else ""
    early = f"; stopped early: no improvement in {config.training.patience} evaluations" if result.early else ""
    return f"{result.step:,} steps in {result.seconds / 60:.1f} minutes{best}{early}"


def sampler_of(config: Config, length: int | None = None) -> Callable[[CharModel, Vocabulary], str]:
    """Return the function that writes a sample, always from the same seed so that progress shows.

    Without a prime of the user's own it begins where a paragraph does; a random first character makes a poor start.
    """
    from char_rnn.generation.spelling import default_prime
    from char_rnn.generation.text_generator import TextGenerator
    from char_rnn.sampling.options import Strategy

    settings = config.generation

    def sample(model: CharModel, vocabulary: Vocabulary) -> str:
        if next(model.parameters()).device.type != "cpu":  # where one character at a time is slow
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
