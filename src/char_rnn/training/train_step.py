"""One optimizer step: the gradient of a batch, what is allowed of it, and the update.

Shapes: B streams (batch), T characters (time), L layers, H hidden.


The numbers a step computes in: the parameters' own type, or half precision where it is safe.

In bfloat16 and float16 the parameters, the optimizer and the recurrent state stay in float32; autocast multiplies
matrices in the shorter type. float16 has little range, so the loss is scaled up before the backward pass, and steps
whose gradients overflow are left out (Micikevicius et al. 2018, arXiv 1710.03740).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from char_rnn.models import CharModel, Hidden, detach_state
from char_rnn.ops.output_loss import can_run
from char_rnn.training.averaging import Averaging
from char_rnn.training.checkpoints import TrainingState, optimizer_tensors, pack, restore_optimizer
from char_rnn.training.loss import LossGuard, Objective
from char_rnn.training.optimizers import (
    build_optimizer,
    clip_norm,
    clip_value,
    gradient_norm,
    kept_for_each_parameter,
    set_learning_rate,
)
from char_rnn.training.process_group import ProcessGroup
from char_rnn.utils.config import TrainingConfig
from char_rnn.utils.device import is_out_of_memory

Predict = Callable[..., tuple[Any, ...]]


class TrainStep:
    """Makes the steps of a run.

    Args:
        model: on the device to train on.
        training: the ``training`` section of the run's configuration.
        device: where the model is.
        batch_size: B over all processes; where this is the only one, as many as it is given, when not given.
        group: the processes that share a batch; this one alone when not given.

    Attributes:
        optimizer: over all parameters.
        precision: the numbers it computes in.
        guard: refuses a loss or gradient that would ruin the model.
        objective: what the gradient is of.
        averaging: the mean of the parameters, where it is asked for.
        micro_batch: sequences computed at once; None for all.
        ran_out_of_memory: whether these are fewer than was asked for.
        gradient_norm: of the last step in which it was measured, before clipping.
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
        self._predict: Predict = model.outputs if fused else model.with_activations
        if training.compile:
            _compile(model)

    @property
    def trained(self) -> CharModel:
        """The model to evaluate and keep: the mean of the parameters once there is one, else the model itself."""
        return self.averaging.model

    def step(
        self, x: torch.Tensor, y: torch.Tensor, hidden: Hidden | None, rate: float, *, measure: bool = False
    ) -> tuple[float, Hidden]:
        """Learn from one batch.

        Args:
            x: input ids (B, T), this process's part of the batch.
            y: target ids (B, T), ``x`` one character later.
            hidden: the state before the first character; None for zeros.
            rate: the learning rate.
            measure: take the gradient's norm even if nothing is clipped.

        Returns:
            The mean loss of the whole batch in nats per character, before the update, and the state after the last
            character.

        Raises:
            TrainingDiverged: the loss or the gradient has gone astray; no update was made.
        """
        loss, hidden = self.gradient(x, y, hidden)
        self.guard.check(loss)
        self.clip(x.shape[1], measure=measure)
        self.update(rate)
        return loss, hidden

    def gradient(self, x: torch.Tensor, y: torch.Tensor, hidden: Hidden | None) -> tuple[float, Hidden]:
        """Give the parameters the gradient of the whole batch's objective; return its mean loss; see :meth:`step`.

        When memory runs out the batch is computed in smaller parts from here on, to the same gradient but for rounding.
        """
        while True:
            try:
                loss, after = self._accumulate(x, y, hidden)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error) or min(self.micro_batch or len(x), len(x)) == 1:
                    raise
            else:
                return self.group.reduce_gradients(self.parameters, loss), after
            self.micro_batch = min(self.micro_batch or len(x), len(x)) // 2  # here the failed pass's memory is free
            self.ran_out_of_memory = True
            if self.device.type == "cuda":
                torch.cuda.empty_cache()

    def clip(self, seq_length: int, *, measure: bool = False) -> None:
        """Limit the gradient as configured, and keep the norm it had.

        Raises:
            TrainingDiverged: the norm is not finite (in float16 the step is left out instead, at first).
        """
        self.precision.unscale(self.optimizer)
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
        """Let the optimizer make its step at a learning rate."""
        set_learning_rate(self.optimizer, rate)
        self.precision.step(self.optimizer)

    def state_dict(self) -> TrainingState:
        """Return the tensors of optimizer and averaging, and the counters of guard, precision and memory."""
        optimizer, average = optimizer_tensors(self.model, self.optimizer), self.averaging.tensors()
        counters = {
            "first_loss": self.guard.first,
            "guard": self.guard.state_dict(),
            "micro_batch": self.micro_batch if self.ran_out_of_memory else None,
            "scaler": self.precision.state_dict(),
            "averaging": self.averaging.state_dict(),
        }
        return TrainingState({**pack("optimizer", optimizer), **pack("average", average)}, counters)

    def load_state_dict(self, state: TrainingState) -> None:
        """Restore what ``state_dict`` returned, from the state of a whole run."""
        counters, optimizer = state.counters, state.part("optimizer")
        stepped = optimizer or (state.step > 0 and self.precision.scaler is None)  # float16 skips steps
        keys = kept_for_each_parameter(self.training) if stepped else ()
        restore_optimizer(self.model, self.optimizer, optimizer, keys)
        self.precision.load_state_dict(counters.get("scaler", {}))
        self.averaging.load_state_dict(state.part("average"), counters.get("averaging", {}))
        self.guard.load_state_dict(counters["first_loss"], counters.get("guard", {}))
        smaller = counters.get("micro_batch")
        if smaller is not None:  # memory ran out before; a smaller size may have been asked for since
            self.micro_batch = min(int(smaller), self.micro_batch or int(smaller))
            self.ran_out_of_memory = True

    def _accumulate(self, x: torch.Tensor, y: torch.Tensor, hidden: Hidden | None) -> tuple[float, Hidden]:
        """Compute this process's part of the gradient, so many rows at once, and of the mean loss."""
        for parameter in self.parameters:  # what optimizer.zero_grad() does, without its profiler range
            parameter.grad = None
        losses, states, all_rows = [], [], self.batch_size or len(x)
        for ids, following, before in _parts(x, y, hidden, self.micro_batch or len(x)):
            with self.precision.context():
                predicted, after, activations = self._predict(ids.to(self.device, non_blocking=True), before)
                target = following.to(self.device, non_blocking=True)
                objective, loss = self.objective(predicted, target, activations)
            loss = loss.detach()
            if len(target) != all_rows:
                share = len(target) / all_rows
                objective, loss = objective * share, loss * share
            self.precision.backward(objective)
            losses.append(loss)
            states.append(detach_state(after))
            del objective, predicted, after, activations  # or they hold this part's graph while the next one is made
        return sum(map(float, losses)), _joined(states)


def _compile(model: CharModel) -> None:
    """Compile, in place, what stands between the recurrent layers.

    Unrolled over time, these take minutes to compile, and are slower then. And a break in a loop, as that over the
    layers, is where the compiler gives a whole function up: so it is given the pieces, not the model.
    """
    sublayers = [part for block in model.blocks for part in block.children()]
    for part in (model.embedding, *sublayers, model.output_norm, model.output_proj):
        part.compile()


def _parts(
    x: torch.Tensor, y: torch.Tensor, hidden: Hidden | None, size: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor, Hidden | None]]:
    """Cut a batch and the state before it into parts of ``size`` rows; the last may have fewer."""
    if size >= len(x):
        yield x, y, hidden
        return
    for start in range(0, len(x), size):
        rows = slice(start, start + size)
        yield x[rows], y[rows], _rows(hidden, rows)


def _rows(hidden: Hidden | None, rows: slice) -> Hidden | None:
    """Return some rows of a state (L, B, H)."""
    if hidden is None:
        return None
    return tuple(part[:, rows] for part in hidden) if isinstance(hidden, tuple) else hidden[:, rows]


def _joined(states: Sequence[Any]) -> Hidden:
    """Put states of some rows each together again."""
    if len(states) > 1 and isinstance(states[0], tuple):
        return tuple(torch.cat(parts, 1) for parts in zip(*states, strict=True))
    joined: Hidden = torch.cat(list(states), 1) if len(states) > 1 else states[0]
    return joined


SMALLEST_SCALE = 2.0**-10
HALVES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


class Precision:
    """How a step computes.

    Args:
        name: ``training.precision``.
        device: where it computes.

    Raises:
        ValueError: float16 on MPS.

    Attributes:
        scaler: what scales the loss of float16; None elsewhere.
    """

    def __init__(self, name: str, device: torch.device) -> None:
        self._device, self._half = device.type, HALVES.get(name)
        if name == "float16" and device.type == "mps":  # optimizers there do not leave out steps that overflow
            raise ValueError("training.precision float16 does not work on MPS; set it to bfloat16 or float32")
        self.scaler = torch.amp.GradScaler(device.type) if self._half is torch.float16 else None

    def context(self) -> AbstractContextManager[Any]:
        """Return the context that a forward pass runs in."""
        return torch.autocast(self._device, self._half) if self._half is not None else nullcontext()

    def backward(self, loss: torch.Tensor) -> None:
        """Run the backward pass of a loss."""
        scaled = loss if self.scaler is None else self.scaler.scale(loss)
        scaled.backward()  # type: ignore[no-untyped-call]

    def unscale(self, optimizer: torch.optim.Optimizer) -> None:
        """Bring the gradients back to their own size; called once a step, when they are complete."""
        if self.scaler is not None:
            self.scaler.unscale_(optimizer)

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """Let the optimizer make its step, unless the gradients of float16 have overflowed."""
        if self.scaler is None:
            optimizer.step()
            return
        self.scaler.step(optimizer)
        self.scaler.update()

    @property
    def may_overflow(self) -> bool:
        """Whether a gradient that is not finite may be due to the scale; not when that has come down to nothing."""
        return self.scaler is not None and self.scaler.get_scale() >= SMALLEST_SCALE

    def state_dict(self) -> dict[str, float]:
        """Return the scaler's state, as JSON can hold it; empty without one."""
        kept = self.scaler.state_dict() if self.scaler is not None else {}
        return {"scale": float(kept["scale"]), "growth": int(kept["_growth_tracker"])} if kept else {}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Take up what ``state_dict`` returned."""
        if self.scaler is not None and state:
            kept = self.scaler.state_dict()
            self.scaler.load_state_dict({**kept, "scale": state["scale"], "_growth_tracker": int(state["growth"])})
