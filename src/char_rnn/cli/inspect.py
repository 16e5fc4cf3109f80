"""``char-rnn inspect``."""

from __future__ import annotations

import json
import math
import shlex
from itertools import chain
from typing import TYPE_CHECKING, Any

import rich_click as click

from char_rnn.cli.inputs import locate_model, open_model
from char_rnn.cli.options import json_option
from char_rnn.cli.output import describe_new_symbols, print_result
from char_rnn.utils.terminal import visible_name

if TYPE_CHECKING:
    from char_rnn.model_file import ModelFile
    from char_rnn.utils.config import Config

_NOT_OF_THE_TRAINING = ("generation.suggested_primes", "logging.", "data.data_dir", "data.cache_dir")


@click.command(name="inspect")
@click.argument("model")
@json_option
def command(model: str, as_json: bool) -> None:
    """Show the content of a model file: architecture, parameters, vocabulary, training, losses.

    \b
    Examples:
      char-rnn inspect demo
      char-rnn inspect runs/my-book
      char-rnn inspect my-book.safetensors --json
      char-rnn inspect cv/lm_lstm_epoch50.00_1.3572.t7
    """
    from char_rnn.utils.hub import is_address

    path = locate_model(model)
    file = open_model(path, any_cell=True)
    name = model if is_address(model) else str(path)
    if as_json:
        click.echo(json.dumps(_everything(name, file), indent=2))
        return
    print_result("\n".join([*_lines(name, file), *_lines_of_2015(file)]))
    if command := training_command(file):
        click.echo(f"To train it again (with names in place of paths):\n  {command}")


def _everything(path: str, file: ModelFile) -> dict[str, Any]:
    return {
        "file": path,
        "command": training_command(file),
        "parameters": file.parameters,
        "tensors": {name: list(array.shape) for name, array in file.tensors.items()},
        "vocabulary": file.vocabulary.to_dict(),
        "training": dict(file.training),
        "config": file.config.model_dump(mode="json"),
    }


def _lines(path: str, file: ModelFile) -> list[str]:
    from char_rnn.model_file import VERSIONS
    from char_rnn.utils.model_files import DEMO_FILE

    model, training, metadata, unit = file.config.model, file.config.training, file.training, file.vocabulary.unit
    lines = [
        path,
        f"  architecture  {model.num_layers}-layer {model.type} with {model.hidden_size} units, {_details(file)}",
        f"  parameters    {file.parameters:,} ({', '.join(file.number_types)})",
        f"  vocabulary    {file.vocabulary.size} {file.vocabulary.kind}: {_preview(file)}",
        f"  recipe        batch {training.batch_size} x {training.seq_length} {unit}s, learning rate "
        f"{training.learning_rate:g}{_seed(file)}",
        f"  sampling      {_sampling(file)}",
    ]
    if "init_from" in metadata:
        added = describe_new_symbols(file.vocabulary, metadata)
        lines.append(f"  started from  {visible_name(str(metadata['init_from']))}{added and f', with {added}'}")
    if training.teachers:
        names = visible_name(", ".join(training.teachers))
        weighted = f"weight {training.teacher_weight:g}, temperature {training.teacher_temperature:g}"
        lines.append(f"  teachers      {names} ({weighted})")
    if "step" in metadata:
        epochs = f", {metadata['epoch']:.2f} epochs of " if "epoch" in metadata else " on "
        text = visible_name(str(metadata.get("data", "an unnamed text")))
        minutes = f", {metadata['seconds'] / 60:.1f} minutes" if "seconds" in metadata else ""
        lines.append(f"  trained       {metadata['step']:,} steps{epochs}{text}{minutes}")
    if "best_val_loss" in metadata:
        loss = metadata["best_val_loss"]
        bits = loss / math.log(2)
        at = f", at step {metadata['best_step']:,}" if "best_step" in metadata else ""
        lines.append(f"  best loss     {loss:.4f} nats, {bits:.4f} bits per {unit}{at}")
    versions = [f"{name} {metadata[key]}" for key, name in VERSIONS.items() if key in metadata]
    if path == str(DEMO_FILE):
        lines.append(f"  license       {DEMO_FILE.with_name('LICENSE.txt')}")
    if versions:
        lines.append(f"  versions      {visible_name(', '.join(versions))}")
    width = max(24, *(len(name) + 2 for name in file.tensors))
    lines += [f"  {name:<{width}}{'x'.join(map(str, array.shape))}" for name, array in file.tensors.items()]
    return lines


def training_command(file: ModelFile) -> str | None:
    """Return the command that trains the model again: its text, the nearest recipe, and the settings that differ.

    None for a model of 2015.
    """
    from char_rnn.utils.config import compose_config, recipes
    from char_rnn.utils.config.model import FOR_TRAINING

    training = file.without_paths().training
    text = training.get("data")
    if not isinstance(text, str) or "char_rnn" not in training:
        return None
    start = ["--init-from", str(training["init_from"])] if "init_from" in training else []
    start += ["--grow-vocabulary"] if "new_symbols" in training else []
    wanted = {
        key: value
        for key, value in _settings(file.config).items()
        if not start or not key.startswith("model.") or key.removeprefix("model.") in FOR_TRAINING
    }
    changes = {
        recipe: {key: value for key, value in wanted.items() if value != settings[key]}
        for recipe in recipes()
        for settings in [_settings(compose_config(recipe))]
    }
    recipe = min(changes, key=lambda name: len(changes[name]))
    settings = chain.from_iterable(("--set", f"{key}={value}") for key, value in changes[recipe].items())
    return visible_name(shlex.join(["char-rnn", "train", text, "--recipe", recipe, *start, *settings]))


def _settings(config: Config) -> dict[str, str]:
    """Return the settings that a training depends on, in YAML by ``section.key``."""
    from char_rnn.utils.config import to_yaml

    sections = map(str.splitlines, to_yaml(config).split("\n\n"))
    entries = (f"{heading[:-1]}.{line.strip()}".partition(": ") for heading, *lines in sections for line in lines)
    return {key: value for key, _, value in entries if not key.startswith(_NOT_OF_THE_TRAINING)}


def _lines_of_2015(file: ModelFile) -> list[str]:
    """Return the output of inspect_checkpoint.lua: the options of the run and its validation losses."""
    if (metadata := _of_2015(file)) is None:
        return []
    return ["opt:", *_table(metadata.get("opt")), "val losses:", *_table(metadata.get("val_losses"))]


def _of_2015(file: ModelFile) -> dict[str, Any] | None:
    """Return what a checkpoint of char-rnn or torch-rnn recorded; None for a model of today."""
    found = (file.training.get(origin) for origin in ("torch7", "torch_rnn"))
    return next((metadata for metadata in found if isinstance(metadata, dict)), None)


def _seed(file: ModelFile) -> str:
    """Return the seed of the training for the line of the recipe; nothing if the checkpoint has none."""
    metadata = _of_2015(file)
    options = {"seed": True} if metadata is None else metadata.get("opt")
    return f", seed {file.config.training.seed}" if isinstance(options, dict) and "seed" in options else ""


def _sampling(file: ModelFile) -> str:
    """Return the defaults of `char-rnn sample`: the sampling options that are set, the length and the seed."""
    from char_rnn.sampling.options import NUMBERS, Strategy

    settings, off = file.config.generation, Strategy()
    changed = [name for name in NUMBERS if name == "temperature" or getattr(settings, name) != getattr(off, name)]
    options = ", ".join(f"{name.replace('_', ' ')} {getattr(settings, name):g}" for name in changed)
    seed = "a new seed each time" if settings.seed is None else f"seed {settings.seed}"
    return f"{options}, {settings.length:,} {file.vocabulary.unit}s, {seed}"


def _table(entries: object) -> list[str]:
    """Return a table as Lua prints it, with one entry in each line."""
    if not isinstance(entries, dict):
        return ["{", "}"]
    lines = [f"  {visible_name(key)} : {json.dumps(value)}" for key, value in entries.items()]
    return ["{", *lines, "}"]


def _details(file: ModelFile) -> str:
    model = file.config.model
    width = model.input_size(file.vocabulary.size)
    parts = [f"{model.embedding} input of {width}", f"{'locked ' * model.locked_dropout}dropout {model.dropout:g}"]
    if model.type == "gru":
        parts.append(f"reset {model.reset} the product")
    if model.mogrifier_rounds:
        parts.append(f"mogrifier of {model.mogrifier_rounds} rounds")
    if model.layer_norm != "none":
        parts.append(f"layer norm {'in the cell' if model.layer_norm == 'cell' else 'between'}")
    if model.attention != "none":
        layers = "all layers" if model.attention == "all" else "the top layer"
        parts.append(f"attention after {layers} ({model.attention_heads} x {model.attention_window} steps)")
    if model.match_lengths:
        lengths = ", ".join(map(str, model.match_lengths))
        parts.append(f"matches of {lengths} symbols within {model.match_window:,}")
    if model.feed_forward_size:
        parts.append(f"feed-forward {model.feed_forward_size}")
    parts += [name.replace("_", " ") for name in ("residual", "tie_weights") if getattr(model, name)]
    others = ["embedding_dropout", "weight_dropout", "zoneout", *(["match_dropout"] if model.match_lengths else [])]
    parts += [f"{name.replace('_', ' ')} {getattr(model, name):g}" for name in others if getattr(model, name)]
    return ", ".join(parts)


def _preview(file: ModelFile, limit: int = 60) -> str:
    """Return the first symbols; control characters and bytes that are not a character are escaped."""
    symbols = file.vocabulary.symbols
    characters = 0x80 if file.vocabulary.kind == "bytes" else 0x110000
    first = "".join(
        visible_name(chr(symbol)) if symbol < characters else f"\\x{symbol:02x}" for symbol in symbols[:limit]
    )
    return first + (" ..." if len(symbols) > limit else "")
