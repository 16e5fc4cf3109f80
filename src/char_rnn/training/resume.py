"""What a trainer is made of at a moment, taken out of it and put back: the counterpart of the training state's file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from char_rnn.training.checkpoints import (
    CheckpointError,
    DamagedStateError,
    Hidden,
    hidden_tensors,
    optimizer_tensors,
    pack,
    restore_hidden,
    restore_optimizer,
    restore_rng,
    rng_tensors,
    rows_of,
    unpack,
)
from char_rnn.training.optimizers import kept_for_each_parameter
from char_rnn.training.state_values import damage
from char_rnn.utils.config.model import FOR_TRAINING

if TYPE_CHECKING:
    from char_rnn.training.trainer_state import TrainerState

COMPUTING = {
    "training.trainer": "modern",
    "training.optimizer": "adamw",
    "training.precision": "float32",
    "training.averaging": "none",
}
"""What the tensors of a training state depend on, and what they were before it was recorded."""

EARLIER = {**COMPUTING, "training.random_segments": False}
"""What a training state that does not tell was trained with: one written before there was a choice."""

COUNTERS = {
    "step": int,
    "epoch": int,
    "batch": int,
}

SECONDS = {
    "seconds_in_steps": "in_steps",
    "seconds_of_evaluation": "in_evaluation",
    "seconds_per_character": "per_character",
}
"""What the file calls the parts of the timer."""


def capture(trainer: TrainerState) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Return all that the trainer needs to go on: tensors by prefixed name, and counters that JSON can hold."""
    stepper = trainer.stepper
    tensors = {
        **pack("model", trainer.model.state_dict()),
        **pack("optimizer", optimizer_tensors(trainer.model, stepper.optimizer)),
        **pack("hidden", hidden_tensors(_all_rows(trainer))),
        **pack("rng", _all_generators(trainer)),
        **pack("average", stepper.averaging.tensors()),
    }
    counters = {
        **{name: getattr(trainer, name) for name in COUNTERS},
        **{name: getattr(trainer.timer, part) for name, part in SECONDS.items()},
        "best_val_loss": trainer.checkpoints.best_loss if math.isfinite(trainer.checkpoints.best_loss) else None,
        "seconds": trainer.seconds,
        "best_step": trainer.checkpoints.best_step,
        "first_loss": stepper.guard.first,
        "guard": stepper.guard.state(),
        "micro_batch": stepper.micro_batch if stepper.ran_out_of_memory else None,
        "scaler": stepper.precision.state(),
        "averaging": stepper.averaging.state(),
        "interval": trainer.metrics.interval(),
        "plan": trainer.plan.state(),
        "data": trainer.checkpoints.metadata.get("data_sha256"),
        "reading": reading(trainer),
        "computing": computing(trainer),
        "event": trainer.event,
    }
    return tensors, counters


def restore(trainer: TrainerState, tensors: Mapping[str, torch.Tensor], counters: Mapping[str, Any]) -> None:
    """Put into the trainer what ``capture`` returned.

    Raises:
        CheckpointError: it belongs to another model, another text or another way of reading it.
        DamagedStateError: it is damaged.
    """
    if (problem := damage(counters)) is not None:
        raise DamagedStateError(f"damaged ({problem})")
    _check_run(trainer, counters)
    _check_place(trainer, tensors, counters)
    try:
        _load_parameters(trainer, unpack("model", tensors))
        for name, kind in COUNTERS.items():
            setattr(trainer, name, kind(counters[name]))
        best = counters["best_val_loss"]
        trainer.checkpoints.best_loss = math.inf if best is None else float(best)
        trainer.checkpoints.best_step = int(counters["best_step"])
        _restore_stepper(trainer, tensors, counters)
        trainer.stepper.guard.load_state(counters["first_loss"], counters.get("guard", {}))
        seconds = float(counters["seconds"])
        trainer.timer.go_on(seconds)
        for name, part in SECONDS.items():
            setattr(trainer.timer, part, float(counters.get(name, 0.0)))
        trainer.event = counters.get("event")
        trainer.metrics.load_interval(counters["interval"])
        trainer.plan.load_state(counters["plan"], trainer.step, seconds)
        like = trainer.model.init_hidden(trainer.train_batches.batch_size, trainer.device)
        trainer.hidden = rows_of(restore_hidden(like, unpack("hidden", tensors)), trainer.train_batches.rows)
        if not restore_rng(trainer.device, unpack("rng", tensors), trainer.group.rank):
            trainer.group.seed_apart(trainer.config.training.seed + trainer.step)
    except CheckpointError:
        raise
    except (KeyError, TypeError, ValueError, IndexError, OverflowError, RuntimeError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DamagedStateError(f"damaged, or does not fit this run ({reason})") from None


def _all_rows(trainer: TrainerState) -> Hidden:
    """Return the carried state of the whole batch, from the parts of all ranks."""
    hidden, total = trainer.hidden, trainer.train_batches.batch_size
    if hidden is None or trainer.group.alone:
        return hidden
    parts = hidden if isinstance(hidden, tuple) else (hidden,)
    whole = tuple(torch.cat(trainer.group.gather(part, total, dim=1), 1) for part in parts)
    return whole if isinstance(hidden, tuple) else whole[0]


def _all_generators(trainer: TrainerState) -> dict[str, torch.Tensor]:
    """Return the generators of all ranks, those of all but the first by ``DEVICE.RANK``."""
    states = {}
    for name, state in rng_tensors(trainer.device).items():
        for rank, gathered in enumerate(trainer.group.gather(state)):
            states[f"{name}.{rank}" if rank else name] = gathered
    return states


def _restore_stepper(trainer: TrainerState, tensors: Mapping[str, torch.Tensor], counters: Mapping[str, Any]) -> None:
    stepper = trainer.stepper
    kept_tensors = unpack("optimizer", tensors)
    stepped = bool(kept_tensors) or (counters["step"] > 0 and stepper.precision.scaler is None)  # float16 skips steps
    keys = kept_for_each_parameter(trainer.config.training) if stepped else ()
    restore_optimizer(trainer.model, stepper.optimizer, kept_tensors, keys)
    stepper.precision.load_state(counters.get("scaler", {}))
    stepper.averaging.load_state(unpack("average", tensors), counters.get("averaging", {}))
    kept = counters.get("micro_batch")
    if kept is not None:  # memory ran out before; a smaller size may have been asked for since
        stepper.micro_batch = min(int(kept), stepper.micro_batch or int(kept))
        stepper.ran_out_of_memory = True


def _load_parameters(trainer: TrainerState, parameters: Mapping[str, torch.Tensor]) -> None:
    own = trainer.model.state_dict()
    if {name: tensor.shape for name, tensor in own.items()} != {name: t.shape for name, t in parameters.items()}:
        raise CheckpointError(
            "the training state has another architecture than model.type, model.hidden_size, ... now say; leave them as"
            " they were. If they are, the state is damaged: start a new run"
        )
    for name, tensor in own.items():
        if parameters[name].dtype != tensor.dtype:
            raise DamagedStateError(f"damaged: the model's {name!r} is {parameters[name].dtype}, not {tensor.dtype}")
    trainer.model.load_state_dict(parameters)


def reading(trainer: TrainerState) -> dict[str, Any]:
    """Return how the trainer reads its text; the position in the data means nothing in another way."""
    batches, data, training = trainer.train_batches, trainer.config.data, trainer.config.training
    return {
        "training.batch_size": batches.batch_size,
        "training.seq_length": batches.seq_length,
        "data.batching": data.batching,
        "data.train_frac": data.train_frac,
        "data.val_frac": data.val_frac,
        "steps in an epoch": len(batches),
        "training.random_segments": training.random_segments,
        **({"training.seed": training.seed} if data.batching == "windows" or training.random_segments else {}),
    }


def computing(trainer: TrainerState) -> dict[str, Any]:
    """Return what the tensors of a training state depend on, and what the model makes of them."""
    model = trainer.config.model.model_dump(exclude=set(FOR_TRAINING))
    return {
        **{f"model.{name}": value for name, value in model.items()},
        **{name: getattr(trainer.config.training, name.partition(".")[2]) for name in COMPUTING},
    }


def _check_run(trainer: TrainerState, counters: Mapping[str, Any]) -> None:
    start_anew = "start a new run from its model with --init-from"
    if counters.get("data") != trainer.checkpoints.metadata.get("data_sha256"):
        raise CheckpointError(f"the text is not the one this run was trained on; to go on with another, {start_anew}")
    before = {**EARLIER, **counters["reading"], **counters.get("computing", {})}
    for name, value in {**reading(trainer), **computing(trainer)}.items():
        if before.get(name, value if name.startswith("model.") else None) != value:
            raise CheckpointError(
                f"the run was trained with {name} {before.get(name)}, not {value}; leave it as it was, or {start_anew}"
            )


def _check_place(trainer: TrainerState, tensors: Mapping[str, torch.Tensor], counters: Mapping[str, Any]) -> None:
    """Check what is to be there at this place in the text."""
    batch, batches = counters["batch"], trainer.train_batches
    if batch >= len(batches):
        raise DamagedStateError(f"damaged: its batch {batch:,} is beyond the {len(batches):,} of an epoch")
    if batch and batches.carries_state and not unpack("hidden", tensors):
        raise DamagedStateError("damaged: the recurrent state is missing")
    if "rng.cpu" not in tensors:
        raise DamagedStateError("damaged: the state of the random generator is missing")
