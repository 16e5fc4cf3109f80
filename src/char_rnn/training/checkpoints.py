"""The training state: all that a run needs beside its model to go on as if it had not been stopped.

One safetensors file, ``training_state.safetensors``, written to a temporary file and renamed. Tensors by prefix:

    model.*                     the state dict
    optimizer.KEY.PARAMETER     what the optimizer keeps for each parameter (``exp_avg``, ``exp_avg_sq``, ``step``)
    hidden.N                    the recurrent state carried into the next batch, of all streams
    rng.DEVICE[.RANK]           the states of PyTorch's generators, of each process that trained
    average.*                   the mean of the parameters, where one is kept

and in the metadata the format's version and, as JSON, the counters. Reading runs no code.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import torch

from char_rnn.model_file import BEST, LAST, ModelFileError, read_shapes, read_tensors, write_tensors
from char_rnn.runs import CONFIG, STATE
from char_rnn.utils.terminal import quoted

FORMAT, VERSION = "char-rnn training state", 1

Hidden = torch.Tensor | tuple[torch.Tensor, ...] | None


class CheckpointError(ValueError):
    """A training state that cannot be read or does not fit the run; the message says why and what to do."""


class DamagedStateError(CheckpointError):
    """A training state whose content cannot be right."""


def write_state(path: Path, tensors: Mapping[str, torch.Tensor], counters: Mapping[str, Any]) -> None:
    """Write tensors (from any device) and counters (JSON) in one step."""
    arrays = {name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()}
    metadata = {"format": FORMAT, "format_version": str(VERSION), "counters": json.dumps(dict(counters))}
    write_tensors(path, arrays, metadata)


def read_state(run: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read the training state of a run folder.

    Raises:
        CheckpointError: none is there, or it is something else, or of a later version.
        DamagedStateError: it is damaged; the message says what is left.
    """
    path = run / STATE
    if not path.exists():
        raise CheckpointError(
            f"{run}: stopped before its first checkpoint (no {STATE}); begin it again: --config {quoted(run / CONFIG)}"
            f" --out {quoted(run)}"
        )
    try:
        arrays, metadata = read_tensors(path)
        counters = _counters(path, metadata)
    except (ModelFileError, DamagedStateError) as error:
        raise DamagedStateError(f"{error}; {what_stays(run)}") from None
    return {name: torch.from_numpy(array) for name, array in arrays.items()}, counters


def what_stays(run: Path) -> str:
    """Say what can be done with a run whose training state is lost."""
    models = [name for name in (BEST, LAST) if (run / name).exists()]
    if not models:
        return f"nothing else is left of the run; begin it again: --config {quoted(run / CONFIG)} --out RUN"
    return f"{' and '.join(models)} stay: start a new run from the model with --init-from {quoted(run)}"


def read_counters(path: Path) -> dict[str, Any]:
    """Read the counters of a training state alone.

    Raises:
        CheckpointError: as ``read_state``.
    """
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
        raise DamagedStateError(f"{path}: its counters are damaged (no table)")
    return counters


def pack(prefix: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors with ``prefix.`` before their names."""
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def unpack(prefix: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors whose names begin with ``prefix.``, without it."""
    start = f"{prefix}."
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}


def optimizer_tensors(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """Return what the optimizer keeps, as ``KEY.PARAMETER`` -> tensor."""
    names: dict[torch.Tensor, str] = {parameter: name for name, parameter in model.named_parameters()}
    return {
        f"{key}.{names[parameter]}": torch.as_tensor(value)
        for parameter, kept in optimizer.state.items()
        for key, value in kept.items()
        if value is not None
    }


def restore_optimizer(
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    tensors: Mapping[str, torch.Tensor],
    keys: Collection[str] = (),
) -> None:
    """Give the optimizer back what ``optimizer_tensors`` returned.

    Args:
        model: the model whose parameters it optimizes.
        optimizer: an optimizer of the same kind.
        tensors: what ``optimizer_tensors`` returned.
        keys: those that every parameter must have.

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
    """Whether an optimizer may store a tensor of a parameter: numbers like its own, or one number."""
    if tensor.shape == parameter.shape:
        return tensor.dtype == parameter.dtype
    return not tensor.shape and tensor.is_floating_point()


def rng_tensors(device: torch.device) -> dict[str, torch.Tensor]:
    """Return the states of the generators that a run on ``device`` draws from."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    elif device.type == "mps":
        states["mps"] = torch.mps.get_rng_state()
    return states


def restore_rng(device: torch.device, states: Mapping[str, torch.Tensor], rank: int = 0) -> bool:
    """Set the generators to the states of a rank, and return whether there were any; those of another device stay."""
    own = {
        kind: states[name] for kind in ("cpu", device.type) if (name := f"{kind}.{rank}" if rank else kind) in states
    }
    if "cpu" in own:
        torch.set_rng_state(own["cpu"])
    if "cuda" in own:
        torch.cuda.set_rng_state(own["cuda"], device)
    elif "mps" in own:
        torch.mps.set_rng_state(own["mps"])
    return bool(own)


def hidden_tensors(hidden: Hidden) -> dict[str, torch.Tensor]:
    """Return a recurrent state as numbered tensors; empty for None."""
    if hidden is None:
        return {}
    parts = hidden if isinstance(hidden, tuple) else (hidden,)
    return {str(number): part for number, part in enumerate(parts)}


def rows_of(hidden: Hidden, rows: slice) -> Hidden:
    """Return some rows of a state (L, B, H)."""
    if hidden is None:
        return None
    return tuple(part[:, rows] for part in hidden) if isinstance(hidden, tuple) else hidden[:, rows]


def restore_hidden(like: Hidden, tensors: Mapping[str, torch.Tensor]) -> Hidden:
    """Return the recurrent state that ``hidden_tensors`` took apart; None when it was None.

    Args:
        like: a state of the right shapes, type and device.
        tensors: the parts by number.

    Raises:
        DamagedStateError: they are no such state.
    """
    if not tensors:
        return None
    expected = hidden_tensors(like)
    if {name: part.shape for name, part in tensors.items()} != {name: part.shape for name, part in expected.items()}:
        raise DamagedStateError("the recurrent state does not fit this model and batch size")
    parts = tuple(tensors[name].to(part) for name, part in expected.items())
    return parts if isinstance(like, tuple) else parts[0]
