"""Recovery from a failed step: back to the last good state, at half the learning rate or on another device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from char_rnn.data.windows import WindowBatches
from char_rnn.training.checkpoints import TrainingState
from char_rnn.training.loss import TrainingDiverged, advice
from char_rnn.utils.device import DeviceManager

if TYPE_CHECKING:
    from char_rnn.training.trainer import CharRNNTrainer


class Snapshots:
    """The last two states of a run, in the CPU's memory.

    The loss of the next step shows whether a state is good: an update that ruins the model may be saved before that.
    """

    def __init__(self) -> None:
        self._states: list[TrainingState] = []

    def add(self, state: TrainingState, *, suspect: bool = False) -> None:
        """Copy a state; not a suspect one, whose last loss was above the guard's limit, unless it is the first."""
        if self._states and suspect:
            return
        tensors = {name: tensor.detach().to("cpu", copy=True) for name, tensor in state.tensors.items()}
        older = [known for known in self._states if known.step < state.step]
        self._states = [*older[-1:], TrainingState(tensors, state.counters)]

    def pop_before(self, step: int | None = None) -> TrainingState | None:
        """Return the latest state before a step (None: the latest), and forget the others; None if there is none."""
        good = [state for state in self._states if step is None or state.step < step]
        self._states = good[-1:] or self._states
        return good[-1] if good else None


def roll_back(trainer: CharRNNTrainer, divergence: TrainingDiverged) -> None:
    """Return to the last good state and halve the learning rate.

    Raises:
        TrainingDiverged: there were ``training.rollbacks`` before, or there is no good state.
    """
    training, failed, halvings = trainer.config.training, trainer.failing_step, trainer.plan.halvings
    first_bad = trainer.step + 1 - max(1, trainer.stepper.guard.above)
    state = trainer.snapshots.pop_before(first_bad) if halvings < training.rollbacks else None
    if state is None:
        after = f", after {halvings} rollbacks" if halvings else ""
        reason = f"stopped at step {failed}: {divergence}{after}; {trainer.checkpoints.remaining()}"
        raise TrainingDiverged(f"{reason}. {advice(training)}") from None
    factor = 0.5 ** (halvings + 1)
    event = {"event": "rollback", "failed_step": failed, "reason": str(divergence), "rate_factor": factor}
    return_to(trainer, state, event, halvings + 1)


def fall_back_to_cpu(trainer: CharRNNTrainer, manager: DeviceManager | None, error: Exception) -> None:
    """Continue on the CPU from the last state; raise ``error`` if it is not the device's, or the CPU is not allowed."""
    if not trainer.group.alone or manager is None or not manager.falls_back_after(error):
        raise error
    failed, device, reason = trainer.failing_step, str(trainer.device), str(error).strip().partition("\n")[0]
    trainer.model.to_empty(device=manager.device)  # nothing can be read from a device that failed
    trainer.move_to(manager.device)
    if isinstance(trainer.train_batches, WindowBatches):
        trainer.train_batches.pin_memory = False  # pinning asks the device that failed
    state = trainer.snapshots.pop_before()
    assert state is not None
    return_to(trainer, state, {"event": "device", "failed_step": failed, "reason": reason, "left": device})


def return_to(
    trainer: CharRNNTrainer, state: TrainingState, event: dict[str, Any], halvings: int | None = None
) -> None:
    """Return to an earlier state, save it and notify the callbacks; time spent and the best model so far remain.

    The event is part of the saved state, in case the run is killed before it is recorded. In the other order the
    records would be cut back while a later state is still on the disk.
    """
    seconds, best = trainer.seconds, trainer.checkpoints.state_dict()
    trainer.load_state_dict(TrainingState(state.tensors, {**state.counters, **best}))
    trainer.timer.resume(seconds)
    if halvings is not None:
        trainer.plan.halvings = halvings
    trainer.event = {"step": trainer.step, **event}
    trainer.save()
    trainer.tell_event(event)
    trainer.event = None
    trainer.metrics.restart_clock()
