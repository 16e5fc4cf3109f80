"""The numbers a step computes in: the parameters' own type, or half precision where it is safe.

In bfloat16 and float16 the parameters, the optimizer and the recurrent state stay in float32; autocast multiplies
matrices in the shorter type. float16 has little range, so the loss is scaled up before the backward pass, and steps
whose gradients overflow are left out (Micikevicius et al. 2018, arXiv 1710.03740).
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

SMALLEST_SCALE = 2.0**-10
HALVES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


class Precision:
    """How a step computes.

    Args:
        name: ``training.precision``.
        device: where it computes.

    Raises:
        ValueError: float16 on MPS.

    Attributes:
        scaler: what scales the loss of float16; None elsewhere.
    """

    def __init__(self, name: str, device: torch.device) -> None:
        self._device, self._half = device.type, HALVES.get(name)
        if name == "float16" and device.type == "mps":  # optimizers there do not leave out steps that overflow
            raise ValueError("training.precision float16 does not work on MPS; set it to bfloat16 or float32")
        self.scaler = torch.amp.GradScaler(device.type) if self._half is torch.float16 else None

    def context(self) -> AbstractContextManager[Any]:
        """Return the context that a forward pass runs in."""
        return torch.autocast(self._device, self._half) if self._half is not None else nullcontext()

    def backward(self, loss: torch.Tensor) -> None:
        """Run the backward pass of a loss."""
        scaled = loss if self.scaler is None else self.scaler.scale(loss)
        scaled.backward()  # type: ignore[no-untyped-call]

    def unscale(self, optimizer: torch.optim.Optimizer) -> None:
        """Bring the gradients back to their own size; called once a step, when they are complete."""
        if self.scaler is not None:
            self.scaler.unscale_(optimizer)

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """Let the optimizer make its step, unless the gradients of float16 have overflowed."""
        if self.scaler is None:
            optimizer.step()
            return
        self.scaler.step(optimizer)
        self.scaler.update()

    @property
    def may_overflow(self) -> bool:
        """Whether a gradient that is not finite may be due to the scale; not when that has come down to nothing."""
        return self.scaler is not None and self.scaler.get_scale() >= SMALLEST_SCALE

    def state(self) -> dict[str, float]:
        """Return the scaler's state, as JSON can hold it; empty without one."""
        kept = self.scaler.state_dict() if self.scaler is not None else {}
        return {"scale": float(kept["scale"]), "growth": int(kept["_growth_tracker"])} if kept else {}

    def load_state(self, state: dict[str, float]) -> None:
        """Take up what ``state`` returned."""
        if self.scaler is not None and state:
            kept = self.scaler.state_dict()
            self.scaler.load_state_dict({**kept, "scale": state["scale"], "_growth_tracker": int(state["growth"])})
