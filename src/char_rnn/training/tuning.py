"""Chooses CPU threads and precision before a run starts, by timing steps of the run itself.

Two threads are up to twice as fast as one on an idle machine and several times slower on a busy one, and whether
bfloat16 is faster than float32 depends on the processor and the size of the model. Only a measurement can tell.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from statistics import median

import torch

from char_rnn import kernels
from char_rnn.data.dataloader import Batches
from char_rnn.kernels import multiplies_bfloat16
from char_rnn.model_file import ModelFile, ModelHeader
from char_rnn.models import CharModel
from char_rnn.ops.layers import fits_kernels
from char_rnn.training.loss import TrainingDiverged
from char_rnn.training.process_group import ProcessGroup
from char_rnn.training.trainer import CharRNNTrainer
from char_rnn.utils.config import Config
from char_rnn.utils.device import DeviceManager, forked_rng
from char_rnn.utils.resources import available_cores, memory_kept

Way = tuple[int, str]
"""CPU threads and precision."""

SECONDS, SHARE = 0.7, 0.02
"""Limit for timing one choice, in seconds and as a share of a timed run. Timing ends with the turn that passes it."""

FEW = 50
"""A run with a given number of steps times at most one step for so many."""

SCREENED, SLOW = 8, 2.0
"""One part in so many of the sequences is timed first; ways that take so many times as long as the best are dropped.

On a busy machine, a whole step on several threads can take seconds."""

FEWER_THREADS = 1.05
"""Required speed of more threads relative to fewer."""

LOWER_PRECISION = 1.15
"""Required speed of bfloat16 relative to float32."""


def tuned(
    config: Config,
    make_trainer: Callable[..., CharRNNTrainer],
    model: CharModel,
    loaders: Mapping[str, Batches],
    device: torch.device,
    group: ProcessGroup | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Config:
    """Set the number of CPU threads; return the configuration with the choices, the same in every process.

    If ``device.threads`` is null or ``training.precision`` is ``auto``, a few steps on copies of the model with the
    run's first batch are timed, unless there is only one choice. Model, generators and position in the data do not
    change.

    Args:
        config: Configuration of the run.
        make_trainer: Makes the trainer; called as ``CharRNNTrainer``.
        model: Model to be trained.
        loaders: Batches of the run.
        device: Device to train on.
        group: Process group; the first rank chooses.
        clock: Seconds, as ``time.perf_counter``.
    """
    group = group or ProcessGroup()
    if device.type != "cpu":
        DeviceManager.set_threads(config.device.threads)
        return _with(config, config.device.threads, _precisions(config, device)[-1])
    counts, names = _thread_counts(config, group), _precisions(config, device)
    threads, precision = counts[0], names[0]
    DeviceManager.set_threads(threads)
    if len(counts) + len(names) > 2 and group.is_first:
        with forked_rng(device), memory_kept():
            trial = _Trial(config, names, make_trainer, model, loaders, clock)
            threads, _ = trial.fastest([(count, precision) for count in counts])
            _, precision = trial.fastest([(threads, name) for name in names])
    threads = int(group.broadcast(threads))
    DeviceManager.set_threads(threads)
    half = group.broadcast(float(precision == "bfloat16"))  # the processors may differ
    return _with(config, threads, "bfloat16" if half else names[0])


def tuned_before(config: Config, last: ModelHeader) -> Config:
    """Set the number of CPU threads of a resumed run as it was; return the configuration with it.

    Args:
        config: Configuration of the run; ``device.threads`` is null in those of version 1.0.
        last: Last model of the run, whose metadata has the number of threads.
    """
    threads = config.device.threads if config.device.threads is not None else recorded_threads(last)
    DeviceManager.set_threads(threads)
    precision = config.training.precision
    return _with(config, threads, last.config.training.precision if precision == "auto" else precision)


def recorded_threads(model: ModelFile | ModelHeader) -> int | None:
    """Return the number of CPU threads that a model was trained with, `available_cores` at most; None if unknown."""
    recorded = model.config.device.threads or model.training.get("threads")
    return min(recorded, available_cores()) if isinstance(recorded, int) and recorded >= 1 else None


def requested_threads() -> int | None:
    """Return the number in ``OMP_NUM_THREADS``, `available_cores` at most; None if there is none."""
    number = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    return min(int(number), available_cores()) if number.isdecimal() and int(number) else None


def fastest(seconds: Mapping[Way, float]) -> Way:
    """Return the fastest way to train; a later one only if it is clearly faster than every earlier one.

    Args:
        seconds: Seconds of a step in each way: fewer threads before more, float32 before bfloat16.
    """
    chosen, *others = seconds
    for way in others:
        gain = LOWER_PRECISION if way[1] != chosen[1] else FEWER_THREADS
        chosen = way if seconds[chosen] >= gain * seconds[way] else chosen
    return chosen


def _with(config: Config, threads: int | None, precision: str) -> Config:
    device = config.device.model_copy(update={"threads": threads})
    training = config.training.model_copy(update={"precision": precision})
    return config.model_copy(update={"device": device, "training": training})


def _thread_counts(config: Config, group: ProcessGroup) -> Sequence[int]:
    """Return the numbers of threads to choose from; only one if it is known in advance."""
    if config.device.threads is not None:
        return [config.device.threads]
    cores, requested = available_cores(), requested_threads()
    if requested is not None:
        return [requested]
    if not group.alone:
        return [max(1, cores // int(os.environ.get("LOCAL_WORLD_SIZE", group.size)))]
    return sorted({1, cores // 2 if cores >= 4 else 1, cores})


def _precisions(config: Config, device: torch.device) -> Sequence[str]:
    """Return the precisions to choose from; float32 is the first."""
    if config.training.precision != "auto":
        return [config.training.precision]
    if device.type == "cuda":
        return ["float32", *(["bfloat16"] if torch.cuda.is_bf16_supported(including_emulation=False) else [])]
    return ["float32", *(["bfloat16"] if device.type == "cpu" and multiplies_bfloat16() else [])]


class _Trial:
    """Steps of the run's first batch on copies of its model, one for each precision; their trainers write nothing."""

    def __init__(
        self,
        config: Config,
        precisions: Sequence[str],
        make_trainer: Callable[..., CharRNNTrainer],
        model: CharModel,
        loaders: Mapping[str, Batches],
        clock: Callable[[], float],
    ) -> None:
        training, self._clock = config.training, clock
        self._limit = min(SECONDS, SHARE * 60 * training.minutes) if training.minutes is not None else SECONDS
        self._most = -(-training.max_steps // FEW) if training.max_steps is not None else None
        self._x, self._y = next(iter(loaders["train"].epoch(0)))
        self._part = self._x.shape[1] if training.trainer == "torch7" else -(-self._x.shape[1] // SCREENED)
        self._trainers = {}
        for name in precisions:
            plain = training.model_copy(update={"precision": name, "compile": False, "explosion_factor": 0.0})
            settings = config.model_copy(update={"training": plain})
            trainer = deepcopy(make_trainer)(deepcopy(model), loaders, settings, torch.device("cpu"))
            trainer.model.train()
            self._trainers[name] = trainer
            self._seconds((torch.get_num_threads(), name))  # a warm-up

    def fastest(self, ways: Sequence[Way]) -> Way:
        """Return the fastest of some ways, which take turns."""
        first, *others = ways
        if others:
            parts = {way: self._seconds(way, self._part) for way in ways}
            others = [way for way in others if parts[way] <= SLOW * min(parts.values())]
        if not others:
            return first
        turns: list[dict[Way, float]] = []
        began = self._clock()
        while not turns or (len(turns) != self._most and self._clock() - began < self._limit):
            turns.append({way: self._seconds(way) for way in (first, *others)})
        return fastest({way: median(turn[way] for turn in turns) for way in (first, *others)})

    def _seconds(self, way: Way, length: int | None = None) -> float:
        """Return the seconds of a step, even if it diverges: the run itself will report that."""
        threads, precision = way
        torch.set_num_threads(threads)
        began = self._clock()
        with suppress(TrainingDiverged):
            self._trainers[precision].train_step(self._x[:, :length], self._y[:, :length])
        return self._clock() - began


def training_path(config: Config, model: CharModel, device: torch.device) -> str:
    """Return which code trains the recurrent layers, such as ``kernels (avx512)`` or ``PyTorch (float64)``.

    Args:
        config: Configuration of the run, with its final precision.
        model: Model to train.
        device: Device to train on.
    """
    if config.training.trainer == "torch7":
        return "PyTorch (as in 2015)"
    if device.type != "cpu":
        return "PyTorch"
    if config.training.precision in {"float64", "float16"}:
        return f"PyTorch ({config.training.precision})"
    if (level := kernels.level()) is None:
        return f"PyTorch ({kernels.why_none()})"
    layers = map(model.layers.named, range(model.num_layers))
    if not all(fits_kernels(model.cell, layer, zoneout=model.zoneout > 0) for layer in layers):
        return f"PyTorch (the kernels do not support the cell {model.cell.name})"
    return f"kernels ({level})"
