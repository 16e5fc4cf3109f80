"""The training state: everything a run needs, besides its model files, to continue as if it had never stopped.

A run resumes from the state on the disk. After a failed step it rolls back to the last good state in memory, at half
the learning rate or on another device.

Tensors by prefix:

    model.*                     state dict of the model
    optimizer.KEY.PARAMETER     optimizer state of each parameter (``exp_avg``, ``exp_avg_sq``, ``step``)
    hidden.N                    recurrent state carried into the next batch, of all streams
    teacher.M.N                 likewise, of teacher M, if it is known
    rng.DEVICE[.RANK]           states of PyTorch's generators, of each process that trained
    average.*                   averaged parameters, if ``training.averaging`` is on

Counters are JSON values; :mod:`char_rnn.training.counters` has each with its type and range.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from pydantic import ValidationError

from char_rnn.data.windows import WindowBatches
from char_rnn.models.char_model import CharModel, Hidden, state_parts
from char_rnn.training.checkpoints import CheckpointError, DamagedStateError, TrainingState, pack
from char_rnn.training.counters import Counters
from char_rnn.training.loss import TrainingDiverged, advice
from char_rnn.utils.config.model import FOR_TRAINING
from char_rnn.utils.device import DeviceManager
from char_rnn.utils.terminal import counted, first_line, in_one_line

if TYPE_CHECKING:
    from char_rnn.training.teachers import Teacher
    from char_rnn.training.trainer import CharRNNTrainer

EARLIER = {
    "training.trainer": "modern",
    "training.optimizer": "adamw",
    "training.precision": "float32",
    "training.averaging": "none",
}
"""Settings of states that do not record them, which are older than the settings."""


def capture(trainer: CharRNNTrainer) -> TrainingState:
    """Return the training state of a trainer."""
    step = trainer.stepper.state_dict()
    tensors = {
        **pack("model", trainer.model.state_dict()),
        **pack("hidden", _of_all_rows(trainer, trainer.hidden)),
        **_parts_of_teachers(trainer),
        **pack("rng", _rng_tensors(trainer)),
        **step.tensors,
    }
    counters = {
        **{name: getattr(trainer, name) for name in ("step", "epoch", "batch", "event")},
        **trainer.timer.state_dict(),
        **trainer.checkpoints.state_dict(),
        **trainer.metrics.state_dict(),
        **step.counters,
        "plan": trainer.plan.state_dict(),
        "data": trainer.checkpoints.metadata.get("data_sha256"),
        "teachers": trainer.teachers.state_dict(),
        "reading": _settings(trainer),
    }
    return TrainingState(tensors, counters)


def restore(trainer: CharRNNTrainer, state: TrainingState) -> None:
    """Restore what ``capture`` returned.

    Raises:
        CheckpointError: it belongs to another model, another text or another way of reading it.
        DamagedStateError: it is damaged.
    """
    counters = _checked_counters(trainer, state)
    state = TrainingState(state.tensors, counters)
    try:
        _load_parameters(trainer, state.part("model"))
        trainer.step, trainer.epoch, trainer.batch = (counters[name] for name in ("step", "epoch", "batch"))
        trainer.event = counters["event"]
        trainer.checkpoints.load_state_dict(counters)
        trainer.stepper.load_state_dict(state)
        trainer.timer.load_state_dict(counters)
        trainer.metrics.load_state_dict(counters)
        trainer.plan.load_state_dict(counters["plan"], trainer.step, trainer.timer.seconds)
        trainer.hidden = _own_rows(trainer, trainer.model, state.part("hidden"))
        trainer.teachers.key = bytes.fromhex(counters["teachers"]["key"])
        models = enumerate(trainer.teachers.models)
        states = [_own_rows(trainer, model, state.part(f"teacher.{number}")) for number, model in models]
        trainer.teachers.states = None if any(each is None for each in states) else states
        if not _restore_rng(trainer.device, state.part("rng"), trainer.group.rank):
            trainer.group.seed_apart(trainer.config.training.seed + trainer.step)
    except CheckpointError:
        raise
    except (KeyError, TypeError, ValueError, IndexError, OverflowError, RuntimeError) as error:
        raise DamagedStateError(f"damaged, or does not fit this run ({in_one_line(error)})") from None


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
    trainer.plan.halvings += 1
    factor = 0.5**trainer.plan.halvings
    event = {"event": "rollback", "failed_step": failed, "reason": str(divergence), "rate_factor": factor}
    return_to(trainer, state, event)


def fall_back_to_cpu(trainer: CharRNNTrainer, manager: DeviceManager | None, error: Exception) -> None:
    """Continue on the CPU from the last state; raise ``error`` if it is not the device's, or the CPU is not allowed."""
    if not trainer.group.alone or manager is None or not manager.falls_back_after(error):
        raise error
    failed, device, reason = trainer.failing_step, str(trainer.device), first_line(error)
    trainer.model.to_empty(device=manager.device)  # nothing can be read from a device that failed
    trainer.move_to(manager.device)
    if isinstance(trainer.train_batches, WindowBatches):
        trainer.train_batches.pin_memory = False  # pinning asks the device that failed
    state = trainer.snapshots.pop_before()
    assert state is not None
    return_to(trainer, state, {"event": "device", "failed_step": failed, "reason": reason, "left": device})


def return_to(trainer: CharRNNTrainer, state: TrainingState, event: dict[str, Any]) -> None:
    """Return to an earlier state, save it and notify the callbacks; time, best model so far and halvings remain.

    The event is part of the saved state, in case the run is killed before it is recorded. In the other order the
    records would be cut back while a later state is still on the disk.
    """
    seconds, best, halvings = trainer.seconds, trainer.checkpoints.state_dict(), trainer.plan.halvings
    trainer.load_state_dict(TrainingState(state.tensors, {**state.counters, **best}))
    trainer.timer.resume(seconds)
    trainer.plan.halvings = halvings
    trainer.event = {"step": trainer.step, **event}
    trainer.save()
    trainer.tell_event(event)
    trainer.event = None
    trainer.metrics.restart_clock()


def _checked_counters(trainer: CharRNNTrainer, state: TrainingState) -> dict[str, Any]:
    """Return all counters, after a check that they belong to this run and have the tensors of their position."""
    try:
        counters = Counters.model_validate(state.counters).model_dump()
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the table"
        what = first["msg"].partition(" or instance of ")[0]
        raise DamagedStateError(f"damaged ({where}: {what[:1].lower()}{what[1:]})") from None
    _check_run(trainer, counters)
    batch, batches = counters["batch"], trainer.train_batches
    if batch >= len(batches):
        raise DamagedStateError(f"damaged: batch {batch:,} of an epoch of {len(batches):,}")
    if batch and batches.carries_state and not state.part("hidden"):
        raise DamagedStateError("damaged: the recurrent state is missing")
    if "rng.cpu" not in state.tensors:
        raise DamagedStateError("damaged: the state of the random generator is missing")
    return counters


def _check_run(trainer: CharRNNTrainer, counters: Mapping[str, Any]) -> None:
    start_anew = "start a new run from its model with --init-from"
    if counters["data"] != trainer.checkpoints.metadata.get("data_sha256"):
        raise CheckpointError(f"the run was trained on another text; to continue with this one, {start_anew}")
    _check_teachers(trainer.teachers.given, counters["teachers"]["sha256"])
    before = {**EARLIER, **counters["reading"], **counters["computing"]}
    for name, value in _settings(trainer).items():
        if before.get(name, value if name.startswith("model.") else None) != value:
            raise CheckpointError(
                f"the run was trained with {name} {before.get(name)}, not {value}; restore the setting, or {start_anew}"
            )


def _check_teachers(teachers: Sequence[Teacher], digests: Sequence[str]) -> None:
    if len(digests) != len(teachers):
        raise CheckpointError(
            f"the run was trained with {counted(len(digests), 'teacher')}, not {len(teachers)};"
            " restore training.teacher"
        )
    for teacher, digest in zip(teachers, digests, strict=True):
        if teacher.sha256 != digest:
            raise CheckpointError(
                f"training.teacher: {teacher.name} is not the model that the run was trained with (its weights differ);"
                " restore that model"
            )


def _settings(trainer: CharRNNTrainer) -> dict[str, Any]:
    """Return the settings that the position in the text and the tensors depend on."""
    batches, data, training = trainer.train_batches, trainer.config.data, trainer.config.training
    model = trainer.config.model.model_dump(exclude=set(FOR_TRAINING))
    return {
        "training.batch_size": batches.batch_size,
        "training.seq_length": batches.seq_length,
        "data.batching": data.batching,
        "data.train_frac": data.train_frac,
        "data.val_frac": data.val_frac,
        "steps in an epoch": len(batches),
        **({"training.seed": training.seed} if data.batching == "windows" else {}),
        **{name: getattr(training, name.partition(".")[2]) for name in EARLIER},
        **{f"model.{name}": value for name, value in model.items()},
    }


def _load_parameters(trainer: CharRNNTrainer, parameters: Mapping[str, torch.Tensor]) -> None:
    own = trainer.model.state_dict()
    if {name: tensor.shape for name, tensor in own.items()} != {name: t.shape for name, t in parameters.items()}:
        raise CheckpointError(
            "the training state does not fit the architecture that model.type, model.hidden_size, ... set; restore"
            " these settings. If they have not changed, the state is damaged: start a new run"
        )
    for name, tensor in own.items():
        if parameters[name].dtype != tensor.dtype:
            raise DamagedStateError(f"damaged: the model's {name!r} is {parameters[name].dtype}, not {tensor.dtype}")
    trainer.model.load_state_dict(parameters)


def _numbered(hidden: Hidden | None) -> dict[str, torch.Tensor]:
    parts = () if hidden is None else state_parts(hidden)
    return {str(number): part for number, part in enumerate(parts)}


def _of_all_rows(trainer: CharRNNTrainer, hidden: Hidden | None) -> dict[str, torch.Tensor]:
    """Return the parts of a recurrent state (L, B, H) with the rows of all processes."""
    return {name: torch.cat(trainer.group.gather(part), 1) for name, part in _numbered(hidden).items()}


def _parts_of_teachers(trainer: CharRNNTrainer) -> dict[str, torch.Tensor]:
    """Return the recurrent states of the teachers, if they are known and carried into the next batch."""
    states = trainer.teachers.states
    if not trainer.teachers.given or trainer.hidden is None or trainer.group.any(states is None):
        return {}
    parts = [pack(f"teacher.{number}", _of_all_rows(trainer, state)) for number, state in enumerate(states or ())]
    return {name: tensor for part in parts for name, tensor in part.items()}


def _own_rows(trainer: CharRNNTrainer, model: CharModel, tensors: Mapping[str, torch.Tensor]) -> Hidden | None:
    """Return this process's rows of the recurrent state of a model; None without tensors."""
    if not tensors:
        return None
    like = model.init_hidden(trainer.train_batches.batch_size, trainer.device)
    expected = _numbered(like)
    if {name: part.shape for name, part in tensors.items()} != {name: part.shape for name, part in expected.items()}:
        raise DamagedStateError("the recurrent state does not fit this model and batch size")
    parts = tuple(tensors[name].to(part)[:, trainer.train_batches.rows] for name, part in expected.items())
    return parts if isinstance(like, tuple) else parts[0]


def _rng_tensors(trainer: CharRNNTrainer) -> dict[str, torch.Tensor]:
    """Return the states of the generators of all processes, as ``DEVICE`` (the first's) or ``DEVICE.RANK``."""
    own = {"cpu": torch.get_rng_state()}
    if trainer.device.type == "cuda":
        own["cuda"] = torch.cuda.get_rng_state(trainer.device)
    elif trainer.device.type == "mps":
        own["mps"] = torch.mps.get_rng_state()
    gathered = {name: trainer.group.gather(state) for name, state in own.items()}
    return {f"{name}.{rank}" if rank else name: state for name in own for rank, state in enumerate(gathered[name])}


def _restore_rng(device: torch.device, states: Mapping[str, torch.Tensor], rank: int) -> bool:
    """Restore the generators of a rank, and return whether it had any; states of another device are ignored."""
    own = {
        kind: states[name] for kind in ("cpu", device.type) if (name := f"{kind}.{rank}" if rank else kind) in states
    }
    if "cpu" in own:
        torch.set_rng_state(own["cpu"])
    if "cuda" in own:
        torch.cuda.set_rng_state(own["cuda"], device)
    elif "mps" in own:
        torch.mps.set_rng_state(own["mps"])
    return bool(own)
