"""The training loop: truncated backpropagation through time, with the state carried from batch to batch.

Shapes: B streams (batch), T characters (time).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from char_rnn.data.dataloader import Batches
from char_rnn.data.vocabulary import Vocabulary
from char_rnn.models import CharModel, Hidden
from char_rnn.training.callbacks import Callback, MetricsLogger, writers
from char_rnn.training.checkpoints import CheckpointWriter, TrainingState
from char_rnn.training.evaluation import Evaluation, TrainingResult
from char_rnn.training.learning_rate import SchedulePlan
from char_rnn.training.loss import TrainingDiverged
from char_rnn.training.process_group import ProcessGroup, RankLostError
from char_rnn.training.teachers import Teacher, Teachers
from char_rnn.training.time_budget import Timer, plan_evaluations, refit, timed_evaluation
from char_rnn.training.tracker import tracker_callbacks
from char_rnn.training.train_step import TrainStep, first_state
from char_rnn.training.training_state import Snapshots, capture, fall_back_to_cpu, restore, roll_back
from char_rnn.utils.config import Config
from char_rnn.utils.device import DeviceManager, forked_rng, memory_in_use
from char_rnn.utils.resources import memory_kept

SECONDS_TO_FIRST_SAMPLE = 20


class CharRNNTrainer:
    """Trains a model on the batches of a text.

    Args:
        model: a model of this package; it is moved to ``device``.
        dataloaders: from ``create_dataloaders``: ``train``, and ``val`` and ``test`` where those splits are not empty.
        config: configuration of the run; ``training`` and ``logging`` are read here.
        device: device to train on.
        vocabulary: symbols of the ids; needed to write model files.
        run_dir: run folder, which must exist; None writes nothing.
        log_dir: folder of the TensorBoard events (default: ``run_dir/tensorboard``).
        metadata: further metadata of the model files (name and hash of the data, ...).
        callbacks: callbacks besides those that write ``metrics.jsonl`` and the TensorBoard events.
        sample: function of the model that returns a text to show at each evaluation.
        clock: clock in seconds, as ``time.perf_counter``.
        group: processes that train together, each on part of every batch (default: this one); the first writes files.
        manager: decides whether training continues on the CPU after a device failure; without one the error is raised.
        teachers: models of ``training.teacher``, in order.

    Attributes:
        step: optimizer steps done.
        epoch, batch: position in the data: epochs finished, and batches of the current one.
        hidden: recurrent state carried to the next batch; None for zeros.
        event: why the run returned to its current state, until that is recorded; else None.
        teachers, stepper, plan, timer, metrics, checkpoints: parts of the trainer; see their classes.
    """

    _tests_best = True  # evaluate the best model on the test split at the end

    def __init__(
        self,
        model: CharModel,
        dataloaders: Mapping[str, Batches],
        config: Config,
        device: torch.device | str = "cpu",
        *,
        vocabulary: Vocabulary | None = None,
        run_dir: str | Path | None = None,
        log_dir: str | Path | None = None,
        metadata: Mapping[str, Any] | None = None,
        callbacks: Sequence[Callback] = (),
        sample: Callable[[CharModel], str] | None = None,
        clock: Callable[[], float] = time.perf_counter,
        group: ProcessGroup | None = None,
        manager: DeviceManager | None = None,
        teachers: Sequence[Teacher] = (),
    ) -> None:
        self.dataloaders, self.config = dict(dataloaders), config
        self.train_batches = self.dataloaders["train"]
        self.run_dir = Path(run_dir) if run_dir is not None else None
        self.checkpoints = CheckpointWriter(self.run_dir, vocabulary, metadata or {}, config.logging.keep)
        files = writers(self.run_dir, log_dir, config.logging)
        self.metrics = MetricsLogger([*files, *tracker_callbacks(self.run_dir, config.logging), *callbacks], clock)
        self.timer, self.group, self.snapshots = Timer(clock), group or ProcessGroup(), Snapshots()
        self.model, self._sample, self._manager = model, sample, manager
        self.teachers = Teachers(teachers, config.training, self.train_batches, clock)
        self.move_to(torch.device(device))
        self.group.seed_apart(config.training.seed)
        self.plan = SchedulePlan(config.training, len(self.train_batches), validated="val" in self.dataloaders)
        self.step = self.epoch = self.batch = 0
        self.hidden: Hidden | None = None
        self.event: dict[str, Any] | None = None
        self._stop_wanted = self._stopping = False
        self._last_val: tuple[int, Evaluation | None] | None = None
        self._first_sample_at = math.inf

    @memory_kept()
    def train(self) -> TrainingResult:
        """Train to the end (or until asked to stop), evaluate and save; leave the best parameters in the model.

        Raises:
            TrainingDiverged, RankLostError: rollbacks did not help, or another process ended; checkpoints remain.
        """
        self.timer.resume()
        self._first_sample_at = self.seconds + SECONDS_TO_FIRST_SAMPLE if self._sample is not None else math.inf
        self.metrics.tell("on_start", self)
        if self.plan.budget is not None and not self.timer.seconds_of_evaluation:
            plan_evaluations(self)
        self.metrics.restart_clock()
        self.snapshots.add(self.state_dict(), suspect=self.stepper.guard.above > 0)
        try:
            while True:
                try:
                    while self.should_continue:
                        self.train_epoch()
                    return self._result()
                except TrainingDiverged as event:
                    roll_back(self, event)
                except RankLostError as error:
                    raise RankLostError(f"{error}; the last checkpoint is saved. Resume the run (--resume)") from None
                except (RuntimeError, NotImplementedError) as error:
                    fall_back_to_cpu(self, self._manager, error)
        finally:
            self.timer.pause()
            self.metrics.tell("on_end", self)

    @property
    def should_continue(self) -> bool:
        """Whether another step follows."""
        return not (self._stopping or self.plan.out_of_patience or self.step >= self.total_steps)

    @property
    def total_steps(self) -> int:
        """Last step of the run; an estimate in a timed run."""
        return self.plan.total_steps

    @property
    def seconds(self) -> float:
        """Seconds spent on this run, earlier parts of a resumed run included."""
        return self.timer.seconds

    @property
    def failing_step(self) -> int:
        """Step that diverged; its update was not made."""
        return self.step + 1

    def request_stop(self) -> None:
        """Stop after the current step and save; safe to call from a signal handler."""
        self._stop_wanted = True
        self._stopping = self._stopping or self.group.alone  # several processes stop after the same step

    def train_epoch(self) -> float:
        """Train to the end of the current epoch (or of the run); return the mean loss in nats per character."""
        self.model.train()
        total = steps = 0.0
        for x, y in self.train_batches.epoch(self.epoch, self.batch):
            loss = self.train_step(x, y)
            self._advance()
            self.metrics.add_step(loss, self.train_batches.batch_size * y.shape[1])
            self._after_step(loss)
            total, steps = total + loss, steps + 1
            if not self.should_continue:
                break
        return total / (steps or 1)

    def train_step(self, x: torch.Tensor, y: torch.Tensor) -> float:
        """Learn from ids and their targets (B, T); return the mean loss in nats per character, before the update.

        Raises:
            TrainingDiverged: the loss or the gradient exploded; no update was made.
        """
        began, micro_batch = self.timer.now(), self.stepper.micro_batch
        rate = self.plan.learning_rate(self.step)
        recorded = (self.step + 1) % self.config.logging.log_interval == 0
        context, position = self.stepper.precision.context, (self.epoch, self.batch)
        soft = self.teachers.predict(x, start=self.hidden is None, position=position, context=context)
        before = first_state(self.model, self.train_batches, self.epoch) if self.hidden is None else self.hidden
        loss, hidden = self.stepper.step(x, y, before, rate, soft, measure=recorded)
        self.stepper.averaging.after_step(self.step + 1)
        self.hidden = hidden if self.train_batches.carries_state else None
        self.timer.add_step(self.timer.now() - began - self.teachers.seconds_once)
        if self.stepper.micro_batch != micro_batch:
            self.tell_event({"event": "memory", "micro_batch": self.stepper.micro_batch})
        return loss

    def _advance(self) -> None:
        """Count the step and its position in the epoch; at the end of an epoch the streams start over."""
        self.step, self.batch = self.step + 1, self.batch + 1
        if self.batch >= len(self.train_batches):
            self.epoch, self.batch, self.hidden = self.epoch + 1, 0, None

    def _after_step(self, loss: float) -> None:
        self.metrics.tell("on_step", self, loss)
        refit(self)
        if self.step % self.config.logging.log_interval == 0:
            self._record_training()
        self._stopping = self.group.any(self._stop_wanted)
        if self.step >= self.total_steps:
            return
        if self.step % self.config.training.eval_interval == 0:
            self.evaluate_and_save()
        elif self.step % self.config.logging.save_interval == 0:
            self.save()
        if math.isfinite(self._first_sample_at) and self.seconds >= self._first_sample_at:
            self._show_sample()

    def _record_training(self) -> None:
        rate, norm = self.plan.learning_rate(self.step - 1), self.stepper.gradient_norm
        self.metrics.record_training(self.position(), rate, norm, memory_in_use(self.device))

    def validate(self) -> float:
        """Return the loss on the validation split in nats per character; a ``KeyError`` without one."""
        return self.evaluate("val").loss

    def evaluate(self, split: str) -> Evaluation:
        """Evaluate the current model on a split, or on ``training.eval_characters`` of it.

        Training mode, random generators and carried state do not change. A ``KeyError`` if there is no such split.
        """
        return timed_evaluation(self, split, self.plan.eval_characters)

    def evaluate_and_save(self) -> Evaluation | None:
        """Evaluate the validation split, keep the model if it is the best so far, save, and show a sample.

        Only saves if the current step has been evaluated already.

        Raises:
            TrainingDiverged: the validation loss is not finite; nothing was saved.
        """
        if self._last_val is not None and self._last_val[0] == self.step:
            self.save()
            return self._last_val[1]
        began = self.timer.now()
        val = self._validate_and_keep_best() if "val" in self.dataloaders else None
        self.keep_evaluated(val)
        self.save()
        self._show_sample()
        self._last_val = self.step, val
        self.timer.seconds_of_evaluation = self.timer.now() - began
        self.metrics.restart_clock()
        return val

    def _validate_and_keep_best(self) -> Evaluation:
        val = self.evaluate("val")
        self.metrics.record_evaluation(self.position(), "val", val)
        if not math.isfinite(val.loss):
            raise TrainingDiverged(f"the validation loss is {val.loss}")
        improved = val.loss < self.checkpoints.best_loss
        if improved:
            self.checkpoints.save_best(val.loss, *self._current())
        self.plan.evaluated(self.step, improved=improved)
        return val

    def keep_evaluated(self, val: Evaluation | None) -> None:
        """Write further files after an evaluation; a hook for the trainer of 2015."""

    def sample(self) -> str | None:
        """Return a text written by the current model; None if samples are off.

        The clock decides when the first one is due, so sampling must not advance the generators of training.
        """
        if self._sample is None or not self.config.logging.sample_length:
            return None
        with forked_rng(self.device):
            return self._sample(self.stepper.averaging.model)

    def _show_sample(self) -> None:
        self._first_sample_at = math.inf
        if (text := self.sample()) is not None:
            self.metrics.tell("on_sample", self.step, text)
            self.metrics.restart_clock()

    def _result(self) -> TrainingResult:
        stopped = self._stopping and self.step < self.total_steps
        if stopped and self.checkpoints.last_saved != self.step:
            self.save()
        val, test = (None, None) if stopped else self._finish()
        best = self.checkpoints.best_loss, self.checkpoints.best_step
        early = not stopped and self.step < self.total_steps
        return TrainingResult(self.step, self.seconds, val, *best, test, stopped, early)

    def _finish(self) -> tuple[Evaluation | None, Evaluation | None]:
        """Evaluate and save the end of the run, then test the best model; return both evaluations."""
        if self.metrics.steps:
            self._record_training()
        val, best = self.evaluate_and_save(), self.stepper.averaging.model
        if self.group.is_first:
            self.checkpoints.load_best(best, self.step)
        self.group.broadcast_parameters(best)
        self.model.load_state_dict(best.state_dict())
        test = self.evaluate("test") if self._tests_best and "test" in self.dataloaders else None
        if test is not None:
            self.metrics.record_evaluation(self.position(), "test", test)
        return val, test

    def save(self) -> None:
        """Write the models and the training state; all processes of a run call this together.

        The state comes last and commits the step: a run killed before it resumes from the state before, and redoes what
        it had written since. Anything written after the state would be lost.
        """
        began = self.timer.now()
        state, current = self.state_dict(), self._current()
        self.metrics.tell("on_save", self)
        if self.step % self.config.logging.save_interval == 0 and self.step:
            self.checkpoints.save_step(*current)
        self.checkpoints.save(*current, state)
        self.snapshots.add(state, suspect=self.stepper.guard.above > 0)
        self.timer.in_saving = self.timer.now() - began

    def save_checkpoint(self, path: str | Path) -> Path:
        """Write the current model to a self-contained model file."""
        return self.checkpoints.write_model(path, *self._current())

    def _current(self) -> tuple[CharModel, Config, dict[str, float]]:
        return self.stepper.averaging.model, self.plan.repeatable(self.config, self.step), self.position()

    def state_dict(self) -> TrainingState:
        """Return everything needed to resume: tensors by prefixed name, and counters as JSON values."""
        return capture(self)

    def load_state_dict(self, state: TrainingState) -> None:
        """Restore what ``state_dict`` returned; a ``CheckpointError`` if it does not belong to this run."""
        restore(self, state)
        self.checkpoints.last_saved, self._last_val = self.step, None

    def move_to(self, device: torch.device) -> None:
        """Move the model to a device and start with a new optimizer; ``load_state_dict`` restores the rest."""
        self.device = device
        self.model = self.model.to(device)
        self.teachers.move_to(device)
        self.stepper = TrainStep(self.model, self.config.training, device, self.train_batches.batch_size, self.group)

    def position(self) -> dict[str, float]:
        """Return the position of the run: steps, epochs with their fraction, seconds."""
        return {"step": self.step, "epoch": self.epoch + self.batch / len(self.train_batches), "seconds": self.seconds}

    def tell_event(self, event: dict[str, Any]) -> None:
        """Notify the callbacks of an event after the current step."""
        self.metrics.tell("on_event", self, {"step": self.step, **event})
