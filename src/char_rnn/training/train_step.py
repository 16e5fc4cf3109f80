"""One optimizer step: the gradient of a batch, clipping, and the update, in the configured precision.

Shapes: B streams (batch), T characters (time).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch

from char_rnn.data.dataloader import Batches, StreamBatches
from char_rnn.models.char_model import CharModel, Hidden, detach_state, map_state
from char_rnn.ops.output_loss import SoftTargets, can_run
from char_rnn.training.checkpoints import TrainingState, optimizer_tensors, pack, restore_optimizer
from char_rnn.training.loss import LossGuard, Objective
from char_rnn.training.optimizers import (
    Averaging,
    build_optimizer,
    clip_norm,
    clip_value,
    gradient_norm,
    stored_per_parameter,
)
from char_rnn.training.process_group import ProcessGroup
from char_rnn.utils.config import TrainingConfig
from char_rnn.utils.device import halving

SMALLEST_SCALE = 2.0**-10
HALVES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


def first_state(model: CharModel, batches: Batches, epoch: int) -> Hidden | None:
    """Return the state before an epoch's first step: zero, with the text before each stream for its matches."""
    window = model.match_window
    if not (window and isinstance(batches, StreamBatches)):
        return None
    history = batches.history(epoch, window)
    hidden = model.init_hidden(len(history))
    hidden[-1][0] = history
    return hidden


class TrainStep:
    """Computes the gradient of a batch and updates the parameters.

    The batch size is that over all processes; None for the rows of each batch.

    Attributes:
        micro_batch: Sequences computed at once; None for all.
        ran_out_of_memory: Whether `micro_batch` is smaller than configured.
        gradient_norm: Norm of the last gradient that was measured, before clipping.
    """

    def __init__(
        self,
        model: CharModel,
        training: TrainingConfig,
        device: torch.device,
        batch_size: int | None = None,
        group: ProcessGroup | None = None,
    ) -> None:
        self.model, self.training, self.device = model, training, device
        self.batch_size, self.group = batch_size, group or ProcessGroup()
        self.parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.optimizer = build_optimizer(model, training)
        self.precision = Precision(training.precision, device)
        self.guard = LossGuard(training.explosion_factor, math.log(model.vocab_size))
        fused = can_run(model.output_proj.weight) and not training.compile  # else the compiled projection would not run
        self.objective = Objective(training, model.output_proj if fused else None)
        self.averaging = Averaging(model, training, device)
        self.micro_batch = training.micro_batch_size if isinstance(training.micro_batch_size, int) else None
        self.ran_out_of_memory = False
        self.gradient_norm = math.nan
        self._predict: Callable[..., tuple[Any, ...]] = model.outputs if fused else model.with_activations
        if training.compile:
            _compile(model)

    def step(
        self,
        x: torch.Tensor,
        y: torch.Tensor,
        hidden: Hidden | None,
        rate: float,
        soft: SoftTargets | None = None,
        *,
        measure: bool = False,
    ) -> tuple[float, Hidden]:
        """Learn from one batch.

        Args:
            x: Input ids (B, T), this process's part of the batch.
            y: Target ids (B, T), ``x`` one character later.
            hidden: State before the first character; None for zeros.
            rate: Learning rate.
            soft: Predictions of teachers for the same characters.
            measure: Whether to measure the gradient's norm even if it is not clipped.

        Returns:
            The mean loss of the whole batch in nats per character, before the update, and the state after the last
            character.

        Raises:
            TrainingDiverged: The loss or the gradient is not finite or has exploded; no update was made.
        """
        loss, hidden = self.gradient(x, y, hidden, soft)
        self.guard.check(loss)
        self.clip(x.shape[1], measure=measure)
        self.update(rate)
        return loss, hidden

    def gradient(
        self, x: torch.Tensor, y: torch.Tensor, hidden: Hidden | None, soft: SoftTargets | None = None
    ) -> tuple[float, Hidden]:
        """Compute the gradient of the whole batch's objective and return its mean loss; see :meth:`step`.

        When memory runs out, this and later batches are computed in smaller parts. The gradient is the same, except for
        rounding.
        """
        rows = min(self.micro_batch or len(x), len(x))
        (loss, after), fitting = halving(partial(self._accumulate, x, y, hidden, soft), rows)
        if fitting < rows:
            self.micro_batch, self.ran_out_of_memory = fitting, True
        return self.group.reduce_gradients(self.parameters, loss), after

    def clip(self, seq_length: int, *, measure: bool = False) -> None:
        """Clip the gradient as configured and store its norm before clipping.

        Raises:
            TrainingDiverged: The norm is not finite. In float16 the step is first skipped and the scale reduced.
        """
        self.precision.scaler.unscale_(self.optimizer)
        limit = self.training.grad_clip
        if limit > 0 and self.training.clip == "norm":
            self.gradient_norm = clip_norm(self.parameters, limit)
        elif limit > 0:
            self.gradient_norm = clip_value(self.parameters, limit, seq_length)
        elif measure:
            self.gradient_norm = gradient_norm(self.parameters)
        else:
            return
        if not self.precision.may_overflow:
            self.guard.check_gradient(self.gradient_norm)

    def update(self, rate: float) -> None:
        """Update the parameters at a learning rate, unless the gradients of float16 have overflowed."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.precision.scaler.step(self.optimizer)
        self.precision.scaler.update()

    def state_dict(self) -> TrainingState:
        """Return the tensors of optimizer and averaging, and the counters of guard, precision and memory."""
        optimizer, average = optimizer_tensors(self.model, self.optimizer), self.averaging.tensors()
        counters = {
            "first_loss": self.guard.first,
            "guard": self.guard.state_dict(),
            "micro_batch": self.micro_batch if self.ran_out_of_memory else None,
            "scaler": self.precision.state_dict(),
        }
        return TrainingState({**pack("optimizer", optimizer), **pack("average", average)}, counters)

    def load_state_dict(self, state: TrainingState) -> None:
        """Restore what `state_dict` returned, from the state of a whole run."""
        counters, optimizer = state.counters, state.part("optimizer")
        skips = self.precision.scaler.is_enabled()  # float16 may have skipped all steps
        keys = stored_per_parameter(self.training) if optimizer or (state.step > 0 and not skips) else ()
        restore_optimizer(self.model, self.optimizer, optimizer, keys)
        self.precision.load_state_dict(counters["scaler"])
        self.averaging.load_tensors(state.part("average"))
        self.guard.load_state_dict(counters["first_loss"], counters["guard"])
        smaller = counters["micro_batch"]
        if smaller is not None:  # memory ran out before; a smaller size may have been configured since
            self.micro_batch = min(smaller, self.micro_batch or smaller)
            self.ran_out_of_memory = True

    def _accumulate(
        self, x: torch.Tensor, y: torch.Tensor, hidden: Hidden | None, soft: SoftTargets | None, size: int
    ) -> tuple[float, Hidden]:
        """Compute this process's part of the gradient and of the mean loss, `size` rows at once."""
        for parameter in self.parameters:  # as optimizer.zero_grad(), without its profiler range
            parameter.grad = None
        losses, states, all_rows = [], [], self.batch_size or len(x)
        for start in range(0, len(x), size):
            rows = slice(start, start + size)
            ids, following, before = x[rows], y[rows], _rows(hidden, rows)
            with self.precision.context():
                predicted, after, activations = self._predict(ids.to(self.device, non_blocking=True), before)
                target = following.to(self.device, non_blocking=True)
                objective, loss = self.objective(predicted, target, activations, soft and soft.part(rows, self.device))
            loss = loss.detach()
            if len(target) != all_rows:
                share = len(target) / all_rows
                objective, loss = objective * share, loss * share
            self.precision.scaler.scale(objective).backward()  # type: ignore[no-untyped-call]
            losses.append(loss)
            states.append(detach_state(after))
            del objective, predicted, after, activations  # they hold this part's graph while the next one is made
        after = states[0] if len(states) == 1 else map_state(lambda *parts: torch.cat(parts, 1), *states)
        return sum(map(float, losses)), after


class Precision:
    """Number types of a step: the parameters' own type, or half precision where it is safe.

    In bfloat16 and float16 the parameters, the optimizer and the recurrent state stay in float32; autocast multiplies
    matrices in the shorter type. float16 has a small range, so the loss is scaled up before the backward pass, and
    steps whose gradients overflow are skipped (Micikevicius et al. 2018, arXiv 1710.03740).

    Raises:
        ValueError: float16 on MPS.

    Attributes:
        scaler: Loss scale of float16; disabled for other types.
    """

    def __init__(self, name: str, device: torch.device) -> None:
        self._device, self._half = device.type, HALVES.get(name)
        if name == "float16" and device.type == "mps":  # optimizers there do not skip steps that overflow
            raise ValueError("training.precision float16 does not work on MPS; set it to bfloat16 or float32")
        self.scaler = torch.amp.GradScaler(device.type, enabled=name == "float16")

    def context(self) -> AbstractContextManager[Any]:
        """Return the context of a forward pass."""
        return torch.autocast(self._device, self._half) if self._half is not None else nullcontext()

    @property
    def may_overflow(self) -> bool:
        """Whether a gradient that is not finite may be due to the scale."""
        return self.scaler.is_enabled() and self.scaler.get_scale() >= SMALLEST_SCALE

    def state_dict(self) -> dict[str, float]:
        """Return the scaler's state as JSON values; empty if it is disabled."""
        state = self.scaler.state_dict()
        return {"scale": float(state["scale"]), "growth": int(state["_growth_tracker"])} if state else {}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Restore what `state_dict` returned."""
        new = {"scale": state["scale"], "_growth_tracker": state["growth"]}
        self.scaler.load_state_dict({**self.scaler.state_dict(), **new})


def _compile(model: CharModel) -> None:
    """Compile, in place, the modules between the recurrent layers.

    Unrolled over time, recurrent layers take minutes to compile and are slower afterwards. A graph break inside a loop,
    such as the one over the layers, makes the compiler skip the whole function. So it compiles the parts, not the
    model.
    """
    sublayers = [part for block in model.blocks for part in block.children()]
    for part in (model.embedding, *sublayers, model.output_norm, model.output_proj):
        part.compile()


def _rows(hidden: Hidden | None, rows: slice) -> Hidden | None:
    """Return some rows of a state (L, B, H)."""
    return None if hidden is None else map_state(lambda part: part[:, rows], hidden)
