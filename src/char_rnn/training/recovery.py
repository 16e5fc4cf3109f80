"""What brings a run back when a step fails: to its last good state, at half the rate or on another device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from char_rnn.data.windows import WindowBatches
from char_rnn.training.loss import TrainingDiverged, advice
from char_rnn.utils.device import DeviceManager

if TYPE_CHECKING:
    from char_rnn.training.trainer_state import TrainerState


State = tuple[dict[str, torch.Tensor], dict[str, Any]]


class Recovery:
    """Keeps the last two states of a run in the CPU's memory, and takes the run back to one that is good.

    That a state is good shows in the loss of the step after it: an update that ruins the model may be saved before
    anyone can tell. None is kept while the loss is above the guard's limit, and none of such steps is gone back to.

    Args:
        trainer: the run.
        manager: says whether a device that failed may be left for the CPU; without one it is not left.
    """

    def __init__(self, trainer: TrainerState, manager: DeviceManager | None) -> None:
        self._trainer, self._manager = trainer, manager
        self._states: list[State] = []

    @property
    def is_empty(self) -> bool:
        """Whether there is no state to go back to yet."""
        return not self._states

    def remember(self, tensors: dict[str, torch.Tensor], counters: dict[str, Any]) -> None:
        """Copy a state, as ``TrainerState.state`` returns it, unless the latest loss was above the guard's limit."""
        if self._states and self._trainer.stepper.guard.above:
            return
        copied = {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items()}
        older = [state for state in self._states if state[1]["step"] < counters["step"]]
        self._states = [*older[-1:], (copied, counters)]

    def from_divergence(self, event: TrainingDiverged) -> None:
        """Go back and halve the learning rate.

        Raises:
            TrainingDiverged: it has been halved as often as ``training.rollbacks`` allows, or there is no good state.
        """
        trainer = self._trainer
        training, plan, failed = trainer.config.training, trainer.plan, trainer.failing_step
        before = trainer.step + 1 - max(1, trainer.stepper.guard.above)
        good = [state for state in self._states if state[1]["step"] < before]
        halvings = plan.halvings + 1
        if not good or halvings > training.rollbacks:
            after = f", after going back {plan.halvings} times" if plan.halvings else ""
            reason = f"stopped at step {failed}: {event}{after}; {trainer.checkpoints.kept()}"
            raise TrainingDiverged(f"{reason}. {advice(training)}") from None
        self._go_back(good[-1])
        plan.halvings = halvings
        trainer.went_back(
            {"event": "rollback", "failed_step": failed, "reason": str(event), "rate_factor": 0.5**halvings}
        )

    def from_device(self, error: Exception) -> None:
        """Go back, and on with the CPU; re-raise ``error`` where it is not the device's or the CPU is not allowed."""
        trainer = self._trainer
        if not trainer.group.alone or self._manager is None or not self._manager.falls_back_after(error):
            raise error
        failed, device, reason = trainer.failing_step, str(trainer.device), str(error).strip().partition("\n")[0]
        trainer.model.to_empty(device=self._manager.device)  # nothing can be read from a device that failed
        trainer.settle(self._manager.device)
        if isinstance(trainer.train_batches, WindowBatches):
            trainer.train_batches.pin_memory = False  # pinning asks the device that failed
        self._go_back(self._states[-1])
        trainer.went_back({"event": "device", "failed_step": failed, "reason": reason, "left": device})

    def _go_back(self, state: State) -> None:
        """Take up a state; the time since it is spent all the same, and the best model since it is there."""
        seconds, checkpoints = self._trainer.seconds, self._trainer.checkpoints
        best = checkpoints.best_loss, checkpoints.best_step
        self._states = [state]
        self._trainer.load_state(*state)
        checkpoints.best_loss, checkpoints.best_step = best
        self._trainer.timer.go_on(seconds)
