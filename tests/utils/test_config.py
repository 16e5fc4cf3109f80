"""Configurations: what is read, what wins, what is written back."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from char_rnn.utils.config import (
    Config,
    ConfigError,
    ModelConfig,
    TrainingConfig,
    compose_config,
    config_from_dict,
    load_config,
    recipes,
    to_yaml,
)
from char_rnn.utils.config.schema import SECTIONS, descriptions

SPECIFICATION = """
model: {type: lstm, hidden_size: 128, num_layers: 2, dropout: 0.2}
training: {batch_size: 50, seq_length: 50, learning_rate: 0.002, weight_decay: 1e-5, max_epochs: 50, grad_clip: 5.0,
  eval_interval: 1000}
data: {data_dir: data/tinyshakespeare, train_frac: 0.95, val_frac: 0.05}
generation: {temperature: 1.0, top_k: null, top_p: 0.9, length: 1000}
logging: {log_dir: logs, checkpoint_dir: checkpoints, log_interval: 100, save_interval: 1000}
device: {auto_detect: true, preferred: mps}
"""


@contextmanager
def _fine_or_one_line(start: str) -> Iterator[None]:
    message = start
    with suppress(ConfigError):
        try:
            yield
        except ConfigError as error:
            message = str(error)
            raise
    assert message.startswith(start)
    assert len(message.splitlines()) == 1


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "my.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_the_specifications_file_is_the_default(tmp_path: Path) -> None:
    assert load_config(write(tmp_path, SPECIFICATION)) == Config()


def test_default_yaml_is_what_the_schema_writes() -> None:
    text = (resources.files("char_rnn") / "config" / "default.yaml").read_text(encoding="utf-8")
    header, _, body = text.partition("\n")
    assert header.startswith("# ")
    assert body == to_yaml(Config(), comments=True)


@pytest.mark.parametrize("name", recipes())
def test_every_shipped_recipe_fits_the_schema(name: str) -> None:
    assert Config.model_validate(compose_config(name).model_dump(mode="json")) == compose_config(name)


def test_recipes_have_a_description() -> None:
    assert {"default", "quickstart", "torch7"} <= set(recipes())
    assert all(description and "\n" not in description for description in recipes().values())


def test_quickstart_is_small_and_timed() -> None:
    config = compose_config("quickstart")
    assert (config.training.minutes, config.training.precision) == (3, "auto")
    assert (config.model.hidden_size, config.model.num_layers, config.logging.log_dir) == (384, 1, None)


def test_torch7_has_the_defaults_of_train_lua() -> None:
    config = compose_config("torch7")
    model, training, data, logging = config.model, config.training, config.data, config.logging
    assert (model.type, model.hidden_size, model.num_layers, model.dropout) == ("lstm", 128, 2, 0)
    assert (training.learning_rate, training.decay_rate) == (0.002, 0.95)
    assert (training.learning_rate_decay, training.learning_rate_decay_after) == (0.97, 10)
    assert (training.seq_length, training.batch_size, training.max_epochs) == (50, 50, 50)
    assert (training.grad_clip, training.eval_interval, training.seed) == (5, 1000, 123)
    assert (data.data_dir, data.train_frac, data.val_frac) == ("data/tinyshakespeare", 0.95, 0.05)
    assert (logging.checkpoint_dir, logging.savefile, logging.log_interval) == ("cv", "lstm", 1)
    assert (training.trainer, training.precision, config.device.preferred) == ("torch7", "float64", "cpu")


def test_only_a_gru_of_2015_has_a_reset_gate() -> None:
    assert compose_config("torch7", overrides=["model.reset=after"]).model.reset == "after"
    with pytest.raises(ConfigError, match=r"needs model\.reset before"):
        compose_config("torch7", overrides=["model.reset=after", "model.type=gru"])


@pytest.mark.parametrize("section", SECTIONS)
def test_every_key_has_a_description(section: str) -> None:
    described = descriptions(SECTIONS[section])
    assert list(described) == list(SECTIONS[section].model_fields)
    assert all(described.values())
    assert Config.model_fields[section].annotation is SECTIONS[section]


def test_later_wins(tmp_path: Path) -> None:
    file = write(tmp_path, "training:\n  batch_size: 7\n  seed: 7\n")
    config = compose_config("quickstart", file, ["training.seed=8", "training.seed=9"])
    assert (config.training.seq_length, config.training.batch_size, config.training.seed) == (64, 7, 9)


def test_an_override_mends_what_a_file_has_wrong(tmp_path: Path) -> None:
    file = write(tmp_path, "model: {dropout: 2}\n")
    assert compose_config(None, file, ["model.dropout=0"]).model.dropout == 0


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "null\n", "training:\n", "{}", "\ufeffmodel: {}"])
def test_empty_files_and_sections_mean_the_defaults(tmp_path: Path, text: str) -> None:
    assert load_config(str(write(tmp_path, text))) == Config()


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("training.learning_rate=1e-3", 1e-3),
        ("training.learning_rate=2E-3", 2e-3),
        ("training.learning_rate=.5", 0.5),
        ("training.learning_rate=1", 1.0),
        ("training.max_steps=1e5", 100_000),
        ("training.max_steps=1_000", 1000),
        ("training.max_steps=null", None),
        ("training.max_steps=", None),
        ("training.adam_betas=[0.8, 0.99]", (0.8, 0.99)),
        ("training.horizons=[[0, 5], [3, 10]]", [(0, 5), (3, 10)]),
        ("training.explosion_factor=0", 0),
        ("model.type=gru", "gru"),
        (" model.type =gru", "gru"),
        ("data.data_dir=2015", "2015"),
        ("data.data_dir=[a, 2 b]", ["a", "2 b"]),
        ("training.teacher=runs/a", "runs/a"),
        ("training.teacher=['runs/a', b]", ["runs/a", "b"]),
        ("training.teacher=null", None),
        ("data.encoding=latin-1", "latin-1"),
        ("data.cache_dir=null", None),
        ("data.cache_dir='null'", "null"),
        ("generation.prime=", ""),
        ("generation.prime=a: b = [c] #d", "a: b = [c] #d"),
        ('generation.prime="two\\nlines"', "two\nlines"),
        ("generation.prime=null", "null"),
        ("logging.tensorboard=false", False),
    ],
)
def test_overrides(override: str, value: Any) -> None:
    section, key = override.partition("=")[0].strip().split(".")
    found = getattr(getattr(compose_config(overrides=[override]), section), key)
    assert found == value
    assert type(found) is type(value) or found == 0


def test_plain_numbers_and_words_are_text_where_text_is_meant(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, "data: {data_dir: 007, cache_dir: no}\ngeneration: {prime: 2015-10-21}\n"))
    assert (config.data.data_dir, config.data.cache_dir, config.generation.prime) == ("007", "no", "2015-10-21")


def test_fractions_may_fill_the_whole_within_rounding() -> None:
    assert compose_config(overrides=["data.train_frac=0.7", "data.val_frac=0.3"]).data.val_frac == 0.3


def test_floats_are_written_exactly_and_as_yaml_floats(tmp_path: Path) -> None:
    config = Config(training=TrainingConfig(learning_rate=1e-7, weight_decay=0.1 + 0.2, minutes=1 / 3))
    text = to_yaml(config)
    assert "learning_rate: 1.0e-07" in text
    assert yaml.safe_load(text)["training"]["learning_rate"] == 1e-7
    assert load_config(write(tmp_path, text)) == config


PATHS = st.text(min_size=1) | st.binary(min_size=1).map(lambda name: name.decode("utf-8", "surrogateescape"))


@settings(max_examples=40, deadline=None)
@given(
    prime=st.text(),
    data_dir=PATHS | st.lists(PATHS, min_size=1),
    folders=st.lists(PATHS, min_size=3, max_size=3),
    learning_rate=st.floats(min_value=0, exclude_min=True, allow_infinity=False),
    top_p=st.none() | st.floats(min_value=0, max_value=1, exclude_min=True),
    steps=st.lists(st.integers(0, 10**6), min_size=1, unique=True).map(sorted),
    comments=st.booleans(),
)
def test_what_is_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory,
    prime: str,
    data_dir: str | list[str],
    folders: list[str],
    learning_rate: float,
    top_p: float | None,
    steps: list[int],
    comments: bool,
) -> None:
    values = {
        "training": {
            "learning_rate": learning_rate,
            "horizons": [[step, step + 7] for step in steps],
        },
        "data": {"data_dir": data_dir, "cache_dir": folders[0]},
        "generation": {"prime": prime, "top_p": top_p},
        "logging": {"log_dir": folders[1], "checkpoint_dir": folders[2]},
    }
    config = Config.model_validate(values)
    path = tmp_path_factory.getbasetemp() / "written.yaml"
    path.write_text(to_yaml(config, comments=comments), encoding="utf-8", newline="")
    assert load_config(path) == config
    assert config_from_dict(json.loads(json.dumps(config.model_dump(mode="json"))), "a model file") == config


@settings(max_examples=60, deadline=None)
@given(st.text() | st.binary())
def test_any_file_gives_a_configuration_or_one_line(
    tmp_path_factory: pytest.TempPathFactory, content: str | bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with _fine_or_one_line(str(path)):
        load_config(path)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(f"{s}.{k}" for s, m in SECTIONS.items() for k in m.model_fields)), st.text())
def test_any_override_gives_a_configuration_or_one_line(name: str, value: str) -> None:
    with _fine_or_one_line("--set "):
        compose_config(overrides=[f"{name}={value}"])


@settings(max_examples=60, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from([*SECTIONS, "seed", "x"]), inner),
    )
)
def test_any_data_of_a_model_file_gives_a_configuration_or_one_line(data: object) -> None:
    with _fine_or_one_line("model.safetensors: "):
        config_from_dict(data, "model.safetensors")


def test_configuration_out_of_a_model_file() -> None:
    config = compose_config("quickstart")
    assert config_from_dict(config.model_dump(mode="json"), "m") == config
    with pytest.raises(ConfigError, match=r"^m: model\.hidden_size: must be a whole number from 1 to 65,536; given 0$"):
        config_from_dict({"model": {"hidden_size": 0}}, "m")
    with pytest.raises(ConfigError, match=r"^m: modle\.type: unknown section; did you mean model\?$"):
        config_from_dict({"modle": {"type": "gru"}}, "m")
    with pytest.raises(ConfigError, match=r"^m: model: must be a mapping of keys; given 3$"):
        config_from_dict({"model": 3}, "m")
    with pytest.raises(ConfigError, match=r"^m: must be a mapping of sections; given null$"):
        config_from_dict(None, "m")


def test_numbers_too_long_to_print_are_not_printed() -> None:
    with pytest.raises(ConfigError, match=r"to 65,536; given a number of thousands of digits$"):
        config_from_dict({"model": {"hidden_size": 10**5000}}, "m")


def test_the_classes_check_too() -> None:
    with pytest.raises(ValidationError):
        ModelConfig(hidden_size=True)
    with pytest.raises(ValidationError):
        ModelConfig(embedding="one-hot", embedding_size=8)
    assert TrainingConfig(learning_rate=1).learning_rate == 1.0


@pytest.mark.slow
def test_configurations_need_no_torch() -> None:
    program = "import sys, char_rnn.utils.config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_a_file_of_1_0_with_the_defaults_of_removed_settings_loads(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("training:\n  random_segments: false\n  averaging_patience: 5\n  seed: 4\n")
    assert load_config(file).training.seed == 4
    file.write_text("training:\n  random_segments: true\n  averaging: nt-asgd\n")
    assert load_config(file, any_cell=True).training.averaging == "polyak"  # to describe a finished run
    with pytest.raises(ConfigError, match=r"^--set training.random_segments=true: was removed in version 1\.1"):
        compose_config(overrides=["training.random_segments=true"])
    with pytest.raises(ConfigError, match=r"^--set training.averaging=nt-asgd: nt-asgd was removed"):
        compose_config(overrides=["training.averaging=nt-asgd"])
