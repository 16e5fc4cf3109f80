"""``char-rnn convert``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from char_rnn.cli.inputs import open_model
from char_rnn.cli.options import check_target, quiet_option, set_option
from char_rnn.cli.output import say

if TYPE_CHECKING:
    from char_rnn.model_file import ModelFile
    from char_rnn.utils.config import Config


@click.command(name="convert")
@click.argument("old")
@click.argument("new")
@click.option(
    "--precision", type=click.Choice(["int8"]), help="Store the matrices in 8 bits: about a quarter of the size."
)
@set_option
@click.option("--force", is_flag=True, help="Replace NEW if it exists.")
@quiet_option
def command(old: str, new: str, precision: str | None, overrides: tuple[str, ...], force: bool, quiet: bool) -> None:
    """Convert a checkpoint of 2015 to a model file, or a model file to a smaller one.

    OLD is a .t7 file that char-rnn or torch-rnn wrote with Torch7, on a CPU or a GPU. It may also be a run folder or a
    .safetensors file. NEW must end in .safetensors. Weights keep their precision unless --precision is given. The
    options and losses of the run are copied (see `char-rnn inspect NEW`), with paths shortened to their last part.
    --set changes the model's default settings for sampling (the section generation). All other commands read .t7 files
    too.

    \b
    Examples:
      char-rnn convert cv/lm_lstm_epoch50.00_1.3572.t7 shakespeare.safetensors
      char-rnn convert runs/my-book my-book.safetensors --precision int8
      char-rnn convert runs/my-book my-book.safetensors --set generation.prime="It was "
    """
    target = Path(new)
    check_target(target, (".safetensors",), "NEW", force=force)
    file = open_model(old)
    file = replace(file, config=_changed(_repeatable(file.config, old), overrides))
    file = replace(file.without_paths(), in_8_bits=file.in_8_bits or precision == "int8")
    file.write(target)
    say(f"{old} ({_origin(file)}) -> {new}: {_contents(file)}", quiet=quiet)


def _repeatable(config: Config, old: str) -> Config:
    """Return the configuration of a model with the schedule that a timed run had in the end, if `old` is that run."""
    from char_rnn.runs import CONFIG
    from char_rnn.utils.config import load_config

    path = Path(old) / CONFIG
    if config.training.minutes is None or not path.is_file():
        return config
    return config.model_copy(update={"training": load_config(path, any_cell=True).training})


def _changed(config: Config, overrides: tuple[str, ...]) -> Config:
    """Return a configuration with other values in the section `generation`."""
    from char_rnn.utils.config import read_setting, with_settings

    settings = [read_setting(override) for override in overrides]
    for override, (key, _) in zip(overrides, settings, strict=True):
        if not key.startswith("generation."):
            raise click.UsageError(f"--set {override}: only the section generation of a saved model can be changed")
    return with_settings(config, dict(settings), "--set", saved=True) if settings else config


def _origin(file: ModelFile) -> str:
    names = {"torch7": "char-rnn of 2015", "torch_rnn": "torch-rnn"}
    return next((name for fact, name in names.items() if fact in file.training), "char-rnn")


def _contents(file: ModelFile) -> str:
    model, types = file.config.model, ", ".join(file.number_types)
    return (
        f"{model.num_layers}-layer {model.type} with {model.hidden_size} units, {file.parameters:,} parameters"
        f" ({types}), vocabulary of {file.vocabulary.size} {file.vocabulary.kind}"
    )
