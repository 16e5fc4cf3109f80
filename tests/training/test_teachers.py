"""Learning from teachers: their predictions, their states, and what runs with them store and check."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import count, islice
from pathlib import Path
from typing import Any

import pytest
import torch
from training_helpers import Breaks, StopAt, rose_config, small_config

from char_rnn.data.dataloader import StreamBatches
from char_rnn.data.vocabulary import Vocabulary
from char_rnn.model_file import ModelFile
from char_rnn.models import CharModel, build_model
from char_rnn.training import CharRNNTrainer, CheckpointError
from char_rnn.training import teachers as module
from char_rnn.training.run import Run, resume_run, start_run
from char_rnn.training.teachers import Teacher, Teachers, open_teachers
from char_rnn.utils.config import Config, ModelConfig, TrainingConfig, load_config

MakeTrainer = Callable[..., CharRNNTrainer]

SYMBOLS = 11


def model(kind: str = "lstm", hidden: int = 6, **options: Any) -> CharModel:
    torch.manual_seed(hidden)
    sizes = {"hidden_size": hidden, "num_layers": 1, "initialization": "xavier"}
    return build_model(ModelConfig(type=kind, **sizes, **options), SYMBOLS)


class Repeated:
    """Two batches of three streams, the same in every epoch."""

    batch_size, seq_length, carries_state = 3, 5, True

    def __len__(self) -> int:
        return 2

    def epoch(self, number: int, start: int = 0) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        ids = torch.randint(0, SYMBOLS, (3, 10), generator=torch.Generator().manual_seed(3))
        return ((x, x) for x in ids.split(5, 1)[start:])


def teachers(*models: CharModel, temperature: float = 1.0, clock: Any = time.perf_counter) -> Teachers:
    settings = {"teacher": ["a"] * len(models), "teacher_weight": 0.25, "teacher_temperature": temperature}
    given = [Teacher("a", each, "") for each in models]
    return Teachers(given, TrainingConfig.model_validate(settings), Repeated(), clock)  # type: ignore[arg-type]


def read(own: Teachers, batch: int) -> torch.Tensor:
    """Read the batch of an epoch that follows the last one read, or the first."""
    x = next(Repeated().epoch(0, batch))[0]
    soft = own.predict(x, start=batch == 0, position=(0, batch))
    assert soft is not None
    return soft.probabilities


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_teachers_predict_the_mean_of_their_probabilities_without_dropout(temperature: float) -> None:
    models = model(dropout=0.5), model("gru", 7, zoneout=0.2)
    own, x = teachers(*models, temperature=temperature), next(Repeated().epoch(0))[0]
    soft = own.predict(x, start=True)
    assert soft is not None
    q, weight, at = soft
    expected = torch.stack([torch.softmax(each.eval()(x)[0] / temperature, -1) for each in models]).mean(0)
    torch.testing.assert_close(q.float(), expected, rtol=2**-10, atol=1e-7)
    assert (q.dtype, weight, at) == (torch.float16, 0.25, temperature)
    assert not q.requires_grad


@pytest.mark.parametrize("memory", [0, 1 << 20])
def test_their_states_are_carried_from_batch_to_batch_and_start_from_zero(
    monkeypatch: pytest.MonkeyPatch, memory: int
) -> None:
    monkeypatch.setattr(module, "MEMORY", memory)
    own, whole = teachers(model()), torch.cat([x for x, _ in Repeated().epoch(0)], 1)
    expected = model().eval()(whole)[0].softmax(-1)
    for _ in range(3):
        found = torch.cat([read(own, 0), read(own, 1)], 1)
        torch.testing.assert_close(found.float(), expected, rtol=2**-10, atol=1e-7)


@pytest.mark.parametrize("epoch", [0, 1])
def test_they_find_matches_in_the_text_before_the_streams(make_trainer: MakeTrainer, epoch: int) -> None:
    trainer = make_trainer(small_config(model={"dropout": 0.0, "match_lengths": [1], "match_window": 30}))
    batches, training = trainer.train_batches, TrainingConfig(teacher=["a"])
    assert isinstance(batches, StreamBatches)
    hidden, parts = trainer.model.init_hidden(batches.batch_size), [x for x, _ in islice(batches.epoch(epoch), 3)]
    hidden[-1][0] = batches.history(epoch, 30)
    own = Teachers([Teacher("a", trainer.model, "")], training, batches, time.perf_counter)
    expected = trainer.model(torch.cat(parts, 1), hidden)[0].exp()
    for _ in range(2):  # computed, then after two stored ones, whose states are made again
        found = []
        for batch, x in enumerate(parts):
            soft = own.predict(x, start=batch == 0, position=(epoch, batch))
            assert soft is not None
            found.append(soft.probabilities)
        torch.testing.assert_close(torch.cat(found, 1).float(), expected, rtol=2**-10, atol=1e-6)
        own._stored.popitem()


def test_the_predictions_of_repeated_batches_are_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    own, clock = teachers(model(), clock=count().__next__), []
    first = [read(own, 0), read(own, 1)]
    assert own.seconds_once == 1
    monkeypatch.setattr(own.models[0], "forward", None)  # no prediction is computed again
    for batch in (0, 1, 0, 1):
        assert torch.equal(read(own, batch), first[batch])
        clock.append(own.seconds_once)
    assert clock == [0] * 4


def test_another_text_is_not_taken_for_a_stored_one() -> None:
    own = teachers(model())
    read(own, 0), read(own, 1)
    other = next(Repeated().epoch(0, 1))[0].flip(1)
    read(own, 0)
    soft = own.predict(other, start=False, position=(0, 1))
    assert soft is not None
    whole = torch.cat([next(Repeated().epoch(0))[0], other], 1)
    expected = model().eval()(whole)[0].softmax(-1)[:, 5:]
    torch.testing.assert_close(soft.probabilities.float(), expected, rtol=2**-10, atol=1e-7)


def test_a_teacher_that_runs_out_of_memory_reads_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    own, small = teachers(model()), teachers(model())
    by_chunks = small._by_chunks

    def limited(ids: torch.Tensor, chunk: int) -> Any:
        if chunk > 2:
            raise MemoryError
        return by_chunks(ids, chunk)

    monkeypatch.setattr(small, "_by_chunks", limited)
    torch.testing.assert_close(read(small, 0), read(own, 0))
    torch.testing.assert_close(small.states, own.states)


def test_out_of_memory_for_one_step_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> Any:
        raise MemoryError("one step")

    own = teachers(model())
    monkeypatch.setattr(own, "_by_chunks", full)
    with pytest.raises(MemoryError, match="one step"):
        own.predict(torch.zeros(3, 1, dtype=torch.long), start=True)


@pytest.mark.parametrize("batching", ["streams", "windows"])
def test_a_run_is_the_same_without_memory_for_predictions(
    make_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch, batching: str
) -> None:
    config = small_config(training={"teacher": "gru", "max_epochs": 4, "max_steps": 45}, data={"batching": batching})
    found = []
    for memory in (module.MEMORY, 0):
        monkeypatch.setattr(module, "MEMORY", memory)
        trainer = make_trainer(config)
        trainer.train()
        assert bool(trainer.teachers._stored) == (memory > 0 and batching == "streams")
        found.append(trainer.model.state_dict())
    for name, tensor in found[0].items():
        assert torch.equal(tensor, found[1][name]), name


@pytest.mark.parametrize(("memory", "expected"), [(1 << 20, 1), (0, 11)])
def test_the_pace_of_a_timed_run_is_that_of_later_epochs(
    make_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch, memory: int, expected: int
) -> None:
    """With a prediction of 10 seconds, which is stored, and a step of 1 second."""
    monkeypatch.setattr(module, "MEMORY", memory)
    now = 0.0
    trainer = make_trainer(small_config(training={"teacher": "rnn"}), clock=lambda: now)

    def taking(seconds: float, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **options: Any) -> Any:
            nonlocal now
            now += seconds
            return function(*arguments, **options)

        return timed

    monkeypatch.setattr(trainer.teachers, "_by_chunks", taking(10, trainer.teachers._by_chunks))
    monkeypatch.setattr(trainer.stepper, "step", taking(1, trainer.stepper.step))
    for x, y in list(trainer.train_batches.epoch(0))[:4]:
        trainer.train_step(x, y)
    assert trainer.timer.seconds_in_steps == 4 * expected
    assert trainer.seconds == 44


def test_a_run_that_rolls_back_goes_on_with_the_states_of_its_teachers(make_trainer: MakeTrainer) -> None:
    training = {"teacher": "lstm", "max_epochs": 10, "max_steps": 60, "eval_interval": 10}
    trainer = make_trainer(small_config(training=training), callbacks=[Breaks(53)])
    trainer.train()
    assert trainer.plan.halvings == 1
    *before, x = (x for x, _ in trainer.train_batches.epoch(2, 0))
    [teacher] = trainer.teachers.given
    expected = teacher.model(torch.cat([*before, x], 1))[0][:, -x.shape[1] :].exp()
    soft = trainer.teachers.predict(x, start=False, position=(2, len(before)))
    assert soft is not None
    assert trainer.step == 60
    torch.testing.assert_close(soft.probabilities.float(), expected, rtol=2**-10, atol=1e-6)


def test_the_recorded_loss_is_that_of_the_text(make_trainer: MakeTrainer) -> None:
    plain, taught = make_trainer(), make_trainer(small_config(training={"teacher": "lstm", "teacher_weight": 0.9}))
    x, y = next(plain.train_batches.epoch(0))
    torch.manual_seed(5)
    expected = plain.train_step(x, y)
    torch.manual_seed(5)
    assert taught.train_step(x, y) == pytest.approx(expected, rel=1e-6)
    gradients = [torch.cat([p.grad.flatten() for p in each.stepper.parameters]) for each in (plain, taught)]
    assert not torch.allclose(*gradients)


def test_with_all_weight_a_student_approaches_its_teacher(make_trainer: MakeTrainer) -> None:
    training = {"teacher": "lstm", "teacher_weight": 1.0, "max_epochs": 10, "learning_rate": 0.03}
    trainer = make_trainer(small_config(training=training, model={"dropout": 0.0}))
    [teacher] = trainer.teachers.given
    x = next(trainer.train_batches.epoch(0))[0]

    def divergence() -> float:
        with torch.no_grad():
            own, of_teacher = trainer.model(x)[0], teacher.model(x)[0]
        return float((of_teacher.exp() * (of_teacher - own)).sum(-1).mean())

    before = divergence()
    trainer.train()
    assert divergence() < 0.3 * before


@pytest.mark.parametrize("precision", ["bfloat16", "float64"])
def test_a_student_learns_in_every_precision(make_trainer: MakeTrainer, precision: str) -> None:
    training = {"teacher": ["lstm", "gru"], "precision": precision, "max_epochs": 1}
    found, single = (
        make_trainer(small_config(training={**training, **changes}, model={"dropout": 0.0}))
        for changes in ({}, {"precision": "float32"})
    )
    x, y = next(found.train_batches.epoch(0))
    assert found.train_step(x, y) == pytest.approx(single.train_step(x, y), rel=0.01)
    for own, expected in zip(found.stepper.parameters, single.stepper.parameters, strict=True):
        assert own.grad is not None
        assert expected.grad is not None
        torch.testing.assert_close(
            own.grad.float(), expected.grad, rtol=0.1, atol=0.02 * float(expected.grad.abs().max())
        )


@pytest.mark.parametrize("size", [1, 3])
def test_the_gradient_is_the_same_in_parts(make_trainer: MakeTrainer, size: int) -> None:
    found = []
    for micro_batch in (None, size):
        training = {"teacher": ["lstm", "gru"], "micro_batch_size": micro_batch, "precision": "float64"}
        trainer = make_trainer(small_config(training=training, model={"dropout": 0.0}))
        for x, y in list(trainer.train_batches.epoch(0))[:3]:
            trainer.train_step(x, y)
        found.append(torch.cat([p.grad.flatten() for p in trainer.stepper.parameters if p.grad is not None]))
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-12)


def test_a_trainer_without_the_models_it_should_learn_from_is_refused(make_trainer: MakeTrainer) -> None:
    with pytest.raises(ValueError, match=r"names 1 model, but the trainer was given 0 teachers; open_teachers"):
        make_trainer(small_config(training={"teacher": "lstm"}), teachers=[])


def taught_run(folder: Path) -> Run:
    """Train a teacher, then start a run that learns from it."""
    config = rose_config(folder)
    start_run(config, folder / "teacher").train()
    training = {"teacher": str(folder / "teacher"), "teacher_weight": 0.7}
    return start_run(changed(config, training), folder / "student")


def changed(config: Config, training: dict[str, Any]) -> Config:
    return config.model_copy(update={"training": config.training.model_copy(update=training)})


def test_a_run_records_its_teachers_by_name_and_is_resumed_with_them(tmp_path: Path) -> None:
    run = taught_run(tmp_path)
    run.trainer.metrics.callbacks.append(StopAt(7))
    run.train()
    file = ModelFile.read(tmp_path / "student" / "last.safetensors")
    assert file.training["teacher"] == ["teacher"]
    assert file.config.training.teacher == "teacher"
    [teacher] = run.trainer.teachers.given
    assert file.training["teacher_sha256"] == [teacher.sha256]
    config = load_config(tmp_path / "student" / "config.yaml")
    assert config.training.teacher == str(tmp_path / "teacher")
    resumed = resume_run(config, tmp_path / "student")
    assert resumed.trainer.step == 7
    resumed.train()
    again = tmp_path / "again"
    again.mkdir()
    whole = taught_run(again)
    whole.train()
    for name, tensor in whole.trainer.model.state_dict().items():
        assert torch.equal(tensor, resumed.trainer.model.state_dict()[name]), name


def test_a_teacher_that_changed_or_is_missing_ends_a_resume_in_one_line(tmp_path: Path) -> None:
    run = taught_run(tmp_path)
    run.trainer.metrics.callbacks.append(StopAt(3))
    run.train()
    config = load_config(tmp_path / "student" / "config.yaml")
    path = tmp_path / "teacher" / "best.safetensors"
    saved = path.read_bytes()
    file = ModelFile.read(path)
    bias = file.tensors["output_proj.bias"]
    ModelFile(file.config, file.vocabulary, {**file.tensors, "output_proj.bias": bias + 1}).write(path)
    with pytest.raises(CheckpointError, match=r"teacher is not the model that the run was trained with"):
        resume_run(config, tmp_path / "student")
    (tmp_path / "teacher").rename(tmp_path / "moved")
    with pytest.raises(FileNotFoundError, match=r"^training.teacher: .*teacher: no such model file or run folder"):
        resume_run(config, tmp_path / "student")
    (tmp_path / "moved" / "best.safetensors").write_bytes(saved)
    moved = changed(config, {"teacher": str(tmp_path / "moved")})
    assert resume_run(moved, tmp_path / "student").trainer.step == 3
    none = changed(config, {"teacher": None})
    with pytest.raises(CheckpointError, match=r"was trained with 1 teacher, not 0; restore training.teacher"):
        resume_run(none, tmp_path / "student")


@pytest.mark.parametrize(
    ("own", "reason"),
    [
        (Vocabulary.from_text("abcz"), "lacks 'd' and has 'z'"),
        (Vocabulary.from_text("abcdefghijklm"), "has 'e', 'f', 'g', 'h', 'i' and 4 more"),
        (Vocabulary.from_text(b"abcd", "bytes"), "has bytes, not characters"),
    ],
)
def test_teachers_must_have_the_symbols_of_the_text(own: Vocabulary, reason: str) -> None:
    file = ModelFile(Config(), own, {})
    with pytest.raises(ValueError, match=rf"^training.teacher: the vocabulary of runs/a {reason}, compared with"):
        open_teachers(["runs/a"], Vocabulary.from_text("abcd"), lambda _: file)


def test_the_digest_is_of_weights_names_and_shapes() -> None:
    weights = torch.arange(4, dtype=torch.float32)
    files = [
        ModelFile(Config(), Vocabulary.from_text("ab"), tensors)
        for tensors in (
            {"a": weights.numpy()},
            {"b": weights.numpy()},
            {"a": weights.view(2, 2).numpy()},
            {"a": weights.numpy() + 1},
        )
    ]
    assert len({module._digest(file) for file in files}) == len(files)
