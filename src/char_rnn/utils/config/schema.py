"""The schema of a configuration, every key with its type, range, unit and default; and its form in YAML.

The docstring below each field is its description. Tests hold the shipped YAML files, the messages and ``docs`` to these
classes. The defaults are those of the specification's ``config/default.yaml``.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, create_model

from char_rnn.sampling.options import pydantic_fields
from char_rnn.utils.config.fields import COUNT, Conflict, NonEmpty, Section, WholeText, allowed, check, shown
from char_rnn.utils.config.model import ModelConfig
from char_rnn.utils.config.training import TrainingConfig


def _known_encoding(encoding: str) -> str:
    try:
        "a".encode(encoding)
    except LookupError as error:
        raise ValueError from error
    return encoding


class DataConfig(Section):
    """The text and its splits."""

    data_dir: Annotated[str | list[str], check(all)] = Field(
        default="data/tinyshakespeare", min_length=1, json_schema_extra={"allowed": "a path or name, or a list of them"}
    )
    """Named data set, file, folder, or - for standard input; or a list of these, read in the given order."""
    separator: WholeText = Field(default="", json_schema_extra={"allowed": "Unicode text without surrogates"})
    """Text inserted between two files."""
    file_order: Literal["natural", "path"] = "natural"
    """Order of the files in a folder: natural (2 before 10), or path: as version 1.0, including symbolic links."""
    train_frac: float = Field(default=0.95, gt=0, le=1)
    """Fraction of the text for training, from its beginning."""
    val_frac: float = Field(default=0.05, ge=0, lt=1)
    """Fraction of the text for validation, after the training split; the rest is the test split."""
    vocabulary: Literal["characters", "bytes"] = "characters"
    """Symbols of the model: Unicode characters (code points) or bytes."""
    encoding: Annotated[str, AfterValidator(_known_encoding)] = Field(
        default="utf-8", json_schema_extra={"allowed": "a text encoding that Python knows, such as utf-8 or latin-1"}
    )
    """Encoding of the text files."""
    batching: Literal["streams", "windows"] = "streams"
    """Contiguous streams with the hidden state carried over, or shuffled windows that start from a zero state."""
    num_workers: int = Field(default=0, ge=0, le=1024)
    """Number of processes that load windows; 0 = the training process itself."""
    cache_dir: NonEmpty | None = Field(default=None, json_schema_extra={"allowed": "a path or null"})
    """Folder for the cache of encoded texts; null = the user's cache folder."""

    @property
    def sources(self) -> list[str]:
        """The names or paths in ``data_dir``."""
        return [self.data_dir] if isinstance(self.data_dir, str) else self.data_dir

    def _conflicts(self) -> Iterator[Conflict]:
        if self.train_frac + self.val_frac > 1 + 1e-9:
            yield (
                f"data.train_frac {self.train_frac} and data.val_frac {self.val_frac} add up to"
                f" {round(self.train_frac + self.val_frac, 9)}; together they must be at most 1",
                ("data.train_frac", "data.val_frac"),
            )


_SamplingSection: Any = create_model("_SamplingSection", __base__=Section, **pydantic_fields(top_p={"default": 0.9}))


class GenerationConfig(_SamplingSection):  # type: ignore[misc]  # its fields are those of `Strategy`
    """Text generation: the sampling options, and the keys below."""

    length: int = Field(default=1000, ge=0, le=COUNT)
    """Number of symbols to generate after the prime."""
    seed: int | None = Field(default=None, ge=0, le=2**63 - 1)
    """Seed of the random numbers; null = a new seed each time."""
    prime: WholeText = Field(default="", json_schema_extra={"allowed": "Unicode text without surrogates"})
    """Text to continue; empty = the first symbol is drawn from the uniform distribution."""
    suggested_primes: list[Annotated[WholeText, check(lambda text: 0 < len(text) <= 100)]] | None = Field(
        default=None,
        max_length=8,
        json_schema_extra={"allowed": "null or a list of at most 8 texts of 1 to 100 characters"},
    )
    """Primes that the page offers; null = frequent line beginnings, found in the training text when a run starts."""


class LoggingConfig(Section):
    """Records and checkpoints of a run."""

    log_dir: NonEmpty | None = Field(default="logs", json_schema_extra={"allowed": "a path or null"})
    """Folder for TensorBoard event files, with one folder for each run; null = tensorboard/ in the run folder."""
    checkpoint_dir: NonEmpty = Field(default="checkpoints", json_schema_extra={"allowed": "a path"})
    """Folder for new run folders when --out is not given."""
    log_interval: int = Field(default=100, ge=1, le=COUNT)
    """Number of steps between two records of the training loss."""
    save_interval: int = Field(default=1000, ge=1, le=COUNT)
    """Number of steps between two checkpoints."""
    keep: int = Field(default=3, ge=0, le=COUNT)
    """Number of newest checkpoint models to keep, in addition to the best and the last model."""
    tensorboard: bool = True
    """Write TensorBoard event files."""
    tracker: Literal["none", "wandb", "trackio"] = "none"
    """Experiment tracker that also records the run; each needs the extra of its name."""
    tracker_project: Annotated[NonEmpty, check(lambda name: len(name) <= 128 and set(name).isdisjoint("/\\#?%:"))] = (
        Field(
            default="char-rnn", json_schema_extra={"allowed": "a name of at most 128 characters without / \\ # ? % :"}
        )
    )
    """Project of the tracker's run; its name is that of the run folder."""
    savefile: Annotated[NonEmpty, check(lambda name: set(name).isdisjoint("/\\\0"))] | None = Field(
        default=None, json_schema_extra={"allowed": "a file name or null"}
    )
    """NAME in the checkpoint names of 2015, lm_NAME_epoch0.95_2.0681; null = model.type."""
    sample_length: int = Field(default=200, ge=0, le=COUNT)
    """Number of symbols in the samples shown after 20 seconds and at each evaluation; 0 = no samples."""


class DeviceConfig(Section):
    """Device and threads."""

    auto_detect: bool = True
    """Use another device when the preferred one is not available (mps, then cuda, then cpu)."""
    preferred: Literal["mps", "cuda", "cpu"] = "mps"
    """Device to try first."""
    fallback: bool = True
    """Continue on the CPU, with a warning, when the device is missing or fails."""
    threads: int | None = Field(default=None, ge=1, le=1024)
    """Number of CPU threads; null = the fastest number, measured when the run starts."""


class Config(Section):
    """A complete configuration, one attribute for each section."""

    model: ModelConfig = Field(default_factory=ModelConfig)
    """The network."""
    training: TrainingConfig = Field(default_factory=TrainingConfig)
    """Training."""
    data: DataConfig = Field(default_factory=DataConfig)
    """The text and its splits."""
    generation: GenerationConfig = Field(default_factory=GenerationConfig)
    """Text generation."""
    logging: LoggingConfig = Field(default_factory=LoggingConfig)
    """Records and checkpoints of a run."""
    device: DeviceConfig = Field(default_factory=DeviceConfig)
    """Device and threads."""

    def changed(self, **sections: Mapping[str, Any]) -> Config:
        """Return a copy with some values changed, by section and key; they are not checked."""
        return self.model_copy(
            update={name: getattr(self, name).model_copy(update=values) for name, values in sections.items()}
        )

    def _conflicts(self) -> Iterator[Conflict]:
        if self.training.trainer != "torch7":
            return
        for name, needed in _TORCH7.items():
            section, key = name.split(".")
            found = getattr(getattr(self, section), key)
            choices = needed if isinstance(needed, tuple) else (needed,)
            if found not in choices and not (name == "model.reset" and self.model.type != "gru"):
                yield _not_of_2015(name, found, choices[0])
        if self.training.batch_size == "auto":
            yield _not_of_2015("training.batch_size", "auto", "as a number")


_TORCH7: dict[str, object] = {
    "model.type": ("lstm", "gru", "rnn"),
    "model.embedding": "one-hot",
    "model.reset": "before",
    "model.initialization": "uniform",
    "model.locked_dropout": False,
    "model.embedding_dropout": 0,
    "model.weight_dropout": 0,
    "model.zoneout": 0,
    "model.tie_weights": False,
    "model.mogrifier_rounds": 0,
    "model.layer_norm": "none",
    "model.residual": False,
    "model.feed_forward_size": None,
    "model.attention": "none",
    "model.match_lengths": [],
    "training.micro_batch_size": None,
    "training.precision": ("float64", "float32"),
    "training.compile": False,
    "training.optimizer": "rmsprop",
    "training.averaging": "none",
    "training.label_smoothing": 0,
    "training.activation_regularization": 0,
    "training.temporal_activation_regularization": 0,
    "training.teacher": None,
    "training.patience": None,
    "training.weight_decay": 0,
    "training.schedule": "exponential",
    "training.warmup_steps": 0,
    "training.min_learning_rate": 0,
    "training.minutes": None,
    "training.horizons": None,
    "training.clip": "value",
    "training.rollbacks": 0,
    "data.vocabulary": "bytes",
    "data.batching": "streams",
}
"""Values that the program of 2015 supports: one value, or a tuple of them. ``model.reset`` applies to a GRU only."""

SECTIONS: dict[str, type[Section]] = {
    name: field.annotation  # type: ignore[misc]
    for name, field in Config.model_fields.items()
}
"""The class of each section."""


def _not_of_2015(name: str, *values: object) -> Conflict:
    found, needed = (value if isinstance(value, str) else shown(value) for value in values)
    return (
        f"training.trainer torch7 needs {name} {needed}, not {found}; use the recipe torch7,"
        " or set training.trainer to modern (leave out --torch7)",
        ("training.trainer", name),
    )


def to_yaml(config: Config, *, comments: bool = False) -> str:
    """Return a configuration as YAML with every key and exact numbers, which `load_config` reads to an equal one.

    With ``comments``, a comment before each key has its description and valid values.
    """
    return "\n".join("\n".join([f"{section}:", *_entries(section, config, comments)]) + "\n" for section in SECTIONS)


def descriptions(section: type[Section]) -> dict[str, str]:
    """Return the description of each key: that of its field, or the docstring below it.

    The docstrings are read from the source here; pydantic would read them at each creation of the class.
    """
    [class_node] = ast.parse(textwrap.dedent(inspect.getsource(section))).body
    assert isinstance(class_node, ast.ClassDef)
    below = {
        field.target.id: inspect.cleandoc(text.value.value)
        for field, text in pairwise(class_node.body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }
    return {name: field.description or below[name] for name, field in section.model_fields.items()}


def _entries(section: str, config: Config, comments: bool) -> list[str]:
    values = getattr(config, section)
    words_of = descriptions(SECTIONS[section]) if comments else {}
    lines = []
    for key, field in SECTIONS[section].model_fields.items():
        if comments:
            words = f"{words_of[key]} Takes {allowed(field)}."
            lines += textwrap.wrap(words, 100, initial_indent="  # ", subsequent_indent="  # ")
        lines.append(f"  {key}: {_value(getattr(values, key))}")
    return lines


def _value(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_value(item) for item in value)}]"
    if isinstance(value, str):
        import yaml

        return yaml.safe_dump(value, default_style='"', allow_unicode=True, width=float("inf")).rstrip("\n")
    if isinstance(value, float):  # the shortest exact digits; YAML 1.1 needs a point before an exponent
        mantissa, e, exponent = repr(value).partition("e")
        return repr(value) if not e or "." in mantissa else f"{mantissa}.0e{exponent}"
    return "null" if value is None else str(value).lower()
