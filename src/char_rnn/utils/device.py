"""Finds and tests the device to compute on, describes it, and falls back to the CPU when it fails."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from itertools import pairwise
from typing import TypeVar

import psutil
import torch

from char_rnn.utils.resources import available_cores
from char_rnn.utils.terminal import counted, first_line

R = TypeVar("R")

ORDER = ("mps", "cuda", "cpu")
_DEVICE_WORDS = ("cuda", "cudnn", "cublas", "hip", "mps", "metal", "accelerator")
_MEMORY_WORDS = ("out of memory", "can't allocate memory", "not enough memory", "STATUS_ALLOC_FAILED")

_logger = logging.getLogger("char_rnn")


class DeviceManager:
    """The device of a program: the preferred one if it works, else the best that works.

    Args:
        preferred: Device to try first, ``"mps"``, ``"cuda"`` (or ``"cuda:1"``) or ``"cpu"``; ``None`` = no preference.
        auto_detect: Try MPS, CUDA and the CPU after the preferred device, in this order; if false, only that one.
        fallback: Continue with a logged warning when a device is missing or fails; if false, raise an error.

    Attributes:
        device: Device in use; `run` may change it to the CPU.

    Raises:
        ValueError: ``preferred`` is not a device name, or the device is missing or fails and ``fallback`` is false.
    """

    def __init__(self, preferred: str | None = None, auto_detect: bool = True, fallback: bool = True) -> None:
        self.fallback = fallback
        self.device = self._choose(_parsed(preferred), auto_detect)
        _logger.info("using %s", self.describe())

    @staticmethod
    def available() -> list[str]:
        """Return the device types of this machine and PyTorch, the best first; the CPU is always one."""
        present = {"mps": torch.backends.mps.is_available(), "cuda": torch.cuda.is_available(), "cpu": True}
        return [kind for kind in ORDER if present[kind]]

    def describe(self) -> str:
        """Return the device in words, such as ``"CUDA: NVIDIA H200"`` or ``"CPU, 2 threads"``."""
        return describe(self.device)

    def get_optimal_batch_size(self, model_size: int, seq_length: int) -> int:
        """Return an initial batch size; see `optimal_batch_size`."""
        return optimal_batch_size(self.device.type, model_size, seq_length)

    def memory(self) -> dict[str, int]:
        """Return the memory in use in bytes; see `memory_in_use`."""
        return memory_in_use(self.device)

    @staticmethod
    def set_threads(threads: int | None) -> None:
        """Set PyTorch's number of CPU threads; ``None`` is its own choice, limited to `available_cores`."""
        if threads is None:
            threads = available_cores()
            if torch.get_num_threads() <= threads:
                return
        if threads < 1:
            raise ValueError(f"threads: must be 1 or more; given {threads}")
        torch.set_num_threads(threads)

    def run(self, function: Callable[[torch.device], R]) -> R:
        """Return ``function(device)``; if the device fails, call it again with the CPU, which is then kept.

        A failure is a missing operation or an error of the device; not a lack of memory, which smaller batches fix, nor
        an error of the function. The function must be safe to repeat.
        """
        try:
            return function(self.device)
        except (NotImplementedError, RuntimeError) as error:
            if not self.falls_back_after(error):
                raise
        return function(self.device)

    def falls_back_after(self, error: Exception) -> bool:
        """Change to the CPU, with a logged warning, if ``error`` is a failure of the device and a fallback is allowed.

        Returns:
            Whether it changed; if not, the caller must raise ``error``.
        """
        of_device = any(word in str(error).lower() for word in _DEVICE_WORDS) and not is_out_of_memory(error)
        if self.device.type == "cpu" or not self.fallback or not of_device:
            return False
        _logger.warning("%s failed (%s); continuing on the CPU", self.device, first_line(error))
        self.device = torch.device("cpu")
        return True

    def _choose(self, preferred: torch.device | None, auto_detect: bool) -> torch.device:
        if preferred is None and not auto_detect:
            raise ValueError(f"device: auto_detect is off, so preferred must be one of {', '.join(ORDER)}")
        available = self.available()
        kinds = [kind for kind in available if auto_detect and (preferred is None or kind != preferred.type)]
        candidates = [torch.device(kind) for kind in kinds]
        if preferred is not None and preferred.type in available:
            candidates.insert(0, preferred)
        elif preferred is not None and not auto_detect:
            self._give_up(preferred, f"is not available (this machine has {', '.join(available)})", "cpu")
        for candidate, following in pairwise([*candidates, torch.device("cpu")]):
            if candidate.type == "cpu" or (failure := _probe(candidate)) is None:
                return candidate
            self._give_up(candidate, f"does not work here ({failure})", following)
        return torch.device("cpu")

    def _give_up(self, device: torch.device, reason: str, following: torch.device | str) -> None:
        if not self.fallback:
            raise ValueError(f"device {device}: {reason}; choose another, or allow the fallback to the CPU")
        _logger.warning("device %s %s; falling back to %s", device, reason, following)


def describe(device: torch.device) -> str:
    """Return a device in words, such as ``"CUDA: NVIDIA H200"`` or ``"CPU, 2 threads"``."""
    if device.type == "cuda":
        return f"CUDA: {torch.cuda.get_device_name(device)}"
    if device.type == "mps":
        return "MPS: Apple Silicon"
    return f"CPU, {counted(torch.get_num_threads(), 'thread')}"


def optimal_batch_size(kind: str, model_size: int, seq_length: int) -> int:
    """Return an initial batch size for a model of ``model_size`` parameters, the largest on CUDA."""
    if seq_length < 1:
        raise ValueError(f"seq_length: must be 1 or more; given {seq_length}")
    limits = {"cuda": (128, 4096), "cpu": (32, 512)}
    mps = (64, 2048) if model_size < 1_000_000 else (32, 1024) if model_size < 5_000_000 else (16, 512)
    sequences, characters = limits.get(kind, mps)
    return max(1, min(sequences, characters // seq_length))


@cache
def _process(number: int) -> psutil.Process:
    """Return psutil's object for a process; creating it costs more than a query."""
    return psutil.Process(number)


def memory_in_use(device: torch.device) -> dict[str, int]:
    """Return the memory in use in bytes.

    Returns:
        ``rss`` of the process; on CUDA and MPS also ``allocated`` by tensors and ``reserved`` from the device.
    """
    report = {"rss": int(_process(os.getpid()).memory_info().rss)}
    if device.type == "cuda":
        report["allocated"] = torch.cuda.memory_allocated(device)
        report["reserved"] = torch.cuda.memory_reserved(device)
    elif device.type == "mps":
        report["allocated"] = torch.mps.current_allocated_memory()
        report["reserved"] = torch.mps.driver_allocated_memory()
    return report


def forked_rng(device: torch.device) -> AbstractContextManager[None]:
    """Restore the states of PyTorch's generators, those of the CPU and the device, after the block."""
    if device.type == "cpu" or device.type not in DeviceManager.available():
        return torch.random.fork_rng(devices=[])
    index = torch.cuda.current_device() if device.type == "cuda" and device.index is None else device.index or 0
    return torch.random.fork_rng(devices=[index], device_type=device.type)


def synchronize(device: torch.device) -> None:
    """Wait until the device has finished."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


@contextmanager
def on_threads(count: int) -> Iterator[None]:
    """Use ``count`` CPU threads in the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether the memory of the device or the machine is exhausted; PyTorch has several messages for it."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _MEMORY_WORDS)


def halving(compute: Callable[[int], R], size: int) -> tuple[R, int]:
    """Return ``compute(size)`` and the size, which is halved while memory runs out; an error if 1 is too much."""
    while True:
        try:
            return compute(size), size
        except (RuntimeError, MemoryError) as error:
            if size == 1 or not is_out_of_memory(error):
                raise
        # After the handler: the failed computation, which the exception's traceback kept alive, is freed here.
        size //= 2
        torch.cuda.empty_cache()


def _parsed(name: str | None) -> torch.device | None:
    if name is None:
        return None
    kind, colon, index = name.partition(":")
    if kind not in ORDER or (colon and (kind != "cuda" or not index.isdecimal())):
        raise ValueError(f"device: must be one of {', '.join(ORDER)}; given {name!r}")
    return torch.device(name)


def _probe(device: torch.device) -> str | None:
    """Run a product and an LSTM on the device; return ``None`` if the results are those of the CPU, else the error."""
    with torch.random.fork_rng(devices=[]), torch.inference_mode():
        lstm = torch.nn.LSTM(4, 4, batch_first=True)
        x = torch.linspace(-1, 1, 24).view(2, 3, 4)
        expected = lstm(x)[0] @ torch.eye(4)
        try:
            result = (lstm.to(device)(x.to(device))[0] @ torch.eye(4, device=device)).cpu()
        except Exception as error:  # drivers raise errors of many types
            return first_line(error)
    return None if torch.allclose(result, expected, atol=1e-2) else "a small LSTM gave wrong numbers"
