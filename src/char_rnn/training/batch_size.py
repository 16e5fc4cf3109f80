"""Values of ``auto``: the device that works, and the number of sequences that fit into its memory."""

from __future__ import annotations

from copy import deepcopy

import psutil
import torch

from char_rnn.models import CharModel
from char_rnn.training.process_group import ProcessGroup
from char_rnn.training.train_step import TrainStep
from char_rnn.utils.config import Config, TrainingConfig
from char_rnn.utils.device import DeviceManager, forked_rng, is_out_of_memory, optimal_batch_size

SHARE = 0.5  # of the free memory: the rest is for the evaluation, the text's pages, and other programs
PEAK = 2  # bytes at the peak of a step over those kept for backward: 0.4 to 1.5 (benchmarks/training.py)


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

    Args:
        config: configuration; ``training.batch_size`` and ``training.micro_batch_size`` may be ``auto``.
        model: model to train, on the CPU or on ``device``.
        device: device to train on.
        group: processes that share a batch.
        characters: characters of the training split; a batch cannot have more.
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
    if (batch_size, micro_batch) == (training.batch_size, training.micro_batch_size):
        return config
    numbers = {"batch_size": batch_size, "micro_batch_size": micro_batch}
    return config.model_copy(update={"training": training.model_copy(update=numbers)})


def largest_micro_batch(
    model: CharModel, training: TrainingConfig, device: torch.device, rows: int, processes: int = 1
) -> int:
    """Return how many of ``rows`` sequences can be trained on at once, at least 1.

    On a GPU, steps of a copy are tried. On the CPU, where the system grants more memory than there is and kills the
    process later, the number is computed from the bytes that another sequence keeps for the backward pass.

    Args:
        model: model to train; it does not change.
        training: ``training`` section of the configuration.
        device: device to train on.
        rows: upper limit.
        processes: processes that share the machine's memory.
    """
    if device.type == "cpu":
        free = SHARE * psutil.virtual_memory().available / processes
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
