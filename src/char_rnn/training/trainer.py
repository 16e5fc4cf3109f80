"""The training loop: truncated backpropagation through time with the state carried from batch to batch.

Shapes: B streams (batch), T characters (time).
"""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path

import torch

from char_rnn.training.evaluation import Evaluation, evaluate
from char_rnn.training.loss import TrainingDiverged
from char_rnn.training.process_group import RankLostError
from char_rnn.training.result import TrainingResult
from char_rnn.training.time_budget import plan_evaluations
from char_rnn.training.trainer_state import TrainerState
from char_rnn.utils.allocator import memory_kept
from char_rnn.utils.device import memory_in_use

SECONDS_TO_FIRST_SAMPLE = 20


class CharRNNTrainer(TrainerState):
    """Trains a model on the batches of a text.

    Args:
        model: a model of this package; it is moved to ``device``.
        dataloaders: from ``create_dataloaders``: ``train``, and ``val`` and ``test`` where those splits are not empty.
        config: the run's configuration; ``training`` and ``logging`` are read here.
        device: where to train.
        vocabulary: the symbols of the ids; needed to write model files.
        run_dir: the run's folder, which must exist; without one nothing is written.
        log_dir: the folder for TensorBoard; ``run_dir/tensorboard`` when not given.
        metadata: what else to tell in the model files (the data's name and hash, ...).
        callbacks: listeners besides those that write ``metrics.jsonl`` and the TensorBoard events.
        sample: given the model, returns a text to show at each evaluation.
        clock: seconds, as ``time.perf_counter``.
        group: the processes that train together, whose ``dataloaders`` give parts of the same batches; this one alone
            when not given. Only the first of them needs a ``run_dir``.
        manager: decides whether a device that fails is left for the CPU; without one the error is raised.

    Attributes:
        step: optimizer steps done.
        epoch, batch: the position in the data: epochs finished, and batches of the present one.
        hidden: the state carried to the next batch; None for zeros.
        stepper: makes the steps.
        event: why the run has gone back to its present state, until that is recorded; else None.
        timer: counts the time.
        checkpoints: keeps the models.
    """

    @memory_kept()
    def train(self) -> TrainingResult:
        """Train to the end (or until asked to stop), evaluate, and save; the model is left with its best parameters.

        Raises:
            TrainingDiverged: the loss exploded, and going back did not help; what was saved before stays.
            RankLostError: another process of the run has ended; what was saved before stays.
        """
        self.timer.go_on()
        if self._sample is not None:
            self._first_sample_at = self.seconds + SECONDS_TO_FIRST_SAMPLE
        self.metrics.tell("on_start", self)
        if self.plan.budget is not None and not self.timer.in_evaluation:
            plan_evaluations(self)
        self.metrics.restart_clock()
        if self.recovery.is_empty or self.plan.budget is not None:
            self.recovery.remember(*self.state())
        try:
            while True:
                try:
                    return self._run()
                except TrainingDiverged as event:
                    self.recovery.from_divergence(event)
                except RankLostError as error:
                    raise RankLostError(f"{error}; the last checkpoint stays. Start it again with --resume") from None
                except (RuntimeError, NotImplementedError) as error:
                    self.recovery.from_device(error)
        finally:
            self.timer.pause()
            self.metrics.tell("on_end", self)

    def _run(self) -> TrainingResult:
        while not self.finished:
            self.train_epoch()
        return self._stop() if self._stopping and self.step < self.total_steps else self._finish()

    def train_epoch(self) -> float:
        """Train to the end of the present epoch (or of the run); return the mean loss in nats per character."""
        self.model.train()
        total = weight = 0.0
        for x, y in self.train_batches.epoch(self.epoch, self.batch):
            loss = self.train_step(x, y)
            self._advance()
            share = self._share(y)
            self.metrics.add_step(loss, self.train_batches.batch_size * y.shape[1], share)
            self._after_step(loss)
            total, weight = total + share * loss, weight + share
            if self.finished:
                break
        return total / (weight or 1)

    def train_step(self, x: torch.Tensor, y: torch.Tensor) -> float:
        """Learn from one batch.

        Args:
            x: input ids (B, T).
            y: target ids (B, T), ``x`` one character later.

        Returns:
            The mean loss in nats per character, before the update.

        Raises:
            TrainingDiverged: the loss or the gradient has gone astray; no update was made.
        """
        began, micro_batch = self.timer.now(), self.stepper.micro_batch
        rate = self.plan.learning_rate(self.step) * self._share(x)
        recorded = (self.step + 1) % self.config.logging.log_interval == 0
        value, hidden = self.stepper.step(x, y, self.hidden, rate, measure=recorded)
        self.stepper.averaging.after_step(self.step + 1)
        self.hidden = hidden if self.train_batches.carries_state else None
        self.timer.in_steps += self.timer.now() - began
        if self.stepper.micro_batch != micro_batch:
            self.tell_event({"event": "memory", "micro_batch": self.stepper.micro_batch})
        return value

    @property
    def finished(self) -> bool:
        """Whether no further step is to be made."""
        return self._stopping or self.plan.out_of_patience or self.step >= self.total_steps

    def request_stop(self) -> None:
        """Ask to stop after the present step and save; safe to call from a signal handler."""
        self._stop_wanted = True

    @property
    def _stopping(self) -> bool:
        """Whether to stop; several processes do so after the same step."""
        return self._stop_wanted if self.group.alone else self._stop_agreed

    def validate(self) -> float:
        """Return the loss on the whole validation split, in nats per character.

        Raises:
            KeyError: there is no validation split.
        """
        return self.evaluate("val").loss

    def evaluate(self, split: str) -> Evaluation:
        """Measure the model as it is on a split; its training mode, generators and carried state stay as they are.

        Of a split, ``training.eval_characters`` are predicted, or all.

        Raises:
            KeyError: there is no such split.
        """
        return self.measure(split, self.plan.eval_characters)

    def measure(self, split: str, characters: int | None) -> Evaluation:
        """Evaluate a split, or about so many characters of it, and note what one of them takes."""
        began, text = self.timer.now(), self.dataloaders[split].split
        progress = partial(self.metrics.tell, "on_evaluating", split)
        evaluation = evaluate(self.stepper.trained, text, self.device, self.group, characters, progress)
        seconds = self.group.broadcast(self.timer.now() - began)
        self.timer.per_character = seconds / evaluation.characters
        return evaluation

    def evaluate_and_save(self) -> Evaluation | None:
        """Evaluate the validation split, keep the model if it is the best so far, save, and show a sample.

        Raises:
            TrainingDiverged: the validation loss is not a finite number; nothing was saved.
        """
        began = self.timer.now()
        val = None
        if "val" in self.dataloaders:
            val = self.evaluate("val")
            self.metrics.record_evaluation(self.position(), "val", val)
            if not math.isfinite(val.loss):
                raise TrainingDiverged(f"the validation loss is {val.loss}")
            improved = val.loss < self.checkpoints.best_loss
            if improved:
                self.checkpoints.keep_best(val.loss, self.stepper.trained, self.repeatable_config(), self.position())
            self.plan.evaluated(self.step, improved=improved)
            if self.stepper.averaging.evaluated(self.step, val.loss):
                self.tell_event({"event": "averaging"})
        self.keep_evaluated(val)
        self.save()
        self._show_sample()
        self._val, self._evaluated_at = val, self.step
        self.timer.in_evaluation = self.timer.now() - began
        self.metrics.restart_clock()
        return val

    def keep_evaluated(self, val: Evaluation | None) -> None:
        """Write what is kept of every evaluation beside the best; nothing, but in 2015."""

    def _show_sample(self) -> None:
        """Write a sample; the first is due after some seconds, the others at evaluations."""
        self._first_sample_at = math.inf
        if (text := self.sample()) is not None:
            self.metrics.tell("on_sample", self.step, text)
            self.metrics.restart_clock()

    def save_checkpoint(self, path: str | Path) -> Path:
        """Write the model as it is now to a self-contained model file."""
        return self.checkpoints.write_model(path, self.stepper.trained, self.repeatable_config(), self.position())

    def _advance(self) -> None:
        """Count the step and its place in the epoch; at the end of one the streams go back to their beginnings."""
        self.step, self.batch = self.step + 1, self.batch + 1
        if self.batch >= len(self.train_batches):
            self.epoch, self.batch, self.hidden = self.epoch + 1, 0, None

    def _after_step(self, loss: float) -> None:
        self.metrics.tell("on_step", self, loss)
        if self.plan.budget is not None:
            self._refit()
        if self.step % self.config.logging.log_interval == 0:
            self._record_training()
        if not self.group.alone:
            self._stop_agreed = self.group.any(self._stop_wanted)
        if self.step >= self.total_steps:
            return
        if self.step % self.config.training.eval_interval == 0:
            self.evaluate_and_save()
        elif self.step % self.config.logging.save_interval == 0:
            self.save()
        if math.isfinite(self._first_sample_at) and self.seconds >= self._first_sample_at:
            self._show_sample()

    def _refit(self) -> None:
        """Fit the schedule of a timed run anew where it is due, on every rank by the clock of the first."""
        seconds = self.group.broadcast(self.seconds)
        if self.plan.refit_due(self.step, seconds):
            test = self.timer.per_character * self.predicted("test")
            of_first = map(self.group.broadcast, (self.timer.in_steps, self.timer.in_evaluation, test))
            self.plan.refit(self.step, seconds, *of_first)

    def predicted(self, split: str) -> int:
        """Return about how many characters of a split an evaluation predicts, 0 where there is no such split."""
        if split not in self.dataloaders:
            return 0
        whole = self.dataloaders[split].split.predicted
        return min(whole, self.plan.eval_characters or whole)

    def _share(self, ids: torch.Tensor) -> float:
        """Return how long a batch (B, T) is by ``seq_length``; 1 but for random segments."""
        return ids.shape[1] / self.train_batches.seq_length if self.config.training.random_segments else 1.0

    def _record_training(self) -> None:
        rate = self.plan.learning_rate(self.step - 1)
        memory = memory_in_use(self.device)
        self.metrics.record_training(self.position(), rate, self.stepper.gradient_norm, memory)

    def _finish(self) -> TrainingResult:
        """Measure and save the end of the run; then test the best model."""
        if self.metrics.steps:
            self._record_training()
        val, best = self._last_evaluation(), self.stepper.trained
        if self.group.is_first:
            self.checkpoints.load_best(best, self.step)
        self.group.broadcast_parameters(best)
        self.model.load_state_dict(best.state_dict())
        test = None
        if "test" in self.dataloaders:
            test = self.evaluate("test")
            self.metrics.record_evaluation(self.position(), "test", test)
        return self._result(val, test, stopped=False)

    def _stop(self) -> TrainingResult:
        if self.checkpoints.last_saved != self.step:
            self.save()
        return self._result(None, None, stopped=True)

    def _result(self, val: Evaluation | None, test: Evaluation | None, *, stopped: bool) -> TrainingResult:
        checkpoints, early = self.checkpoints, not stopped and self.step < self.total_steps
        return TrainingResult(
            self.step, self.seconds, val, checkpoints.best_loss, checkpoints.best_step, test, stopped, early
        )

    def _last_evaluation(self) -> Evaluation | None:
        """Measure and save the end of the run; only save it where that has just been measured."""
        if self._evaluated_at != self.step:
            return self.evaluate_and_save()
        self.save()
        return self._val
