"""The processes that train one model together, started by ``torchrun``: what each has of a batch, and what they share.

Every process (rank) holds the whole model and a part of each batch's streams. The gradients of the parts are added up
in one flat buffer once a rank has all of its own: back-propagation through time completes the recurrent gradients only
at its very end, so there is little to overlap, and a rank may compute its part in as many pieces as its memory wants.
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

R = TypeVar("R")

LONGEST_WAIT = timedelta(hours=12)  # the first process may be preparing a large text meanwhile


class RankLostError(RuntimeError):
    """Another process of the run has ended, so this one cannot go on; the message says how to."""


class ProcessGroup:
    """One process's view of them all; by itself, a run of a single process.

    Args:
        rank: this process's number, from 0; rank 0 writes what the run leaves.
        size: how many there are.
        device: where tensors have to be to be sent; None for the CPU.
    """

    def __init__(self, rank: int = 0, size: int = 1, device: torch.device | None = None) -> None:
        self.rank, self.size, self._device = rank, size, device or torch.device("cpu")
        self._flat = torch.empty(0)

    @staticmethod
    def launched() -> bool:
        """Tell whether torchrun started this process as one of several."""
        return os.environ.get("WORLD_SIZE", "1") != "1"

    @staticmethod
    def take_gpu() -> None:
        """Take the GPU of this process's number, before anything asks for ``cuda``; nothing without GPUs.

        Raises:
            ValueError: there are fewer GPUs than processes on this machine.
        """
        number, there = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
        if there and number >= there:
            raise ValueError(f"process {number} of this machine has no GPU ({there} are there); start fewer processes")
        if there:
            torch.cuda.set_device(number)

    @classmethod
    @contextmanager
    def join(cls, device: torch.device) -> Iterator[ProcessGroup]:
        """Meet the other processes, if torchrun started any: over NCCL on CUDA, over gloo elsewhere.

        Raises:
            RankLostError: they cannot be reached.
        """
        if not cls.launched():
            yield cls()
            return
        try:
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=LONGEST_WAIT)
        except (RuntimeError, ValueError) as error:
            raise RankLostError(f"the other processes cannot be reached ({_first_line(error)})") from None
        try:
            yield cls(dist.get_rank(), dist.get_world_size(), device if device.type == "cuda" else None)
        except RankLostError:
            raise  # without leaving in good order: the others may not be there to be told
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

    def rows(self, total: int, rank: int | None = None) -> slice:
        """Return which of ``total`` rows belong to a rank (this one): contiguous, as even as can be."""
        rank = self.rank if rank is None else rank
        return slice(total * rank // self.size, total * (rank + 1) // self.size)

    def seed_apart(self, seed: int) -> None:
        """Let every rank but the first draw dropout masks of its own."""
        if self.rank:
            torch.manual_seed((seed * self.size + self.rank) % (1 << 63))

    def broadcast_parameters(self, model: torch.nn.Module) -> None:
        """Give every rank the parameters that the model has on the first."""
        if not self.alone:
            for parameter in model.parameters():
                self._call(dist.broadcast, parameter.data, 0)

    def reduce_gradients(self, parameters: Sequence[torch.Tensor], loss: float) -> float:
        """Give every rank the sum of all ranks' gradients, and return the sum of their losses."""
        if self.alone:
            return loss
        gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters]
        pieces = [*(gradient.flatten() for gradient in gradients), gradients[0].new_tensor([loss])]
        self._flat = self._flat.to(pieces[-1])  # kept: making room for it anew costs more than filling it
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
        """Tell whether any rank says so."""
        return flag if self.alone else self._reduced(float(flag), dist.ReduceOp.MAX) > 0

    def min(self, value: float) -> float:
        """Return the smallest of all ranks' values."""
        return value if self.alone else self._reduced(value, dist.ReduceOp.MIN)

    def broadcast(self, value: float) -> float:
        """Return what rank 0 gives."""
        if self.alone:
            return value
        tensor = torch.tensor(value, dtype=torch.float64, device=self._device)
        self._call(dist.broadcast, tensor, 0)
        return float(tensor)

    def gather(self, tensor: torch.Tensor, total: int | None = None, dim: int = 0) -> list[torch.Tensor]:
        """Return every rank's tensor, on the device that this one's is on.

        Args:
            tensor: this rank's.
            total: the length of ``dim`` over all ranks, cut as ``rows`` has it; None for tensors of one shape.
            dim: the dimension that may differ from rank to rank.
        """
        if self.alone:
            return [tensor]
        gathered = []
        for rank in range(self.size):
            shape = list(tensor.shape)
            if total is not None:
                rows = self.rows(total, rank)
                shape[dim] = rows.stop - rows.start
            part = tensor if rank == self.rank else tensor.new_empty(shape)
            sent = part.to(self._device).contiguous()
            self._call(dist.broadcast, sent, rank)
            gathered.append(sent.to(tensor.device))
        return gathered

    def in_turn(self, prepare: Callable[[], R]) -> R:
        """Let rank 0 do something first, and the others after it: what it left on the disk then serves them."""
        if self.is_first:
            result = prepare()
            self.wait()
            return result
        self.wait()
        return prepare()

    def wait(self) -> None:
        """Wait until every rank has come here."""
        self.any(False)

    def _reduced(self, value: float, operation: Any) -> float:
        tensor = torch.tensor(value, dtype=torch.float64, device=self._device)
        self._call(dist.all_reduce, tensor, operation)
        return float(tensor)

    def _call(self, collective: Callable[..., object], *arguments: Any) -> None:
        """Run a collective operation; it fails when another process has gone."""
        try:
            collective(*arguments)
        except RuntimeError as error:
            raise RankLostError(
                f"another process of this run has ended or cannot be reached ({_first_line(error)})"
            ) from None


def _first_line(error: Exception) -> str:
    """Return what gloo or NCCL says, without the place in its sources and its advice."""
    line = re.sub(r"^\[[^]]*\]\s*", "", str(error).strip().partition("\n")[0])
    return line.partition(". ")[0]
