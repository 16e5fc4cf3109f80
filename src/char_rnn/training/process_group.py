"""The process group: processes started by ``torchrun`` that train one model together.

Every process (rank) holds the whole model and part of each batch's streams. The gradients of the parts are summed in
one flat buffer once a rank has all of its own: back-propagation through time completes the recurrent gradients only at
its very end, so there is little to overlap, and a rank may compute its part in as many pieces as its memory needs.
Everything that a run decides by (losses, norms, clocks, requests to stop) is the same number on all ranks.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from char_rnn.utils.terminal import first_line

R = TypeVar("R")

TIMEOUT = timedelta(hours=12)  # the first process may be preparing a large text meanwhile


class RankLostError(RuntimeError):
    """Another process of the run has ended, so this one cannot continue; the message says how to."""


class ProcessGroup:
    """The group as one of its processes sees it; by default a single process.

    Args:
        rank: number of this process, from 0; rank 0 writes the files.
        size: number of processes.
        device: device that tensors are sent from; None for the CPU.
    """

    def __init__(self, rank: int = 0, size: int = 1, device: torch.device | None = None) -> None:
        self.rank, self.size, self._device = rank, size, device or torch.device("cpu")
        self._flat = torch.empty(0)

    @staticmethod
    def launched() -> bool:
        """Whether torchrun started this process as one of several."""
        return os.environ.get("WORLD_SIZE", "1") != "1"

    @staticmethod
    def take_gpu() -> None:
        """Select the GPU of this process, before anything asks for ``cuda``; nothing without GPUs.

        Raises:
            ValueError: there are fewer GPUs than processes on this machine.
        """
        number, found = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
        if found and number >= found:
            raise ValueError(f"process {number} of this machine has no GPU ({found} found); start fewer processes")
        if found:
            torch.cuda.set_device(number)

    @classmethod
    @contextmanager
    def join(cls, device: torch.device) -> Iterator[ProcessGroup]:
        """Join the other processes, if torchrun started any: over NCCL on CUDA, over gloo elsewhere.

        Raises:
            RankLostError: they cannot be reached.
        """
        if not cls.launched():
            yield cls()
            return
        try:
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=TIMEOUT)
        except (RuntimeError, ValueError) as error:
            raise RankLostError(f"the other processes cannot be reached ({_first_line(error)})") from None
        try:
            yield cls(dist.get_rank(), dist.get_world_size(), device if device.type == "cuda" else None)
        except RankLostError:
            raise  # without an orderly shutdown: the others may not be there to take part
        except BaseException:
            dist.destroy_process_group()
            raise
        dist.destroy_process_group()

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that writes."""
        return self.rank == 0

    @property
    def alone(self) -> bool:
        """Whether there is no other process."""
        return self.size == 1

    def rows(self, total: int) -> slice:
        """Return which of ``total`` rows belong to this process: contiguous, as even as possible."""
        return slice(total * self.rank // self.size, total * (self.rank + 1) // self.size)

    def seed_apart(self, seed: int) -> None:
        """Seed every rank but the first differently, for dropout masks of its own."""
        if self.rank:
            torch.manual_seed((seed * self.size + self.rank) % (1 << 63))

    def broadcast_parameters(self, model: torch.nn.Module) -> None:
        """Copy the parameters of the first rank's model to all ranks."""
        if not self.alone:
            for parameter in model.parameters():
                self._call(dist.broadcast, parameter.data, 0)

    def reduce_gradients(self, parameters: Sequence[torch.Tensor], loss: float) -> float:
        """Replace the gradients by their sums over all ranks; return the sum of the losses."""
        if self.alone:
            return loss
        gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters]
        pieces = [*(gradient.flatten() for gradient in gradients), gradients[0].new_tensor([loss])]
        self._flat = self._flat.to(pieces[-1])  # kept: allocating it again costs more than filling it
        torch.cat(pieces, out=self._flat.resize_(sum(piece.numel() for piece in pieces)))
        self._call(dist.all_reduce, self._flat)
        start = 0
        for parameter in parameters:
            parameter.grad = self._flat[start : start + parameter.numel()].view_as(parameter)
            start += parameter.numel()
        return float(self._flat[-1])

    def sum(self, value: float) -> float:
        """Return the sum of all ranks' values, in float64."""
        return value if self.alone else self._reduced(value, dist.ReduceOp.SUM)

    def any(self, flag: bool) -> bool:
        """Return whether the flag is set on any rank."""
        return flag if self.alone else self._reduced(float(flag), dist.ReduceOp.MAX) > 0

    def min(self, value: float) -> float:
        """Return the smallest of all ranks' values."""
        return value if self.alone else self._reduced(value, dist.ReduceOp.MIN)

    def broadcast(self, value: float) -> float:
        """Return the value of rank 0."""
        return self.sum(value if self.is_first else 0.0)

    def gather(self, tensor: torch.Tensor) -> list[torch.Tensor]:
        """Return every rank's tensor, of any shape, on this one's device."""
        if self.alone:
            return [tensor]
        gathered: list[Any] = [None] * self.size
        self._call(dist.all_gather_object, gathered, tensor.cpu())
        return [each.to(tensor.device) for each in gathered]

    def in_turn(self, prepare: Callable[[], R]) -> R:
        """Run a function on rank 0 first, then on the others, which find what it left on the disk."""
        if not self.is_first:
            self.any(False)  # waits
            return prepare()
        result = prepare()
        self.any(False)
        return result

    def _reduced(self, value: float, operation: Any) -> float:
        tensor = torch.tensor(value, dtype=torch.float64, device=self._device)
        self._call(dist.all_reduce, tensor, operation)
        return float(tensor)

    def _call(self, collective: Callable[..., object], *arguments: Any) -> None:
        try:
            collective(*arguments)
        except RuntimeError as error:
            raise RankLostError(
                f"another process of this run has ended or cannot be reached ({_first_line(error)})"
            ) from None


def _first_line(error: Exception) -> str:
    """Return the message of gloo or NCCL without its source location and its advice."""
    line = re.sub(r"^\[[^]]*\]\s*", "", first_line(error))
    return line.partition(". ")[0]
