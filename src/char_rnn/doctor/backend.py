"""What the checks ask of a device: the one seam at which a test puts a wrong one in."""

from __future__ import annotations

import torch
from torch import Tensor

from char_rnn.models import CharModel
from char_rnn.utils.device import describe, memory_in_use


class Backend:
    """A device of this machine.

    Args:
        kind: ``"cpu"``, ``"cuda"`` or ``"mps"``.

    Attributes:
        name: What the report calls it.
        device: Where tensors are put.
    """

    def __init__(self, kind: str) -> None:
        self.name = kind
        self.device = torch.device(kind)

    def describe(self) -> str:
        """Return the device in words."""
        return describe(self.device)

    def place(self, model: CharModel) -> CharModel:
        """Move a model to the device."""
        return model.to(self.device)

    def draw(self, probabilities: Tensor, count: int, *, replacement: bool) -> Tensor:
        """Draw ``count`` indices from each row of probabilities (R, V); return them, (R, count), on the CPU."""
        return torch.multinomial(probabilities.to(self.device), count, replacement=replacement).cpu()

    def synchronize(self) -> None:
        """Wait until the device has done what it was asked."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()

    def memory(self) -> dict[str, int]:
        """Return the memory in use, in bytes, as :meth:`char_rnn.utils.device.DeviceManager.memory` does."""
        return memory_in_use(self.device)
