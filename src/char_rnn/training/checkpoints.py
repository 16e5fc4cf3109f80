"""Checkpoints: the model files of a run, and the file of its training state.

The state is one safetensors file, ``training_state.safetensors``: the tensors, and in the metadata the version of the
format and, as JSON, the counters (:mod:`char_rnn.training.training_state` lists both). Every file is written to a
temporary one and renamed. Reading runs no code.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Collection, Mapping
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from char_rnn.model_file import ModelFile, ModelHeader
from char_rnn.models import CharModel
from char_rnn.runs import CONFIG, STATE
from char_rnn.utils.model_files import BEST, LAST, ModelFileError, read_shapes, read_tensors, write_tensors
from char_rnn.utils.terminal import quoted

if TYPE_CHECKING:
    from char_rnn.data.vocabulary import Vocabulary
    from char_rnn.training.process_group import ProcessGroup
    from char_rnn.utils.config import Config

_logger = logging.getLogger("char_rnn")

FORMAT, VERSION = "char-rnn training state", 1


class CheckpointError(ValueError):
    """A training state that cannot be read or does not fit the run; the message says why and what to do."""


class DamagedStateError(CheckpointError):
    """A training state with invalid content."""


class TrainingState(NamedTuple):
    """State of a run at a step: its tensors by prefixed name, and its counters as JSON values."""

    tensors: Mapping[str, torch.Tensor]
    counters: Mapping[str, Any]

    @property
    def step(self) -> int:
        """Optimizer steps done."""
        return int(self.counters["step"])

    def part(self, prefix: str) -> dict[str, torch.Tensor]:
        """Return the tensors whose names begin with ``prefix.``, without it."""
        start = f"{prefix}."
        return {name.removeprefix(start): tensor for name, tensor in self.tensors.items() if name.startswith(start)}


def pack(prefix: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors with ``prefix.`` before their names."""
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def write_state(path: Path, state: TrainingState) -> None:
    """Write a training state in one step; its tensors may be on any device."""
    arrays = {name: tensor.detach().cpu().numpy() for name, tensor in state.tensors.items()}
    metadata = {"format": FORMAT, "format_version": str(VERSION), "counters": json.dumps(dict(state.counters))}
    write_tensors(path, arrays, metadata)


def read_state(run: Path) -> TrainingState:
    """Read the training state of a run folder.

    Raises:
        CheckpointError: there is none, or it is another file, or of a later version.
        DamagedStateError: it is damaged; the message says what is left of the run.
    """
    path = run / STATE
    if not path.exists():
        raise CheckpointError(
            f"{run}: stopped before its first checkpoint (no {STATE}); start it again:"
            f" --config {quoted(run / CONFIG)} --out {quoted(run)}"
        )
    try:
        arrays, metadata = read_tensors(path)
        counters = _counters(path, metadata)
    except (ModelFileError, DamagedStateError) as error:
        raise DamagedStateError(f"{error}; {remaining_models(run)}") from None
    return TrainingState({name: torch.from_numpy(array) for name, array in arrays.items()}, counters)


def remaining_models(run: Path) -> str:
    """Describe what can be done with a run whose training state is lost."""
    models = [name for name in (BEST, LAST) if (run / name).exists()]
    if not models:
        return f"nothing else is left of the run; start it again: --config {quoted(run / CONFIG)} --out RUN"
    return f"{' and '.join(models)} remain: start a new run from the model with --init-from {quoted(run)}"


def read_counters(path: Path) -> dict[str, Any]:
    """Read the counters of a training state, without its tensors; errors as for ``read_state``."""
    try:
        return _counters(path, read_shapes(path)[1])
    except ModelFileError as error:
        raise DamagedStateError(str(error)) from None


def _counters(path: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    if metadata.get("format") != FORMAT:
        raise CheckpointError(f"{path}: not a training state of char-rnn")
    if metadata.get("format_version") != str(VERSION):
        raise CheckpointError(f"{path}: written by a later char-rnn; update char-rnn to resume it")
    try:
        counters = json.loads(metadata["counters"])
    except (KeyError, ValueError, RecursionError) as error:
        raise DamagedStateError(f"{path}: its counters are damaged ({type(error).__name__})") from None
    if not isinstance(counters, dict):
        raise DamagedStateError(f"{path}: its counters are damaged (not a table)")
    return counters


def optimizer_tensors(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """Return the state of an optimizer as ``KEY.PARAMETER`` -> tensor."""
    names: dict[torch.Tensor, str] = {parameter: name for name, parameter in model.named_parameters()}
    return {
        f"{key}.{names[parameter]}": torch.as_tensor(value)
        for parameter, state in optimizer.state.items()
        for key, value in state.items()
        if value is not None
    }


def restore_optimizer(
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    tensors: Mapping[str, torch.Tensor],
    keys: Collection[str] = (),
) -> None:
    """Restore what ``optimizer_tensors`` returned; every parameter must have ``keys``.

    Raises:
        DamagedStateError: a name, a type or a shape does not belong to this model, or a tensor is missing.
    """
    parameters = dict(model.named_parameters())
    for key, name in product(keys, parameters):
        if f"{key}.{name}" not in tensors:
            raise DamagedStateError(f"the optimizer's {f'{key}.{name}'!r} is missing")
    optimizer.state.clear()
    for name, tensor in tensors.items():
        key, _, parameter_name = name.partition(".")
        parameter = parameters.get(parameter_name)
        if parameter is None or not _fits(tensor, parameter):
            raise DamagedStateError(f"the optimizer's {name!r} does not fit this model")
        optimizer.state[parameter][key] = tensor.to(parameter.device, copy=True)


def _fits(tensor: torch.Tensor, parameter: torch.Tensor) -> bool:
    """Whether a tensor can be optimizer state of a parameter: of its shape and type, or a single number."""
    if tensor.shape == parameter.shape:
        return tensor.dtype == parameter.dtype
    return not tensor.shape and tensor.is_floating_point()


def saved_model(run: Path) -> ModelHeader:
    """Read the header of a run's last model; if that cannot be read, with a warning, of its best.

    Raises:
        ModelFileError, OSError: neither can be read.
    """
    try:
        return ModelHeader.read(run / LAST)
    except (ModelFileError, OSError) as error:
        if not (run / BEST).exists():
            raise
        _logger.warning("%s; using %s instead, the next checkpoint replaces it", error, BEST)
        return ModelHeader.read(run / BEST)


class CheckpointWriter:
    """Writes the model files and the training state of a run; without a folder it keeps the best model in memory.

    A file that cannot be written (full disk, missing permission) raises an ``OSError`` that says what remains on the
    disk; the earlier file is not touched. ``keep`` models of earlier steps stay.

    Attributes:
        best_loss, best_step: lowest validation loss so far, in nats per character, and its step; infinite and 0 before
            the first.
        last_saved: step of the last training state on the disk; None before the first.
    """

    def __init__(
        self, run_dir: Path | None, vocabulary: Vocabulary | None, metadata: Mapping[str, Any], keep: int = 0
    ) -> None:
        if run_dir is not None and vocabulary is None:
            raise ValueError("a trainer that writes a run folder needs the vocabulary")
        self.run_dir, self.vocabulary, self.metadata, self.keep = run_dir, vocabulary, dict(metadata), keep
        self.best_loss, self.best_step = math.inf, 0
        self.last_saved: int | None = None
        self._best: dict[str, torch.Tensor] = {}
        self._holds_best = False

    def state_dict(self) -> dict[str, Any]:
        """Return the best loss and its step, as JSON values."""
        best = self.best_loss if math.isfinite(self.best_loss) else None
        return {"best_val_loss": best, "best_step": self.best_step}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        best = state["best_val_loss"]
        self.best_loss, self.best_step = math.inf if best is None else best, state["best_step"]

    def write_model(self, path: str | Path, model: CharModel, config: Config, position: Mapping[str, float]) -> Path:
        """Write the current model to a self-contained model file."""
        if self.vocabulary is None:
            raise ValueError("a model file needs the vocabulary: pass it to the trainer")
        tensors = {name: tensor.detach().cpu().numpy() for name, tensor in model.state_dict().items()}
        metadata = {**self.metadata, **position}
        if math.isfinite(self.best_loss):
            metadata |= self.state_dict()
        if self._holds_best:
            metadata["step"] = self.best_step
        return ModelFile(config, self.vocabulary, tensors, metadata).without_paths().write(path)

    def save(self, model: CharModel, config: Config, position: Mapping[str, float], state: TrainingState) -> None:
        """Write the last model, then the training state; nothing without a folder."""
        self._write(LAST, model, config, position, state)
        self.last_saved = state.step

    def save_step(self, model: CharModel, config: Config, position: Mapping[str, float]) -> None:
        """Write the model of this step, and remove the oldest of such files beyond ``keep``."""
        if self.run_dir is not None and self.keep:
            self._write(f"step-{int(position['step']):08d}.safetensors", model, config, position)
            for old in sorted(self.run_dir.glob("step-*.safetensors"))[: -self.keep]:
                old.unlink(missing_ok=True)

    def save_best(self, loss: float, model: CharModel, config: Config, position: Mapping[str, float]) -> None:
        """Keep the model, of this validation loss, as the best."""
        self.best_loss, self.best_step = loss, int(position["step"])
        self._write(BEST, model, config, position)
        if self.run_dir is None:
            self._best = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}

    def _write(
        self,
        name: str,
        model: CharModel,
        config: Config,
        position: Mapping[str, float],
        state: TrainingState | None = None,
    ) -> None:
        """Write a model, then a state, to the folder; an ``OSError`` says what remains there and how to resume."""
        if self.run_dir is None:
            return
        try:
            self.write_model(self.run_dir / name, model, config, position)
            if state is not None:
                write_state(self.run_dir / STATE, state)
        except OSError as error:
            raise OSError(
                f"the checkpoint of step {int(position['step']):,} could not be written to {self.run_dir}"
                f" ({error.strerror or error}); {self.remaining()}. Fix the cause, then resume with"
                f" --resume {quoted(self.run_dir)}"
            ) from error

    def load_best(self, model: CharModel, step: int) -> None:
        """Load the best parameters into the model of ``step``, unless that is the best, or there is none."""
        if self.best_step in {0, step}:
            return
        if self.run_dir is not None:
            arrays = ModelFile.read(self.run_dir / BEST).tensors
            self._best = {name: torch.from_numpy(array) for name, array in arrays.items()}
        model.load_state_dict(self._best)
        self._holds_best = True

    def check_best(self, group: ProcessGroup) -> None:
        """Forget the best model, with a warning, if the first process cannot read its file."""
        lost = 0.0
        try:
            if self.run_dir is not None and self.best_step:
                ModelHeader.read(self.run_dir / BEST)
        except (ModelFileError, OSError) as error:
            _logger.warning("%s; the best model so far is lost; the next new best model replaces it", error)
            lost = 1.0
        if group.broadcast(lost):
            self.best_loss, self.best_step = math.inf, 0

    def remaining(self) -> str:
        """Describe what a run that fails now leaves on the disk."""
        if not self.last_saved or self.run_dir is None:
            return "nothing was saved yet"
        return f"the model of step {self.last_saved} remains in {self.run_dir}"
