"""The mean of the parameters: the recursion, when it begins, and that going back takes it along."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from training_helpers import small_config

from char_rnn.models import CharLSTM
from char_rnn.training import Callback, CharRNNTrainer
from char_rnn.training.optimizers import Averaging
from char_rnn.utils.config import TrainingConfig
from char_rnn.utils.device import DeviceManager

MakeTrainer = Callable[..., CharRNNTrainer]


def averaging_of(**training: Any) -> tuple[CharLSTM, Averaging]:
    model = CharLSTM(3, 2, 1).double()
    return model, Averaging(model, TrainingConfig(**training), torch.device("cpu"))


def set_to(model: CharLSTM, value: float) -> None:
    with torch.no_grad():
        model.output_proj.bias.fill_(value)


def test_ema_is_the_recursion() -> None:
    """At first the decay is at most (1 + n) / (10 + n): 2/11, 3/12, 4/13, ... up to the 0.25 it is set to."""
    model, averaging = averaging_of(averaging="ema", averaging_decay=0.25, averaging_start=2)
    expected = None
    for step, value in enumerate([5.0, -3.0, 11.0, 22.0, 3.0, 7.0], 1):
        set_to(model, value)
        averaging.after_step(step)
        assert (averaging.model is model) == (step <= 2)
        if step > 2:
            decay = [None, None, None, 2 / 11, 0.25, 0.25][step - 1]
            expected = value if expected is None or decay is None else decay * expected + (1 - decay) * value
            torch.testing.assert_close(
                averaging.model.output_proj.bias, torch.full((3,), expected, dtype=torch.float64), rtol=1e-15, atol=0
            )
    assert expected == 7.0625


def test_polyak_is_the_mean_of_the_steps_after_the_start() -> None:
    model, averaging = averaging_of(averaging="polyak", averaging_start=2)
    for step, value in enumerate([9.0, 9.0, 3.0, 4.0, 8.0], 1):
        set_to(model, value)
        averaging.after_step(step)
    torch.testing.assert_close(averaging.model.output_proj.bias, torch.full((3,), 5.0, dtype=torch.float64))


class Log(Callback):
    """Remembers the events, and after step 60 the parameters and their mean."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.model: dict[str, torch.Tensor] = {}
        self.mean: dict[str, torch.Tensor] = {}

    def on_step(self, trainer: CharRNNTrainer, loss: float) -> None:
        if trainer.step == 60:
            self.model = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
            self.mean = {name: tensor.clone() for name, tensor in trainer.stepper.averaging.tensors().items()}

    def on_event(self, trainer: CharRNNTrainer, event: Any) -> None:
        self.events.append(dict(event))


def test_the_decay_may_be_changed_on_the_way(make_trainer: MakeTrainer) -> None:
    class Stops(Callback):
        def on_step(self, trainer: CharRNNTrainer, loss: float) -> None:
            trainer.request_stop()

    first = make_trainer(small_config(training={"averaging": "ema"}), callbacks=[Stops()])
    first.train()
    state = first.state_dict()
    mean = state[0]["average.module.output_proj.bias"].clone()
    changed = make_trainer(small_config(training={"averaging": "ema", "averaging_decay": 0.5}))
    changed.load_state_dict(state)
    changed.stepper.averaging.after_step(2)
    expected = (mean + changed.model.output_proj.bias.detach()) / 2
    torch.testing.assert_close(changed.stepper.averaging.model.output_proj.bias.detach(), expected)


def test_going_back_past_the_start_takes_the_mean_back(make_trainer: MakeTrainer) -> None:
    """The model is ruined after step 13: the run returns to step 10, and averages nothing before step 12."""
    seen: list[tuple[int, bool]] = []

    class Ruins(Callback):
        def on_step(self, trainer: CharRNNTrainer, loss: float) -> None:
            if trainer.step == 13 and not seen:
                assert trainer.stepper.averaging.model is not trainer.model
                with torch.no_grad():
                    trainer.model.output_proj.weight.fill_(torch.nan)

        def on_event(self, trainer: CharRNNTrainer, event: Any) -> None:
            seen.append((event["step"], trainer.stepper.averaging.model is trainer.model))

    averaging = {"averaging": "polyak", "averaging_start": 11}
    config = small_config(training={**averaging, "eval_interval": 5, "max_steps": 20, "max_epochs": 10})
    make_trainer(config, callbacks=[Ruins()]).train()
    assert seen == [(10, True)]


class Leaves(DeviceManager):
    """A device that is the CPU under another name, and may be left."""

    def __init__(self) -> None:
        self.device, self.fallback = torch.device("cuda"), True


def test_another_device_goes_on_averaging(make_trainer: MakeTrainer) -> None:
    training = {"averaging": "polyak", "averaging_start": 20, "eval_interval": 5, "max_steps": 60, "max_epochs": 10}
    config, whole, left = small_config(training=training), Log(), Log()
    make_trainer(config, callbacks=[whole]).train()
    trainer = make_trainer(config, callbacks=[left], manager=Leaves())
    update, failing = trainer.stepper.update, 33

    def fails(rate: float) -> None:
        if trainer.step + 1 == failing:
            raise RuntimeError("CUDA error: device-side assert triggered")
        update(rate)

    trainer.stepper.update = fails  # type: ignore[method-assign]
    trainer.train()
    assert [event["event"] for event in left.events] == ["device"]
    for found, expected in ((left.model, whole.model), (left.mean, whole.mean)):
        assert all(torch.equal(tensor, found[name]) for name, tensor in expected.items())
