"""What a checkpoint says about its run becomes configuration and facts, whatever it says."""

from __future__ import annotations

import json
from typing import Any

import pytest
from made_checkpoints import options, simple_checkpoint

from char_rnn.torch7.checkpoints.char_rnn import read_checkpoint
from char_rnn.torch7.t7.values import Table


def test_options_become_the_configuration() -> None:
    config = read_checkpoint(simple_checkpoint()).config
    training = config.training
    assert (training.trainer, training.optimizer, training.schedule, training.clip) == (
        "torch7",
        "rmsprop",
        "exponential",
        "value",
    )
    assert (training.batch_size, training.seq_length, training.max_epochs, training.eval_interval) == (4, 9, 7, 20)
    assert (training.learning_rate, training.learning_rate_decay, training.learning_rate_decay_after) == (0.01, 0.5, 2)
    assert (training.decay_rate, training.grad_clip, training.seed) == (0.9, 3.0, 2**32 - 1)
    assert (config.data.vocabulary, config.data.data_dir) == ("bytes", "data/garden")
    assert (config.data.train_frac, config.data.val_frac) == (0.8, 0.1)
    assert (config.logging.checkpoint_dir, config.logging.savefile, config.logging.log_interval) == ("cv", "roses", 10)


@pytest.mark.parametrize(
    ("changed", "key", "value"),
    [
        ({"batch_size": 0.0}, "training.batch_size", 50),
        ({"batch_size": 2.5}, "training.batch_size", 50),
        ({"seq_length": b"many"}, "training.seq_length", 50),
        ({"learning_rate": -1.0}, "training.learning_rate", 0.002),
        ({"learning_rate": float("nan")}, "training.learning_rate", 0.002),
        ({"learning_rate_decay": 1.5}, "training.learning_rate_decay", 1),
        ({"decay_rate": 1.0}, "training.decay_rate", 0.95),
        ({"train_frac": 0.9, "val_frac": 0.2}, "data.train_frac", 0.95),
        ({"savefile": b"a/b"}, "logging.savefile", "lstm"),
        ({"data_dir": b"gar\xffden"}, "data.data_dir", r"gar\xffden"),
        ({"seed": 2.0**32 + 5}, "training.seed", 5),
        ({"seed": float("inf")}, "training.seed", 123),
        ({"print_every": Table()}, "logging.log_interval", 1),
        ({"model": b"gru", "rnn_size": 7.0, "num_layers": 9.0}, "model.num_layers", 2),
    ],
)
def test_odd_options_never_stand_in_the_way(changed: dict[str, Any], key: str, value: object) -> None:
    config = read_checkpoint(simple_checkpoint(opt=options(**changed))).config
    section, name = key.split(".")
    assert getattr(getattr(config, section), name) == value


@pytest.mark.parametrize("opt", [None, 3.0, Table()])
def test_no_options_leave_the_recipe(opt: object) -> None:
    file = read_checkpoint(simple_checkpoint(opt=opt))
    assert file.config.training.batch_size == 50
    assert file.training["torch7"]["opt"] == {}


def test_facts_of_the_training() -> None:
    facts = dict(read_checkpoint(simple_checkpoint()).training)
    carried = facts.pop("torch7")
    assert facts == {
        "step": 40,
        "epoch": 1.25,
        "data": "data/garden",
        "best_val_loss": 2.5,
        "best_step": 10,
        "val_loss": 2.75,
    }
    assert carried["train_losses"] == [3.5, None, 3.25]
    assert list(carried["val_losses"].items()) == [("10", 2.5), ("20", 3.0), ("30", None), ("40", 2.75)]
    assert carried["opt"]["batch_size"] == 4
    assert carried["opt"]["model"] == "lstm"
    assert json.loads(json.dumps(carried, allow_nan=False)) == carried


def test_facts_that_are_missing_or_no_numbers_are_left_out() -> None:
    nothing: dict[str, Any] = dict.fromkeys(["train_losses", "val_losses", "val_loss", "i", "epoch"])
    facts = dict(read_checkpoint(simple_checkpoint(**nothing)).training)
    assert facts == {"data": "data/garden", "torch7": facts["torch7"]}
    odd = {"i": b"1", "epoch": float("nan"), "val_loss": True, "val_losses": Table.of({b"x": 1.0, 2.5: 1.0})}
    assert set(read_checkpoint(simple_checkpoint(**odd)).training) == {"data", "torch7"}
