"""The training loop: equal to a loop written out, its files, and how it ends."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from training_helpers import (
    AS_IN_2015,
    Log,
    small_config,
    timeless,
)

from char_rnn.data.corpus import Corpus
from char_rnn.data.dataloader import StreamBatches
from char_rnn.model_file import ModelFile
from char_rnn.models import build_model
from char_rnn.training import Callback, CharRNNTrainer, evaluate
from char_rnn.training.callbacks import MetricsWriter
from char_rnn.training.checkpoints import read_state
from char_rnn.training.evaluation import Evaluation
from char_rnn.utils import resources

MakeTrainer = Callable[..., CharRNNTrainer]


def test_the_losses_are_those_of_a_plain_loop(make_trainer: MakeTrainer, corpus: Corpus) -> None:
    """Against nn.Embedding, nn.LSTM, nn.Linear, AdamW, clipping and carried state, written out here."""
    config = small_config(model={"dropout": 0.0}, training={"max_steps": 25, "max_epochs": 100, "grad_clip": 0.5})
    log = Log()
    trainer = make_trainer(config, callbacks=[log])
    weights = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    batches = [(x, y) for epoch in range(3) for x, y in trainer.dataloaders["train"].epoch(epoch)]
    per_epoch = len(trainer.dataloaders["train"])
    trainer.train()

    size = corpus.vocabulary.size
    net = nn.ModuleDict(
        {
            "embedding": nn.Embedding(size, size),
            "lstm": nn.LSTM(size, 12, 2, batch_first=True),
            "output_proj": nn.Linear(12, size),
        }
    )
    net.load_state_dict(weights)
    decayed = [p for p in net.parameters() if p.ndim > 1]
    plain = [p for p in net.parameters() if p.ndim == 1]
    optimizer = torch.optim.AdamW([{"params": decayed, "weight_decay": 1e-5}, {"params": plain, "weight_decay": 0.0}])
    hidden, losses = None, []
    for step, (x, y) in enumerate(batches[:25]):
        if step % per_epoch == 0:
            hidden = None
        out, hidden = net["lstm"](net["embedding"](x), hidden)
        loss = nn.functional.cross_entropy(net["output_proj"](out).flatten(0, 1), y.flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 0.5)
        cosine = (1 + math.cos(math.pi * max(0, step - 5) / 20)) / 2
        for group in optimizer.param_groups:
            group["lr"] = 0.01 * min(1, (step + 1) / 5) * cosine
        optimizer.step()
        hidden = tuple(part.detach() for part in hidden)
        losses.append(loss.item())
    assert per_epoch < 25 < len(batches)
    assert log.losses == pytest.approx(losses, rel=1e-5)


@pytest.mark.parametrize("batching", ["streams", "windows"])
def test_streams_find_matches_in_the_text_before_them(make_trainer: MakeTrainer, batching: str) -> None:
    settings = {"dropout": 0.0, "match_lengths": [1], "match_window": 30}
    trainer = make_trainer(small_config(model=settings, data={"batching": batching}))
    batches = trainer.train_batches
    x, y = next(iter(batches.epoch(0)))
    hidden = trainer.model.init_hidden(len(x))
    if isinstance(batches, StreamBatches):
        hidden[-1][0] = batches.history(0, 30)
    with torch.no_grad():
        log_probs, _ = trainer.model(x, hidden)
    expected = nn.functional.nll_loss(log_probs.flatten(0, 1), y.flatten())
    assert trainer.train_step(x, y) == pytest.approx(float(expected), rel=1e-5)


def test_the_parts_of_2015_are_a_loop_over_summed_gradients(make_trainer: MakeTrainer, corpus: Corpus) -> None:
    """RMSprop, clamped sums and decay by epochs written out: gradients T times ours, and so epsilon, the same steps."""
    config = small_config(model={"dropout": 0.0}, training={**AS_IN_2015, "max_steps": 45, "max_epochs": 100})
    log = Log()
    trainer = make_trainer(config, callbacks=[log])
    model = build_model(config.model, corpus.vocabulary.size, dtype=torch.float64)
    model.load_state_dict(trainer.model.state_dict())
    batches = [(x, y) for epoch in range(3) for x, y in trainer.dataloaders["train"].epoch(epoch)]
    per_epoch, seq_length = len(trainer.dataloaders["train"]), 10
    trainer.train()

    means = {name: torch.zeros_like(parameter) for name, parameter in model.named_parameters()}
    hidden, losses, rate = None, [], 0.01
    for step, (x, y) in enumerate(batches[:45]):
        log_probs, hidden = model(x, hidden if step % per_epoch else None)
        loss = nn.functional.nll_loss(log_probs.flatten(0, 1), y.flatten())
        model.zero_grad()
        (loss * seq_length).backward()
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                gradient = parameter.grad.clamp(-0.05, 0.05)
                means[name].mul_(0.95).addcmul_(gradient, gradient, value=0.05)
                parameter.sub_(rate * gradient / (means[name].sqrt() + seq_length * 1e-8))
        if (step + 1) % per_epoch == 0:
            rate *= 0.5
        hidden = tuple(part.detach() for part in hidden)
        losses.append(loss.item())
    assert 1 <= 45 // per_epoch < 3
    assert log.losses == pytest.approx(losses, rel=1e-9)


def test_a_model_of_doubles_is_saved_and_measured_in_doubles(
    make_trainer: MakeTrainer, tmp_path: Path, corpus: Corpus
) -> None:
    config = small_config(training={**AS_IN_2015, "max_steps": 12})
    trainer = make_trainer(config, run_dir=tmp_path)
    trainer.train()
    file = ModelFile.read(tmp_path / "last.safetensors")
    assert {array.dtype.name for array in file.tensors.values()} == {"float64"}
    model = build_model(file.config.model, corpus.vocabulary.size, file.tensors, file.config.training.precision)
    assert evaluate(model, trainer.dataloaders["val"].split).loss == trainer.validate()
    singles = build_model(file.config.model, corpus.vocabulary.size, file.tensors)
    assert evaluate(singles, trainer.dataloaders["val"].split).loss == pytest.approx(trainer.validate(), rel=1e-5)


def test_a_run_leaves_all_its_files(make_trainer: MakeTrainer, tmp_path: Path, corpus: Corpus) -> None:
    config = small_config(training={"eval_interval": 30})
    log = Log()
    trainer = make_trainer(config, run_dir=tmp_path, callbacks=[log], sample=lambda model: "a rose")
    result = trainer.train()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "best.safetensors",
        "last.safetensors",
        "metrics.jsonl",
        "step-00000020.safetensors",
        "step-00000040.safetensors",
        "training_state.safetensors",
    ]
    assert result.step == trainer.total_steps == 2 * len(trainer.dataloaders["train"])
    written = MetricsWriter(tmp_path / "metrics.jsonl").read()
    assert written == log.records
    steps = [record["step"] for record in written]
    assert steps == sorted(steps)
    val = {record["step"]: record["loss"] for record in written if record["split"] == "val"}
    assert sorted(val) == [*range(30, result.step, 30), result.step]
    assert result.best_val_loss == min(val.values())
    assert written[-1]["split"] == "test"
    assert log.events == ["start", "end"]

    best = ModelFile.read(tmp_path)
    assert best.vocabulary == corpus.vocabulary
    assert best.training["best_val_loss"] == result.best_val_loss
    assert best.training["step"] == result.best_step
    model = build_model(best.config.model, corpus.vocabulary.size, best.tensors)
    assert evaluate(model, trainer.dataloaders["val"].split).loss == result.best_val_loss
    assert evaluate(model, trainer.dataloaders["test"].split) == result.test


def test_learning_learns(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(small_config(model={"dropout": 0.0}, training={"max_epochs": 15, "learning_rate": 0.02}))
    before = trainer.validate()
    assert before == pytest.approx(math.log(trainer.model.vocab_size), rel=0.1)
    assert trainer.train().best_val_loss < 0.7 * before


def test_the_best_parameters_are_in_the_model_at_the_end(make_trainer: MakeTrainer) -> None:
    """Also without a run folder; the rate is so high that the last parameters are not the best."""
    rate = {"learning_rate": 0.3, "horizons": [[0, 10_000]], "explosion_factor": 0.0}
    config = small_config(training={**rate, "eval_interval": 1, "max_steps": 60, "max_epochs": 10})
    trainer = make_trainer(config)
    result = trainer.train()
    assert result.best_step < 60
    assert trainer.validate() == result.best_val_loss


def test_a_model_given_has_the_best_mean_at_the_end_and_can_be_saved(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    trainer = make_trainer(small_config(training={"averaging": "ema", "max_steps": 8}), run_dir=tmp_path)
    given = trainer.model
    result = trainer.train()
    assert trainer.model is given
    assert evaluate(given, trainer.dataloaders["val"].split).loss == result.best_val_loss
    trainer.save()
    assert trainer.train().best_val_loss == result.best_val_loss


def test_a_model_file_names_no_path_of_the_machine(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    config = small_config(data={"data_dir": "/home/ann/garden.txt", "cache_dir": "/home/ann/cache"})
    path = make_trainer(config).save_checkpoint(tmp_path / "m.safetensors")
    assert ModelFile.read(path).config.data.data_dir == "garden"
    assert b"/home" not in path.read_bytes()


def test_the_first_sample_comes_after_20_seconds(make_trainer: MakeTrainer) -> None:
    """The others come at evaluations, and nothing else changes."""
    losses = []
    for sample in (None, lambda model: str(torch.rand(1))):
        log, ticks = Log(), itertools.count()
        settings = {"training": {"max_steps": 40, "eval_interval": 20}, "logging": {"sample_length": 4}}
        config = small_config(model={"dropout": 0.5}, **settings)
        make_trainer(config, callbacks=[log], sample=sample, clock=lambda ticks=ticks: next(ticks) * 0.5).train()
        losses.append(log.losses)
    steps = [step for step, _ in log.samples]
    assert 5 < steps[0] < 20
    assert steps[1:] == [20, 40]
    assert losses[0] == losses[1]


def test_minutes_on_a_fake_clock(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    """A step reads the clock a fixed number of times: as many steps as fit into the minutes; the repeat is exact."""
    ticks = itertools.count()
    config = small_config(training={"minutes": 1.0, "max_epochs": 10_000, "eval_interval": 40})
    trainer = make_trainer(config, run_dir=tmp_path, clock=lambda: next(ticks) * 0.1)
    result = trainer.train()
    assert 55 < result.seconds < 66
    assert trainer.plan.schedule.learning_rate(result.step) == pytest.approx(0.0, abs=1e-12)
    again = make_trainer(ModelFile.read(tmp_path / "last.safetensors").config)
    assert again.train().step == result.step
    for name, tensor in ModelFile.read(tmp_path / "last.safetensors").tensors.items():
        assert (again.state_dict().tensors[f"model.{name}"].numpy() == tensor).all()


def test_a_timed_run_on_a_large_text_evaluates_a_part(
    make_trainer: MakeTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step takes half a second and predicting a character a millisecond: whole splits would take 40 of 60 seconds."""
    now = [0.0]

    def costly(*arguments: Any, **options: Any) -> Evaluation:
        evaluation = evaluate(*arguments, **options)
        now[0] += evaluation.characters / 1000
        return evaluation

    class Steps(Callback):
        def on_step(self, trainer: CharRNNTrainer, loss: float) -> None:
            now[0] += 0.5
            trainer.timer.seconds_in_steps += 0.5

    monkeypatch.setattr("char_rnn.training.time_budget.evaluate", costly)
    text = Corpus.from_text("a rose is a rose\n" * 12_000)
    config = small_config(training={"minutes": 1.0, "max_epochs": 10_000})
    log = Log()
    trainer = make_trainer(config, corpus=text, run_dir=tmp_path, callbacks=[Steps(), log], clock=lambda: now[0])
    result = trainer.train()
    assert 54 < result.seconds < 66
    assert result.step > 50
    assert result.val is not None
    assert (result.val.characters, result.val.of) == (4096, 20_400)
    assert [(r["characters"], r["characters_in_split"]) for r in log.records if r["split"] == "test"] == [
        (4096, 20_400)
    ]
    monkeypatch.undo()
    last = ModelFile.read(tmp_path / "last.safetensors")
    again = make_trainer(last.config, corpus=text)
    assert again.train().val == result.val
    ended = again.state_dict().part("model")
    assert all((ended[name].numpy() == tensor).all() for name, tensor in last.tensors.items())


def test_memory_is_kept_while_training_and_not_before(
    make_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[int, ...]] = []

    class Steps(Callback):
        def on_step(self, trainer: CharRNNTrainer, loss: float) -> None:
            calls.append((trainer.step,))

    monkeypatch.setattr(resources, "_glibc", lambda: (lambda *call: calls.append(call), lambda *call: None))
    for name in (*resources.USER_SETTINGS, "GLIBC_TUNABLES"):
        monkeypatch.delenv(name, raising=False)
    trainer = make_trainer(small_config(training={"max_steps": 2}), callbacks=[Steps()])
    trainer.validate()
    assert calls == []
    trainer.train()
    thresholds = [(resources.MMAP_THRESHOLD, resources.LARGEST_BLOCK), (resources.TRIM_THRESHOLD, resources.KEPT)]
    assert calls == [*thresholds, (1,), (2,), (resources.TRIM_THRESHOLD, resources.AFTERWARDS)]


def test_no_validation_split(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    trainer = make_trainer(small_config(data={"train_frac": 1.0, "val_frac": 0.0}), run_dir=tmp_path)
    result = trainer.train()
    assert result.val is None
    assert result.test is None
    assert ModelFile.read(tmp_path).training["step"] == result.step


def test_samples_are_shown_at_each_evaluation(make_trainer: MakeTrainer) -> None:
    log = Log()
    config = small_config(training={"max_steps": 20, "eval_interval": 10}, logging={"sample_length": 5})
    make_trainer(config, callbacks=[log], sample=lambda model: "bees").train()
    assert log.samples == [(10, "bees"), (20, "bees")]


def test_a_run_folder_needs_a_vocabulary(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs the vocabulary"):
        make_trainer(run_dir=tmp_path, vocabulary=None)


def test_patience_ends_a_run_early_and_exactly_once(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    """The rate is too high to improve. Resuming the ended run changes nothing; more patience continues it."""
    rate = {"learning_rate": 0.5, "explosion_factor": 0.0, "schedule": "constant"}
    config = small_config(training={**rate, "eval_interval": 5, "max_steps": 300, "max_epochs": 100, "patience": 3})
    result = make_trainer(config, run_dir=tmp_path).train()
    assert (result.early, result.stopped) == (True, False)
    assert result.step == result.best_step + 15 < 300
    before = in_order(tmp_path)
    assert [r["step"] for r in before if r["split"] == "val"] == [*range(5, result.step + 1, 5)]
    again = make_trainer(config, run_dir=tmp_path)
    again.load_state_dict(read_state(tmp_path))
    assert again.train().step == result.step
    assert in_order(tmp_path) == before
    more = make_trainer(small_config(training={**config.training.model_dump(), "patience": 4}), run_dir=tmp_path)
    more.load_state_dict(read_state(tmp_path))
    assert more.train().step > result.step


def in_order(run: Path) -> list[dict[str, Any]]:
    return sorted(timeless(run), key=lambda record: (record["step"], record["split"]))


@pytest.mark.parametrize(
    ("training", "key"),
    [
        ({"patience": 2}, "patience 2"),
        ({"schedule": "plateau"}, "schedule plateau"),
    ],
)
def test_what_goes_by_the_validation_loss_needs_one(
    make_trainer: MakeTrainer, training: dict[str, Any], key: str
) -> None:
    with pytest.raises(ValueError, match=rf"^training\.{key} needs a validation loss, but"):
        make_trainer(small_config(training=training, data={"train_frac": 1.0, "val_frac": 0.0}))
