"""What a 2015 file says about its training, as today's configuration and facts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from char_rnn.torch7.checkpoints.fields import CheckpointFormatError, Scalar, is_finite
from char_rnn.utils.config import Config, ConfigError, compose_config, config_from_dict

Sections = dict[str, dict[str, Any]]

MAX_LOSSES = 2_000_000
"""Training losses that are carried over; the header of a safetensors file ends at 100 MB."""


def make_config(recipe: str | None, settings: Mapping[str, Any], wishes: Sequence[Mapping[str, Any]]) -> Config:
    """Return a recipe with some values changed.

    Args:
        recipe: name of a recipe; None for today's defaults.
        settings: ``{"section.key": value}`` that must hold: what the weights are made for.
        wishes: groups of such values from the file's options; a group that the configuration does not allow (a batch
            size of 0, say) is left out, as a model is worth reading whatever stands beside it.

    Raises:
        CheckpointFormatError: the settings themselves are not allowed.
    """
    sections: Sections = compose_config(recipe).model_dump(mode="json")
    try:
        config = config_from_dict(_changed(sections, settings), "protos.rnn")
    except ConfigError as error:
        raise CheckpointFormatError(str(error)) from None
    for group in wishes:
        try:
            config = config_from_dict(_changed(config.model_dump(mode="json"), group), "opt")
        except ConfigError:
            continue
    return config


def settings_in(options: Mapping[str, Scalar], keys: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the configuration's values that stand in a file's options.

    Args:
        options: the file's.
        keys: today's ``section.key`` by the option's name.
    """
    return [{key: options[name]} for name, key in keys.items() if options.get(name) not in (None, "")]


def training_facts(
    *, step: object, epoch: object, data: object, val_losses: Mapping[int, float | None]
) -> dict[str, Any]:
    """Return the facts that a model file carries about its training.

    Args:
        step: iterations done; left out unless it is a number.
        epoch: epochs done, likewise.
        data: what was trained on; left out unless it is a text.
        val_losses: validation loss in nats by iteration; None where it was no finite number.
    """
    facts: dict[str, Any] = {}
    if is_finite(step) and step.is_integer():
        facts["step"] = int(step)
    if is_finite(epoch):
        facts["epoch"] = epoch
    if isinstance(data, str):
        facts["data"] = data
    known = {iteration: loss for iteration, loss in val_losses.items() if loss is not None}
    if known and "step" in facts:
        facts["best_step"], facts["best_val_loss"] = min(known.items(), key=lambda item: (item[1], item[0]))
    return facts


def _changed(sections: Sections, values: Mapping[str, Any]) -> Sections:
    changed = {section: dict(entries) for section, entries in sections.items()}
    for name, value in values.items():
        section, key = name.split(".")
        changed[section][key] = value
    return changed
