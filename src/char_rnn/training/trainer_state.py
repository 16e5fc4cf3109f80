"""What a trainer holds, and how it is kept and taken up again: model, place in the text, what counts and tells."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from char_rnn.models import CharModel
from char_rnn.training.callbacks import Callback, writers
from char_rnn.training.checkpoints import Hidden
from char_rnn.training.evaluation import Evaluation
from char_rnn.training.keeping import CheckpointWriter
from char_rnn.training.metrics import MetricsLogger
from char_rnn.training.process_group import ProcessGroup
from char_rnn.training.recovery import Recovery
from char_rnn.training.resume import capture, restore
from char_rnn.training.schedule_plan import SchedulePlan
from char_rnn.training.time_budget import Timer
from char_rnn.training.train_step import TrainStep
from char_rnn.utils.device import forked_rng

if TYPE_CHECKING:
    from char_rnn.data.dataloader import Batches
    from char_rnn.data.vocabulary import Vocabulary
    from char_rnn.utils.config import Config
    from char_rnn.utils.device import DeviceManager


class TrainerState:
    """All that :class:`char_rnn.training.trainer.CharRNNTrainer` has but the loop; see there for the arguments."""

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
    ) -> None:
        self.dataloaders, self.config = dict(dataloaders), config
        self.train_batches = self.dataloaders["train"]
        self.run_dir = Path(run_dir) if run_dir is not None else None
        self.checkpoints = CheckpointWriter(self.run_dir, vocabulary, metadata or {}, config.logging.keep)
        self.metrics = MetricsLogger([*writers(self.run_dir, log_dir, config.logging), *callbacks], clock)
        self._sample, self.timer = sample, Timer(clock)
        self.group, self.recovery = group or ProcessGroup(), Recovery(self, manager)
        self.model = model
        self.settle(torch.device(device))
        self.group.seed_apart(config.training.seed)
        self.plan = SchedulePlan(config.training, len(self.train_batches), validated="val" in self.dataloaders)
        self.step = self.epoch = self.batch = 0
        self.hidden: Hidden = None
        self.event: dict[str, Any] | None = None
        self._stop_wanted = self._stop_agreed = False
        self._val: Evaluation | None = None
        self._evaluated_at: int | None = None
        self._first_sample_at = math.inf

    @property
    def total_steps(self) -> int:
        """Where the run ends; in a run of so many minutes, as far as its speed is known."""
        return self.plan.total_steps

    @property
    def seconds(self) -> float:
        """Seconds spent on this run, earlier parts of a resumed run included."""
        return self.timer.seconds

    @property
    def failing_step(self) -> int:
        """The step whose loss or gradient has gone astray: the one that was not made."""
        return self.step + 1

    def state(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """Return all that is needed to go on: tensors by prefixed name, and counters that JSON can hold."""
        return capture(self)

    def load_state(self, tensors: Mapping[str, torch.Tensor], counters: Mapping[str, Any]) -> None:
        """Take up what ``state`` returned.

        Raises:
            CheckpointError: it belongs to another model, another text or another way of reading it.
        """
        restore(self, tensors, counters)
        self.checkpoints.last_saved = self.step

    def settle(self, device: torch.device) -> None:
        """Go to a device, with nothing but the model; ``load_state`` brings the rest."""
        self.device = device
        self.model = self.model.to(device)
        self.stepper = TrainStep(self.model, self.config.training, device, self.train_batches.batch_size, self.group)

    def save(self) -> None:
        """Write the models and the training state, each in one step; nothing without a run folder.

        The state comes last: a run that is killed before it goes on from the state before, and makes again what it had
        written since. What came after the state would be lost. All processes of a run have to call this together.
        """
        began = self.timer.now()
        state, config, position = self.state(), self.repeatable_config(), self.position()
        self.metrics.tell("on_save", self)
        if self.step % self.config.logging.save_interval == 0 and self.step:
            self.checkpoints.keep_on_the_way(self.stepper.trained, config, position)
        self.checkpoints.save(self.stepper.trained, config, position, state)
        self.recovery.remember(*state)
        self.timer.in_saving = self.timer.now() - began

    def sample(self) -> str | None:
        """Return a text of the model as it is; None where no samples are asked for.

        When the first one is due depends on the clock, so it must not move the generators that training draws from.
        """
        if self._sample is None or not self.config.logging.sample_length:
            return None
        with forked_rng(self.device):
            return self._sample(self.stepper.trained)

    def went_back(self, event: dict[str, Any]) -> None:
        """Save the state that the run has gone back to, and tell about it.

        The event is in the state, for a run that is killed before it is recorded. The other order would cut the records
        back behind a later state that is still on the disk.
        """
        self.event = {"step": self.step, **event}
        self.save()
        self.tell_event(event)
        self.event = None
        self.metrics.restart_clock()

    def repeatable_config(self) -> Config:
        """Return the configuration that repeats this run exactly: minutes turned into the steps they came to."""
        if self.plan.budget is None or not (self.step >= self.total_steps or self.plan.out_of_patience):
            return self.config
        fitted = {
            "minutes": None,
            "max_steps": self.total_steps,
            "horizons": list(self.plan.schedule.horizons),
            "eval_characters": self.plan.eval_characters,
        }
        return self.config.model_copy(update={"training": self.config.training.model_copy(update=fitted)})

    def position(self) -> dict[str, float]:
        """Return where the run stands: steps, epochs with their fraction, seconds."""
        return {"step": self.step, "epoch": self.epoch + self.batch / len(self.train_batches), "seconds": self.seconds}

    def tell_event(self, event: dict[str, Any]) -> None:
        """Tell the listeners what happened, after which step."""
        self.metrics.tell("on_event", self, {"step": self.step, **event})
