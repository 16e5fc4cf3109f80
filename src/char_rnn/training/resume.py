"""What a trainer is made of at a moment, taken out of it and put back: the counterpart of the training state's file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from char_rnn.training.checkpoints import (
    CheckpointError,
    hidden_tensors,
    optimizer_tensors,
    pack,
    restore_hidden,
    restore_optimizer,
    restore_rng,
    rng_tensors,
    unpack,
)

if TYPE_CHECKING:
    from char_rnn.training.trainer import CharRNNTrainer

EARLIER = {"training.trainer": "modern", "training.optimizer": "adamw", "training.precision": "float32"}
"""What a training state that does not tell was trained with: one written before there was a choice."""

COUNTERS = {
    "step": int,
    "epoch": int,
    "batch": int,
    "seconds_in_steps": float,
    "seconds_of_evaluation": float,
}


def capture(trainer: CharRNNTrainer) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Return all that the trainer needs to go on: tensors by prefixed name, and counters that JSON can hold."""
    tensors = {
        **pack("model", trainer.model.state_dict()),
        **pack("optimizer", optimizer_tensors(trainer.model, trainer.stepper.optimizer)),
        **pack("hidden", hidden_tensors(trainer.hidden)),
        **pack("rng", rng_tensors(trainer.device)),
    }
    counters = {
        **{name: getattr(trainer, name) for name in COUNTERS},
        "best_val_loss": trainer.keeper.best_loss if math.isfinite(trainer.keeper.best_loss) else None,
        "seconds": trainer.seconds,
        "best_step": trainer.keeper.best_step,
        "first_loss": trainer.stepper.guard.first,
        "interval": trainer.recorder.interval(),
        "plan": trainer.plan.state(),
        "data": trainer.keeper.facts.get("data_sha256"),
        "reading": reading(trainer),
        "computing": computing(trainer),
    }
    return tensors, counters


def restore(trainer: CharRNNTrainer, tensors: Mapping[str, torch.Tensor], counters: Mapping[str, Any]) -> None:
    """Put into the trainer what ``capture`` returned.

    Raises:
        CheckpointError: it belongs to another model, another text or another way of reading it, or is damaged.
    """
    _check_run(trainer, counters)
    try:
        _load_parameters(trainer, unpack("model", tensors))
        for name, kind in COUNTERS.items():
            setattr(trainer, name, kind(counters[name]))
        best, first = counters["best_val_loss"], counters["first_loss"]
        trainer.keeper.best_loss = math.inf if best is None else float(best)
        trainer.keeper.best_step = int(counters["best_step"])
        trainer.stepper.guard.first = None if first is None else float(first)
        trainer.seconds_before = float(counters["seconds"])
        trainer.recorder.load_interval(counters["interval"])
        trainer.plan.load_state(counters["plan"], trainer.step, trainer.seconds_before)
        restore_optimizer(trainer.model, trainer.stepper.optimizer, unpack("optimizer", tensors))
        like = trainer.model.init_hidden(trainer.train_batches.batch_size, trainer.device)
        trainer.hidden = restore_hidden(like, unpack("hidden", tensors))
        restore_rng(trainer.device, unpack("rng", tensors))
    except CheckpointError:
        raise
    except (KeyError, TypeError, ValueError, IndexError, RuntimeError) as error:
        raise CheckpointError(f"the training state does not fit this run ({str(error).splitlines()[0]})") from None


def _load_parameters(trainer: CharRNNTrainer, parameters: Mapping[str, torch.Tensor]) -> None:
    own = trainer.model.state_dict()
    if {name: tensor.shape for name, tensor in own.items()} != {name: t.shape for name, t in parameters.items()}:
        raise CheckpointError(
            "the run's model has another architecture than model.type, model.hidden_size, ... now say;"
            " leave them as they were, or start a new run"
        )
    trainer.model.load_state_dict(parameters)


def reading(trainer: CharRNNTrainer) -> dict[str, Any]:
    """Return how the trainer reads its text; the position in the data means nothing in another way."""
    batches, data = trainer.train_batches, trainer.config.data
    return {
        "training.batch_size": batches.batch_size,
        "training.seq_length": batches.seq_length,
        "data.batching": data.batching,
        "data.train_frac": data.train_frac,
        "data.val_frac": data.val_frac,
        "steps in an epoch": len(batches),
        **({"training.seed": trainer.config.training.seed} if data.batching == "windows" else {}),
    }


def computing(trainer: CharRNNTrainer) -> dict[str, Any]:
    """Return what the tensors of a training state depend on: another optimizer keeps other ones."""
    return {name: getattr(trainer.config.training, name.partition(".")[2]) for name in EARLIER}


def _check_run(trainer: CharRNNTrainer, counters: Mapping[str, Any]) -> None:
    start_anew = "start a new run from its model with --init-from"
    if counters.get("data") != trainer.keeper.facts.get("data_sha256"):
        raise CheckpointError(f"the text is not the one this run was trained on; to go on with another, {start_anew}")
    read, computed = counters.get("reading"), counters.get("computing", {})
    if not isinstance(read, dict) or not isinstance(computed, dict):
        raise CheckpointError("the training state is damaged (it does not say how the run was trained)")
    before = {**EARLIER, **read, **computed}
    for name, value in {**reading(trainer), **computing(trainer)}.items():
        if before.get(name) != value:
            raise CheckpointError(
                f"the run was trained with {name} {before.get(name)}, not {value}; leave it as it was, or {start_anew}"
            )
