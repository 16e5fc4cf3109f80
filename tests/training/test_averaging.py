"""The mean of the parameters: the recursion, when it begins, and that going back takes it along."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from hypothesis import given
from hypothesis import strategies as st
from training_helpers import STALLING, small_config, timeless

from char_rnn.models import CharLSTM
from char_rnn.training import Callback, CharRNNTrainer
from char_rnn.training.averaging import Averaging
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


def algorithm_1(losses: list[float], patience: int) -> int | None:
    """Merity, Keskar and Socher 2018: the evaluation, from 0, at which the averaging begins."""
    logs: list[float] = []
    for t, loss in enumerate(losses):
        if t > patience and loss > min(logs[index] for index in range(t - patience)):
            return t
        logs.append(loss)
    return None


@given(st.lists(st.integers(0, 12).map(float), max_size=25), st.integers(1, 6))
def test_nt_asgd_begins_when_it_should(losses: list[float], patience: int) -> None:
    _, averaging = averaging_of(averaging="nt-asgd", averaging_patience=patience)
    told = [number for number, loss in enumerate(losses) if averaging.evaluated(10 * number, loss)]
    begins = algorithm_1(losses, patience)
    assert told == ([] if begins is None else [begins])
    assert averaging.began == (None if begins is None else 10 * begins)


def test_an_evaluation_counts_once() -> None:
    """A resumed run may evaluate again where it was saved."""
    _, averaging = averaging_of(averaging="nt-asgd", averaging_patience=1)
    told = [averaging.evaluated(step, loss) for step, loss in [(10, 1.0), (10, 1.0), (20, 2.0), (20, 2.0), (30, 2.0)]]
    assert told == [False, False, False, False, True]
    assert not averaging.evaluated(30, 9.0)


def test_nt_asgd_can_be_held_back() -> None:
    _, averaging = averaging_of(averaging="nt-asgd", averaging_patience=1, averaging_start=40)
    assert [step for step in range(10, 70, 10) if averaging.evaluated(step, float(step))] == [40]


def test_nt_asgd_averages_from_the_step_at_which_it_begins() -> None:
    model, averaging = averaging_of(averaging="nt-asgd", averaging_patience=1)
    for step, (value, loss) in enumerate([(9.0, 1.0), (9.0, 2.0), (3.0, 2.0), (4.0, 0.0), (8.0, 0.0)], 1):
        set_to(model, value)
        averaging.after_step(step)
        averaging.evaluated(step, loss)
    assert averaging.began == 3
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

    def began(self) -> list[int]:
        return [event["step"] for event in self.events if event["event"] == "averaging"]


def test_a_run_averages_as_polyak_does_from_there(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    """The mean at the end is that over the steps from the event on, to the bit; the event is written down once."""
    run, log = {**STALLING, "max_steps": 60, "max_epochs": 10}, Log()
    trainer = make_trainer(small_config(training=run), run_dir=tmp_path, callbacks=[log])
    trainer.train()
    (began,) = log.began()
    assert 10 < began < 60
    assert began == trainer.stepper.averaging.began
    losses = {r["step"]: r["loss"] for r in timeless(tmp_path) if r.get("split") == "val"}
    evaluated = [step for step in losses if step <= began]
    assert evaluated[algorithm_1([losses[step] for step in evaluated], 1) or 0] == began
    assert [r for r in timeless(tmp_path) if "event" in r] == [{"step": began, "event": "averaging"}]
    polyak = Log()
    averaged = {**run, "averaging": "polyak", "averaging_start": began - 1}
    make_trainer(small_config(training=averaged), callbacks=[polyak]).train()
    assert int(log.mean["n_averaged"]) == 61 - began
    assert all(torch.equal(tensor, log.mean[name]) for name, tensor in polyak.mean.items())


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
    torch.testing.assert_close(changed.stepper.trained.output_proj.bias.detach(), expected)


def test_going_back_past_the_event_takes_it_back(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    """The model is ruined right as the averaging begins: the run goes back to before, and averages nothing there."""
    seen: list[tuple[int | None, bool, int]] = []

    class Ruins(Log):
        def on_event(self, trainer: CharRNNTrainer, event: Any) -> None:
            super().on_event(trainer, event)
            if event["event"] == "rollback":
                averaging = trainer.stepper.averaging
                seen.append((averaging.began, averaging.model is trainer.model, averaging.evaluations[-1][0]))
            elif len(self.events) == 1:
                with torch.no_grad():
                    trainer.model.output_proj.weight.fill_(torch.nan)

    log = Ruins()
    config = small_config(training={**STALLING, "max_steps": 60, "max_epochs": 10})
    make_trainer(config, run_dir=tmp_path, callbacks=[log]).train()
    assert [event["event"] for event in log.events[:2]] == ["averaging", "rollback"]
    began, back = (event["step"] for event in log.events[:2])
    assert back == began - 5
    assert seen == [(None, True, back)]
    assert [r["step"] for r in timeless(tmp_path) if r.get("event") == "averaging"] == log.began()[1:]


class Leaves(DeviceManager):
    """A device that is the CPU under another name, and may be left."""

    def __init__(self) -> None:
        self.device, self.fallback = torch.device("cuda"), True


def test_another_device_goes_on_averaging(make_trainer: MakeTrainer) -> None:
    config, whole, left = small_config(training={**STALLING, "max_steps": 60, "max_epochs": 10}), Log(), Log()
    make_trainer(config, callbacks=[whole]).train()
    trainer = make_trainer(config, callbacks=[left], manager=Leaves())
    update, failing = trainer.stepper.update, whole.began()[0] + 3

    def fails(rate: float) -> None:
        if trainer.step + 1 == failing:
            raise RuntimeError("CUDA error: device-side assert triggered")
        update(rate)

    trainer.stepper.update = fails  # type: ignore[method-assign]
    trainer.train()
    assert [event["event"] for event in left.events] == ["averaging", "device"]
    for found, expected in ((left.model, whole.model), (left.mean, whole.mean)):
        assert all(torch.equal(tensor, found[name]) for name, tensor in expected.items())
