"""A model as a PyTorch state dict, for modules outside this program.

Dimensions: V vocabulary, H hidden.
"""

from __future__ import annotations

from pathlib import Path

from char_rnn.cells import BUILT_IN, GRU, LSTM, RNN
from char_rnn.model_file import ModelFile
from char_rnn.models.parameters import cell_of, check_finite, check_tensors
from char_rnn.utils.config import ModelConfig
from char_rnn.utils.config.model import FOR_TRAINING
from char_rnn.utils.files import replacing


def write_state_dict(file: ModelFile, path: str | Path) -> None:
    """Write a model's tensors by name, in their own precision, in one step.

    ``torch.load(path, weights_only=True)`` reads it; :func:`loaded_by` names the modules to load it into.

    Raises:
        ValueError: The tensors do not match the configuration, or are not finite.
        OSError: The file cannot be written.
    """
    import torch

    check_tensors(file.config.model, file.vocabulary.size, file.tensors)
    check_finite(file.tensors)
    tensors = {name: torch.from_numpy(array.copy()) for name, array in file.tensors.items()}
    with replacing(path) as temporary, temporary.open("wb") as opened:
        torch.save(tensors, opened)


def loaded_by(config: ModelConfig, vocab_size: int) -> str:
    """Return Python code of the modules that a model's state dict loads into.

    Args:
        config: Section `model` of a configuration.
        vocab_size: V.

    Returns:
        PyTorch's own modules if they compute this model, as ``embedding``, ``lstm`` (``gru``, ``rnn``) and
        ``output_proj``; else a class of :mod:`char_rnn`.
    """
    sizes = f"{config.hidden_size}, {config.num_layers}"
    kind, cell = config.type.upper(), cell_of(config)
    if is_plain(config):
        inputs = config.input_size(vocab_size)
        embedding = "" if config.embedding == "one-hot" else f"nn.Embedding({vocab_size}, {inputs}), "
        read = ", of one-hot vectors" if config.embedding == "one-hot" else ""
        return f"{embedding}nn.{kind}({inputs}, {sizes}), nn.Linear({config.hidden_size}, {vocab_size}){read}"
    options = "".join(f", {name}={value!r}" for name, value in _options(config).items())
    if type(cell) not in (GRU, LSTM, RNN):
        home = "char_rnn.cells." if cell.name in BUILT_IN else ""
        return f"char_rnn.CharModel({vocab_size}, {sizes}, cell={home}{type(cell).__name__}(){options})"
    return f"char_rnn.Char{kind}({vocab_size}, {sizes}{options})"


def is_plain(config: ModelConfig) -> bool:
    """Whether ``nn.Embedding``, ``nn.LSTM`` (``nn.GRU``, ``nn.RNN``) and ``nn.Linear`` compute the model."""
    return type(cell_of(config)) in (GRU, LSTM, RNN) and not set(_options(config)) - {"embedding", "embedding_size"}


def _options(config: ModelConfig) -> dict[str, object]:
    """Options other than sizes that change a trained model's predictions and differ from their defaults."""
    general = {"type", "hidden_size", "num_layers", *FOR_TRAINING}
    if config.type != "gru":
        general.add("reset")
    if config.attention == "none":
        general |= {"attention_heads", "attention_window"}
    if not config.match_lengths:
        general.add("match_window")
    default = ModelConfig()
    values = ((name, getattr(config, name)) for name in ModelConfig.model_fields if name not in general)
    return {name: value for name, value in values if value != getattr(default, name)}
