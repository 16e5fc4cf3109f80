"""The training loop: truncated backpropagation through time with the state carried from batch to batch.

Shapes: B streams (batch), T characters (time).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F

from char_rnn.model_file import BEST, LAST, ModelFile
from char_rnn.models import CharModel, detach_state
from char_rnn.training import checkpoints
from char_rnn.training.callbacks import Callback, Recorder, writers
from char_rnn.training.checkpoints import STATE, CheckpointError, Hidden
from char_rnn.training.guard import LossGuard, TrainingDiverged
from char_rnn.training.metrics import Evaluation, evaluate
from char_rnn.training.optimizers import build_optimizer, set_learning_rate
from char_rnn.training.schedules import Plan

if TYPE_CHECKING:
    from char_rnn.data.dataloader import Batches
    from char_rnn.data.vocabulary import Vocabulary
    from char_rnn.utils.config import Config

_COUNTERS = ("step", "epoch", "batch", "best_step", "_seconds_in_steps", "_seconds_of_evaluation")


@dataclass(frozen=True)
class TrainingResult:
    """How a run ended.

    Attributes:
        step: optimizer steps done.
        seconds: time spent, earlier parts of a resumed run included.
        val: the last evaluation of the validation split; None without one.
        best_val_loss, best_step: the lowest validation loss (nats per character) and where it was reached.
        test: the test split under the best model; None without one.
        stopped: true when the run was asked to stop before its end.
    """

    step: int
    seconds: float
    val: Evaluation | None
    best_val_loss: float
    best_step: int
    test: Evaluation | None
    stopped: bool


class CharRNNTrainer:
    """Trains a model on the batches of a text.

    Args:
        model: a model of this package; it is moved to ``device``.
        dataloaders: from ``create_dataloaders``: ``train``, and ``val`` and ``test`` where those splits are not empty.
        config: the run's configuration; ``training`` and ``logging`` are read here.
        device: where to train.
        vocabulary: the symbols of the ids; needed to write model files.
        run_dir: the run's folder, which must exist; without one nothing is written.
        log_dir: the folder for TensorBoard; ``run_dir/tensorboard`` when not given.
        facts: what else to tell in the model files (the data's name and hash, ...).
        callbacks: listeners besides those that write ``metrics.jsonl`` and the TensorBoard events.
        sample: given the model, returns a text to show at each evaluation.
        clock: seconds, as ``time.perf_counter``.

    Attributes:
        step: optimizer steps done.
        epoch, batch: the position in the data: epochs finished, and batches of the present one.
        best_val_loss: the lowest validation loss so far, in nats per character; infinite before the first evaluation.
        total_steps: where training ends, None until a run of so many minutes has measured its speed.
        last_saved: the step of the last checkpoint, None before the first.
    """

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
        facts: Mapping[str, Any] | None = None,
        callbacks: Sequence[Callback] = (),
        sample: Callable[[CharModel], str] | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        if run_dir is not None and vocabulary is None:
            raise ValueError("a trainer that writes a run folder needs the vocabulary")
        self.device = torch.device(device)
        self.model = model.to(self.device)
        self.dataloaders, self.config, self.vocabulary = dict(dataloaders), config, vocabulary
        self.run_dir = Path(run_dir) if run_dir is not None else None
        self.facts = dict(facts or {})
        self.recorder = Recorder([*writers(self.run_dir, log_dir, config.logging), *callbacks], clock)
        self._sample, self._clock = sample, clock
        self._parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.optimizer = build_optimizer(model, config.training)
        self.plan = Plan(config.training, len(self.dataloaders["train"]))
        self.step = self.epoch = self.batch = 0
        self.hidden: Hidden = None
        self.guard = LossGuard(config.training.explosion_factor)
        self.best_val_loss, self.best_step = math.inf, 0
        self.gradient_norm: float | torch.Tensor = math.nan
        self.last_saved: int | None = None
        self._seconds_before, self._seconds_in_steps, self._seconds_of_evaluation = 0.0, 0.0, 0.0
        self._started = clock()
        self._stop_requested = False

    def train(self) -> TrainingResult:
        """Train to the end (or until asked to stop), evaluate, and save.

        Raises:
            TrainingDiverged: the loss exploded; what was saved before stays.
        """
        self._started = self._clock()
        self.recorder.tell("on_start", self)
        self.recorder.restart_clock()
        val: Evaluation | None = None
        test: Evaluation | None = None
        try:
            while not self.finished:
                self.train_epoch()
            if not self._stop_requested:
                val = self.evaluate_and_save()
                self._load_best()
                test = self._test()
            elif self.last_saved != self.step:
                self.save()
        except TrainingDiverged as event:
            raise TrainingDiverged(self._advice(event)) from None
        finally:
            self._seconds_before, self._started = self.seconds, self._clock()
            self.recorder.tell("on_end", self)
        return TrainingResult(
            self.step, self._seconds_before, val, self.best_val_loss, self.best_step, test, self._stop_requested
        )

    def train_epoch(self) -> float:
        """Train to the end of the present epoch (or of the run); return the mean loss in nats per character."""
        total, steps = 0.0, 0
        for x, y in self.dataloaders["train"].epoch(self.epoch, self.batch):
            loss = self.train_step(x, y)
            self._advance()
            self.recorder.add_step(loss, y.numel())
            self._after_step(loss)
            total, steps = total + loss, steps + 1
            if self.finished:
                break
        return total / max(steps, 1)

    def train_step(self, x: torch.Tensor, y: torch.Tensor) -> float:
        """Learn from one batch.

        Args:
            x: input ids (B, T).
            y: target ids (B, T), ``x`` one character later.

        Returns:
            The mean loss in nats per character, before the update.

        Raises:
            TrainingDiverged: the loss is not finite or far above the first; no update was made.
        """
        began = self._clock()
        log_probs, hidden = self.model(x.to(self.device, non_blocking=True), self.hidden)
        target = y.to(self.device, non_blocking=True)
        loss = F.nll_loss(log_probs.flatten(0, 1), target.flatten())
        for parameter in self._parameters:  # what optimizer.zero_grad() does, without its profiler range
            parameter.grad = None
        loss.backward()  # type: ignore[no-untyped-call]
        value = loss.item()
        self.guard.check(value)
        self._clip_gradients()
        set_learning_rate(self.optimizer, self.plan.schedule.learning_rate(self.step))
        self.optimizer.step()
        self.hidden = detach_state(hidden) if self.dataloaders["train"].carries_state else None
        self._seconds_in_steps += self._clock() - began
        return value

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to do."""
        return self._stop_requested or (self.total_steps is not None and self.step >= self.total_steps)

    @property
    def total_steps(self) -> int | None:
        """Where the run ends; None until a run of so many minutes has measured its speed."""
        return self.plan.total_steps

    @property
    def seconds(self) -> float:
        """Seconds spent on this run, earlier parts of a resumed run included."""
        return self._seconds_before + self._clock() - self._started

    def request_stop(self) -> None:
        """Ask to stop after the present step and save; safe to call from a signal handler."""
        self._stop_requested = True

    def _advance(self) -> None:
        """Count the step and its place in the epoch; at the end of one the streams go back to their beginnings."""
        self.step, self.batch = self.step + 1, self.batch + 1
        if self.batch == len(self.dataloaders["train"]):
            self.epoch, self.batch, self.hidden = self.epoch + 1, 0, None

    def _after_step(self, loss: float) -> None:
        self.recorder.tell("on_step", self, loss)
        if self.plan.refit_due(self.seconds):
            seconds = self._seconds_of_evaluation or self._guess_seconds_of_evaluation()
            self.plan.refit(self.step, self.seconds, self._seconds_in_steps, seconds)
        logging, training = self.config.logging, self.config.training
        if self.step % logging.log_interval == 0:
            rate = self.optimizer.param_groups[0]["lr"]
            self.recorder.record_training(self._position(), rate, float(self.gradient_norm))
        if self.finished:
            return
        if self.step % training.eval_interval == 0:
            self.evaluate_and_save()
        elif self.step % logging.save_interval == 0:
            self.save()

    def _advice(self, event: TrainingDiverged) -> str:
        saved = "nothing was saved yet" if self.last_saved is None else f"the model of step {self.last_saved} is kept"
        if self.run_dir is not None and self.last_saved is not None:
            saved += f" in {self.run_dir}"
        training = self.config.training
        return (
            f"stopped at step {self.step + 1}: {event}; {saved}. Try a lower training.learning_rate (now "
            f"{training.learning_rate:g}), a lower training.grad_clip (now {training.grad_clip:g}), or more "
            f"training.warmup_steps (now {training.warmup_steps})"
        )

    def _clip_gradients(self) -> None:
        """Scale the gradients down to the largest norm allowed, and keep their norm."""
        limit = self.config.training.grad_clip
        if limit > 0:
            self.gradient_norm = torch.nn.utils.clip_grad_norm_(self._parameters, limit)
        elif (self.step + 1) % self.config.logging.log_interval == 0:
            gradients = [p.grad for p in self._parameters if p.grad is not None]
            self.gradient_norm = torch.nn.utils.get_total_norm(gradients)

    def validate(self) -> float:
        """Return the loss on the whole validation split, in nats per character.

        Raises:
            KeyError: there is no validation split.
        """
        return evaluate(self.model, self.dataloaders["val"].split, self.device).loss

    def evaluate_and_save(self) -> Evaluation | None:
        """Evaluate the validation split, keep the model if it is the best so far, save, and show a sample."""
        began = self._clock()
        val = None
        if "val" in self.dataloaders:
            val = evaluate(self.model, self.dataloaders["val"].split, self.device)
            self.recorder.record_evaluation(self._position(), "val", val)
            if val.loss < self.best_val_loss:
                self.best_val_loss, self.best_step = val.loss, self.step
                self._write_model(BEST)
        self.save()
        if self._sample is not None and self.config.logging.sample_length:
            self.recorder.tell("on_sample", self.step, self._sample(self.model))
        self._seconds_of_evaluation = self._clock() - began
        self.recorder.restart_clock()
        return val

    def _test(self) -> Evaluation | None:
        """Evaluate the test split, once."""
        if "test" not in self.dataloaders:
            return None
        test = evaluate(self.model, self.dataloaders["test"].split, self.device)
        self.recorder.record_evaluation(self._position(), "test", test)
        return test

    def _position(self) -> dict[str, float]:
        """Return where the run stands: steps, epochs with their fraction, seconds."""
        epoch = self.epoch + self.batch / len(self.dataloaders["train"])
        return {"step": self.step, "epoch": epoch, "seconds": self.seconds}

    def _guess_seconds_of_evaluation(self) -> float:
        """Before the first evaluation: a forward pass costs about a third of a training step."""
        if "val" not in self.dataloaders:
            return 0.0
        train = self.dataloaders["train"]
        a_character = self._seconds_in_steps / (self.step * train.batch_size * train.seq_length)
        return self.dataloaders["val"].split.predicted * a_character / 3

    def repeatable_config(self) -> Config:
        """Return the configuration that repeats this run exactly: minutes turned into the steps they came to."""
        if self.config.training.minutes is None or self.total_steps is None:
            return self.config
        fitted = {"minutes": None, "max_steps": self.total_steps, "schedule_knots": list(self.plan.schedule.knots)}
        return self.config.model_copy(update={"training": self.config.training.model_copy(update=fitted)})

    def save(self) -> None:
        """Write ``last.safetensors`` and the training state, each in one step."""
        self.last_saved = self.step
        if self.run_dir is None:
            return
        self._write_model(LAST)
        checkpoints.write_state(self.run_dir / STATE, *self.state())

    def save_checkpoint(self, path: str | Path) -> Path:
        """Write the model as it is now to a self-contained model file."""
        if self.vocabulary is None:
            raise ValueError("a model file needs the vocabulary: give it to the trainer")
        tensors = {name: tensor.detach().cpu().numpy() for name, tensor in self.model.state_dict().items()}
        facts = {**self.facts, **self._position()}
        if math.isfinite(self.best_val_loss):
            facts |= {"best_val_loss": self.best_val_loss, "best_step": self.best_step}
        return ModelFile(self.repeatable_config(), self.vocabulary, tensors, facts).write(path)

    def state(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """Return all that is needed to go on: tensors by prefixed name, and counters that JSON can hold."""
        tensors = {
            **checkpoints.pack("model", self.model.state_dict()),
            **checkpoints.pack("optimizer", checkpoints.optimizer_tensors(self.model, self.optimizer)),
            **checkpoints.pack("hidden", checkpoints.hidden_tensors(self.hidden)),
            **checkpoints.pack("rng", checkpoints.rng_tensors(self.device)),
        }
        counters = {
            **{name: getattr(self, name) for name in _COUNTERS},
            "best_val_loss": self.best_val_loss if math.isfinite(self.best_val_loss) else None,
            "seconds": self.seconds,
            "first_loss": self.guard.first,
            "interval": self.recorder.interval(),
            "plan": self.plan.state(),
            "data": self.facts.get("data_sha256"),
        }
        return tensors, counters

    def load_state(self, tensors: Mapping[str, torch.Tensor], counters: Mapping[str, Any]) -> None:
        """Take up what ``state`` returned.

        Raises:
            CheckpointError: it belongs to another model or another text.
        """
        if counters.get("data") != self.facts.get("data_sha256"):
            raise CheckpointError(
                "the text is not the one this run was trained on; to go on with another text, start a new run "
                "from the model with --init-from"
            )
        try:
            self.model.load_state_dict(checkpoints.unpack("model", tensors))
            for name in _COUNTERS:
                setattr(self, name, counters[name])
            self.guard.first = counters["first_loss"]
            best = counters["best_val_loss"]
            self.best_val_loss = math.inf if best is None else float(best)
            self._seconds_before, self._started = float(counters["seconds"]), self._clock()
            self.recorder.load_interval(counters["interval"])
            self.plan.load_state(counters["plan"])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise CheckpointError(f"the training state does not fit this run ({str(error).splitlines()[0]})") from None
        checkpoints.restore_optimizer(self.model, self.optimizer, checkpoints.unpack("optimizer", tensors))
        self.hidden = checkpoints.restore_hidden(checkpoints.unpack("hidden", tensors), self.device)
        checkpoints.restore_rng(self.device, checkpoints.unpack("rng", tensors))
        self.last_saved = self.step

    def _load_best(self) -> None:
        """Put the best parameters into the model; the last ones stay where no validation split has named a best."""
        if self.run_dir is not None and self.best_step and (self.run_dir / BEST).is_file():
            tensors = ModelFile.read(self.run_dir / BEST).tensors
            self.model.load_state_dict({name: torch.from_numpy(array) for name, array in tensors.items()})

    def _write_model(self, name: str) -> None:
        if self.run_dir is not None:
            self.save_checkpoint(self.run_dir / name)
