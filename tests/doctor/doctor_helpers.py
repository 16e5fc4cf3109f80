"""Devices that are wrong in one way each, made of the CPU, and sizes that a test has the time for."""

from __future__ import annotations

import mmap
from dataclasses import replace
from typing import Any

import pytest
import torch

from char_rnn.doctor import Backend, Report, examination, examine_backends
from char_rnn.doctor.problem import Sizes
from char_rnn.models import CharGRU, CharModel

SMALL = Sizes(
    hidden=16, batch=(16, 16), steps=20, trained=(4, 8), large=(64, 4), draws=64, leak_hidden=16, leak_steps=10
)
LARGE = replace(SMALL, large=Sizes().large)


class Wrong(Backend):
    """The CPU under another name; the subclasses are wrong in one way."""

    def __init__(self) -> None:
        super().__init__("cpu")
        self.name = "wrong"


class WrongForward(Wrong):
    """Adds a thousandth of a nat to one log-probability."""

    def place(self, model: CharModel) -> CharModel:
        def shift(_: Any, __: Any, output: Any) -> Any:
            offset = torch.zeros_like(output[0])
            offset[0, 0, 0] = 1e-3
            return output[0] + offset, output[1]

        model.register_forward_hook(shift)
        return model


class WrongGradient(Wrong):
    """Makes one parameter's gradient a twentieth too large."""

    def place(self, model: CharModel) -> CharModel:
        dict(model.named_parameters())[f"{model.cell.name}.weight_hh_l0"].register_hook(
            lambda gradient: 1.05 * gradient
        )
        return model


class ForgetsToLearn(Wrong):
    """Loses a gradient from the sixth pass on: what is right once goes wrong in training alone."""

    def place(self, model: CharModel) -> CharModel:
        passes = 0

        def lose(gradient: torch.Tensor) -> torch.Tensor:
            nonlocal passes
            passes += 1
            return gradient if passes < 6 else 0 * gradient

        model.output_proj.bias.register_hook(lose)
        return model


class WrongAfterBatchChange(Wrong):
    """Makes gradients a thousand times too large above 32,768 symbols, if the batch before had another size."""

    def place(self, model: CharModel) -> CharModel:
        seen: list[torch.Size] = []

        def scale(gradient: torch.Tensor) -> torch.Tensor:
            changed = len(seen) > 1 and seen[-1] != seen[-2]
            return gradient * 1000 if changed and seen[-1].numel() > 32_768 else gradient

        model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape))
        model.output_proj.weight.register_hook(scale)
        return model


class SameMask(Wrong):
    """Begins its random numbers anew at every call, so that dropout takes the same units."""

    def place(self, model: CharModel) -> CharModel:
        model.register_forward_pre_hook(lambda *_: torch.manual_seed(1) and None)
        return model


class DropsInEvaluation(Wrong):
    """Applies the dropout after the top layer in evaluation too."""

    def place(self, model: CharModel) -> CharModel:
        def drop(_: Any, inputs: Any) -> Any:
            return None if model.training else torch.nn.functional.dropout(inputs[0], model.dropout)

        model.output_proj.register_forward_pre_hook(drop)
        return model


class DependsOnTheBatch(Wrong):
    """Is a little off in evaluation with few sequences, once dropout was at work (pytorch issue 180744)."""

    def place(self, model: CharModel) -> CharModel:
        def shift(_: Any, inputs: Any, output: Any) -> Any:
            few = model.dropout and not model.training and len(inputs[0]) < 10
            return (output[0] + 1e-3, output[1]) if few else None

        model.register_forward_hook(shift)
        return model


class UnmaskedGradient(Wrong):
    """Takes the gradient past the dropout between the layers as if there were none (pytorch issue 190056)."""

    def place(self, model: CharModel) -> CharModel:
        run_layer, above = model.run_layer, []
        second = False

        def remember(gradient: torch.Tensor) -> None:
            above.append(gradient)

        def unmasked(x: torch.Tensor, *arguments: Any, **options: Any) -> Any:
            nonlocal second
            output, state = run_layer(x, *arguments, **options)
            dropped = output.requires_grad and model.dropout
            if dropped and second:
                x.register_hook(remember)
            elif dropped:
                output.register_hook(lambda _: above.pop())
            second = not second
            return output, state

        model.run_layer = unmasked  # type: ignore[method-assign]
        return model


class DrawsImpossible(Wrong):
    """Draws an item of probability zero once, as its very last."""

    def draw(self, probabilities: torch.Tensor, count: int, *, replacement: bool) -> torch.Tensor:
        drawn = super().draw(probabilities, count, replacement=replacement)
        if not replacement:
            drawn[-1, -1] = 12_345
        return drawn


class DrawsNothingThatThereIs(Wrong):
    """Draws, of many, one index past the last (pytorch issue 136623)."""

    def draw(self, probabilities: torch.Tensor, count: int, *, replacement: bool) -> torch.Tensor:
        drawn = super().draw(probabilities, count, replacement=replacement)
        if replacement:
            drawn[0, 7] = probabilities.shape[1]
        return drawn


class DrawsAlwaysTheSame(Wrong):
    """Draws the first item that is possible (pytorch issue 99802)."""

    def draw(self, probabilities: torch.Tensor, count: int, *, replacement: bool) -> torch.Tensor:
        return probabilities.argmax(1, keepdim=True).expand(-1, count)


class Leaks(Wrong):
    """Keeps a MiB of the process's memory at every pass."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[mmap.mmap] = []

    def place(self, model: CharModel) -> CharModel:
        def keep(*_: Any) -> None:
            self.kept.append(mmap.mmap(-1, 1 << 20))
            self.kept[-1].write(bytes(1 << 20))

        model.output_norm.register_forward_hook(keep)  # which runs in every pass, whatever computes the loss
        return model


class LeaksOnItsOwn(Leaks):
    """Tells, as CUDA and MPS do, of the tensors on it: 4 KiB more at every pass."""

    def memory(self) -> dict[str, int]:
        return {"allocated": 4096 * len(self.kept), "reserved": 1 << 30}


class LacksAnOperation(Wrong):
    """Has no GRU; the message goes on for several lines."""

    def place(self, model: CharModel) -> CharModel:
        def refuse(*_: Any) -> None:
            raise NotImplementedError("aten::gru is not implemented for this device.\nSee elsewhere.")

        if isinstance(model, CharGRU):
            model.register_forward_pre_hook(refuse)
        return model


def examine_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a whole examination take a second or two."""
    monkeypatch.setattr(examination, "Sizes", lambda: SMALL)
    monkeypatch.setattr(examination, "HIDDEN", (8, 16))
    monkeypatch.setattr(examination, "COMPARED", (8,))
    monkeypatch.setattr(examination, "SECONDS", 0.01)


def examined(backend: Backend, *cells: str, sizes: Sizes = SMALL) -> Report:
    """Return the report on one device, without the speed."""
    return examine_backends([backend], speed=False, sizes=sizes, cells=cells)


def statuses(report: Report, cell: str | None) -> dict[str, str]:
    """Return how each check of a cell went, by name."""
    return {check.check: check.status for check in report.checks if check.cell == cell}
