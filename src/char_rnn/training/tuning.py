"""Chooses the device, the batch size, the CPU threads and the precision of a run before it starts.

The batch size is as large as the memory allows. Threads and precision are chosen by timing steps of the run itself:
two threads are up to twice as fast as one on an idle machine and several times slower on a busy one, and whether
bfloat16 is faster than float32 depends on the processor and the size of the model. Only a measurement can tell.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from statistics import median

import psutil
import torch

from char_rnn import kernels
from char_rnn.data.dataloader import Batches
from char_rnn.kernels import multiplies_bfloat16
from char_rnn.model_file import ModelFile, ModelHeader
from char_rnn.models import CharModel
from char_rnn.ops.layers import fits_kernels
from char_rnn.training.loss import TrainingDiverged
from char_rnn.training.process_group import ProcessGroup
from char_rnn.training.train_step import TrainStep
from char_rnn.training.trainer import CharRNNTrainer
from char_rnn.utils.config import Config, TrainingConfig
from char_rnn.utils.device import DeviceManager, forked_rng, is_out_of_memory, optimal_batch_size
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

MEMORY_SHARE = 0.5  # of the free memory: the rest is for the evaluation, the text's pages, and other programs
PEAK = 2  # bytes at the peak of a step over those kept for backward: 0.4 to 1.5 (benchmarks/training.py)


def tuned(
    config: Config,
    make_trainer: Callable[..., CharRNNTrainer],
    model: CharModel,
    loaders: Mapping[str, Batches],
    device: torch.device,
    group: ProcessGroup,
    clock: Callable[[], float] = time.perf_counter,
) -> Config:
    """Set the number of CPU threads; return the configuration with the choices, the same in every process.

    If ``device.threads`` is null or ``training.precision`` is ``auto``, a few steps on copies of the model with the
    run's first batch are timed, unless there is only one choice. Model, generators and position in the data do not
    change. `make_trainer` is called as ``CharRNNTrainer``; the first rank of the group chooses.
    """
    if device.type != "cpu":
        DeviceManager.set_threads(config.device.threads)
        return config.changed(training={"precision": _precisions(config, device)[-1]})
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
    return config.changed(device={"threads": threads}, training={"precision": "bfloat16" if half else names[0]})


def tuned_before(config: Config, last: ModelHeader) -> Config:
    """Set the number of CPU threads of a resumed run as it was; return the configuration with it.

    Configurations of version 1.0 lack it: it is in the metadata of the run's last model.
    """
    threads = config.device.threads if config.device.threads is not None else recorded_threads(last)
    DeviceManager.set_threads(threads)
    precision = config.training.precision
    precision = last.config.training.precision if precision == "auto" else precision
    return config.changed(device={"threads": threads}, training={"precision": precision})


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

    The order is fewer threads before more, float32 before bfloat16.
    """
    chosen, *others = seconds
    for way in others:
        gain = LOWER_PRECISION if way[1] != chosen[1] else FEWER_THREADS
        chosen = way if seconds[chosen] >= gain * seconds[way] else chosen
    return chosen


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
            plainly = {"compile": False, "explosion_factor": 0.0, "teacher": None}
            settings = config.changed(training={"precision": name, **plainly})
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
    """Return which code trains the recurrent layers, such as ``kernels (avx512)`` or ``PyTorch (float64)``."""
    if config.training.trainer == "torch7":
        return "PyTorch (as in 2015)"
    if device.type != "cpu":
        return "PyTorch"
    if config.training.precision in {"float64", "float16"}:
        return f"PyTorch ({config.training.precision})"
    if (level := kernels.level()) is None:
        return f"PyTorch ({kernels.why_none()})"
    layers = map(model.layers.named, range(model.num_layers))
    if not all(fits_kernels(model.cell, layer, zoneout=model.config.zoneout > 0) for layer in layers):
        return f"PyTorch (the kernels do not support the cell {model.cell.name})"
    return f"kernels ({level})"


def working_device(device: DeviceManager | torch.device | str, model: CharModel, group: ProcessGroup) -> torch.device:
    """Return the device to train on.

    A manager first tries a step of the model on it, and may fall back to the CPU; one of several processes may not.
    """
    if not isinstance(device, DeviceManager):
        return torch.device(device)
    if not group.alone or device.device.type == "cpu":
        return device.device

    def step(device: torch.device) -> torch.device:
        with forked_rng(device):
            try:
                copy = deepcopy(model).to(device)
            except TypeError as error:  # MPS, for float64; the manager knows it as an operation that the device lacks
                raise NotImplementedError(f"{device}: {error}") from error
            log_probs, _ = copy(torch.zeros(1, 2, dtype=torch.int64, device=device))
            log_probs.sum().backward()
        return device

    return device.run(step)


def fit_batch(config: Config, model: CharModel, device: torch.device, group: ProcessGroup, characters: int) -> Config:
    """Return the configuration with ``auto`` replaced by numbers, the same on every rank.

    ``training.batch_size`` and ``training.micro_batch_size`` may be ``auto``. A batch has at most as many characters as
    the training split.
    """
    training = config.training
    micro_batch = training.micro_batch_size
    if training.batch_size == "auto":
        parameters = sum(parameter.numel() for parameter in model.parameters())
        best = group.size * optimal_batch_size(device.type, parameters, training.seq_length)
        batch_size = max(1, min(best, (characters - 1) // training.seq_length))
        micro_batch = "auto" if micro_batch is None else micro_batch
    else:
        batch_size = training.batch_size
    if micro_batch == "auto":
        rows = -(-batch_size // group.size)
        micro_batch = int(group.min(largest_micro_batch(model, training, device, rows, group.size)))
        micro_batch = None if micro_batch >= rows else micro_batch
    return config.changed(training={"batch_size": batch_size, "micro_batch_size": micro_batch})


def largest_micro_batch(
    model: CharModel, training: TrainingConfig, device: torch.device, rows: int, processes: int = 1
) -> int:
    """Return how many of ``rows`` sequences can be trained on at once, at least 1.

    On a GPU, steps of a copy are tried. On the CPU, where the system grants more memory than there is and kills the
    process later, the number is computed from the bytes that another sequence keeps for the backward pass.
    """
    if device.type == "cpu":
        free = MEMORY_SHARE * psutil.virtual_memory().available / processes
        return max(1, min(rows, int(free / (PEAK * bytes_of_a_sequence(model, training.seq_length)))))
    fits, too_many, tried = 0, rows + 1, rows
    while too_many - fits > 1:
        if _fits(model, training, device, tried):
            fits = tried
        else:
            too_many = tried
        tried = (fits + too_many) // 2
    return max(1, fits)


def bytes_of_a_sequence(model: CharModel, seq_length: int) -> float:
    """Return the bytes that each further sequence of a batch keeps for the backward pass, on average."""
    few, more = 2, 10
    return (bytes_kept(model, seq_length, more) - bytes_kept(model, seq_length, few)) / (more - few)


def bytes_kept(model: CharModel, seq_length: int, rows: int) -> int:
    """Return the bytes that a forward pass over (rows, seq_length) ids keeps for the backward pass."""
    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    ids = torch.zeros(rows, seq_length, dtype=torch.int64, device=next(model.parameters()).device)
    with torch.random.fork_rng(devices=[]), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        log_probs, _ = model(ids)
    del log_probs
    return sum(kept.values())


def _fits(model: CharModel, training: TrainingConfig, device: torch.device, rows: int) -> bool:
    """Whether two steps, the second with all buffers in place, run without using smaller parts."""
    whole = training.model_copy(update={"micro_batch_size": None, "grad_clip": 0.0, "explosion_factor": 0.0})
    ids = torch.zeros(rows, training.seq_length, dtype=torch.int64)
    try:
        with forked_rng(device):
            stepper = TrainStep(deepcopy(model).to(device), whole, device, rows)
            hidden = None
            for _ in range(2):
                _, hidden = stepper.step(ids, ids, hidden, 0.0)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return False
    return stepper.micro_batch is None
