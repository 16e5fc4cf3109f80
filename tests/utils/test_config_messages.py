"""Every way a configuration can be wrong ends in one line: place, key, what is allowed, what was given."""

from __future__ import annotations

from pathlib import Path

import pytest
from config_mistakes import FILES, OVERRIDES

from char_rnn.utils.config import ConfigError, compose_config, load_config


@pytest.mark.parametrize("name", FILES)
def test_bad_files(tmp_path: Path, name: str) -> None:
    content, message = FILES[name]
    path = tmp_path / "my.yaml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert str(caught.value) == f"{path}{message}"


@pytest.mark.parametrize("override", OVERRIDES)
def test_bad_overrides(override: str) -> None:
    message = OVERRIDES[override]
    with pytest.raises(ConfigError) as caught:
        compose_config(overrides=[override])
    assert str(caught.value) == f"--set {override}: {message}".replace("\x00", "\\x00")


def test_the_last_place_is_named_when_two_values_do_not_fit(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text("data:\n  train_frac: 0.9\n")
    with pytest.raises(ConfigError, match=r"^--set data\.val_frac=0\.2: data\.train_frac 0\.9 and"):
        compose_config(None, path, ["data.val_frac=0.2"])


@pytest.mark.parametrize(
    ("override", "needs"),
    [
        ("model.embedding=learned", "model.embedding one-hot, not learned"),
        ("model.reset=after", "model.reset before, not after"),
        ("model.initialization=xavier", "model.initialization uniform, not xavier"),
        ("model.layer_norm=cell", "model.layer_norm none, not cell"),
        ("model.residual=true", "model.residual false, not true"),
        ("model.attention=top", "model.attention none, not top"),
        ("model.match_lengths=[3]", "model.match_lengths [], not [3]"),
        ("model.feed_forward_size=64", "model.feed_forward_size null, not 64"),
        ("model.mogrifier_rounds=2", "model.mogrifier_rounds 0, not 2"),
        ("model.zoneout=0.1", "model.zoneout 0, not 0.1"),
        ("model.weight_dropout=0.1", "model.weight_dropout 0, not 0.1"),
        ("model.embedding_dropout=0.1", "model.embedding_dropout 0, not 0.1"),
        ("model.locked_dropout=true", "model.locked_dropout false, not true"),
        ("training.optimizer=adamw", "training.optimizer rmsprop, not adamw"),
        ("training.weight_decay=0.1", "training.weight_decay 0, not 0.1"),
        ("training.schedule=cosine", "training.schedule exponential, not cosine"),
        ("training.warmup_steps=3", "training.warmup_steps 0, not 3"),
        ("training.min_learning_rate=1e-6", "training.min_learning_rate 0, not 1e-06"),
        ("training.minutes=3", "training.minutes null, not 3.0"),
        ("training.horizons=[[0, 5]]", "training.horizons null, not [(0, 5)]"),
        ("training.clip=norm", "training.clip value, not norm"),
        ("training.averaging=ema", "training.averaging none, not ema"),
        ("training.label_smoothing=0.1", "training.label_smoothing 0, not 0.1"),
        ("training.teacher=runs/a", "training.teacher null, not runs/a"),
        ("training.activation_regularization=2", "training.activation_regularization 0, not 2.0"),
        ("training.temporal_activation_regularization=1", "training.temporal_activation_regularization 0, not 1.0"),
        ("data.vocabulary=characters", "data.vocabulary bytes, not characters"),
        ("data.batching=windows", "data.batching streams, not windows"),
    ],
)
def test_the_trainer_of_2015_refuses_what_it_does_not_compute(override: str, needs: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compose_config("torch7", overrides=[*(["model.type=gru"] if "reset" in override else []), override])
    assert str(caught.value) == (
        f"--set {override}: training.trainer torch7 needs {needs}; use the recipe torch7,"
        " or set training.trainer to modern (leave out --torch7)"
    )


def test_places_that_are_no_files(tmp_path: Path) -> None:
    missing = tmp_path / "none.yaml"
    for path, message in {
        missing: f"{missing}: no such file; `char-rnn config list` shows the recipes",
        tmp_path: f"{tmp_path}: is a folder; give a YAML file, such as the config.yaml of a run",
        Path("a\0b"): "a\\x00b: is not a file name",
        tmp_path / ("x" * 300): f"{tmp_path / ('x' * 300)}: cannot be read: File name too long",
    }.items():
        with pytest.raises(ConfigError) as caught:
            load_config(path)
        assert str(caught.value) == message


def test_recipes_that_are_not_there() -> None:
    with pytest.raises(ConfigError, match=r"^recipe 'quikstart': unknown; did you mean quickstart\?$"):
        compose_config("quikstart")
    with pytest.raises(ConfigError, match=r"^recipe '\.\./x': unknown; known: default, "):
        compose_config("../x")


def test_a_hostile_document_of_aliases_ends_at_once(tmp_path: Path) -> None:
    rows = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 60)]
    path = tmp_path / "my.yaml"
    path.write_text("\n".join(rows))
    with pytest.raises(ConfigError, match="aliases"):
        load_config(path)
