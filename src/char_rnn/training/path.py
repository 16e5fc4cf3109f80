"""Which code computes the recurrent layers of a training: kernels in C, or PyTorch and why."""

from __future__ import annotations

import torch

from char_rnn import kernels
from char_rnn.ops import native
from char_rnn.utils.config import Config


def training_path(config: Config, device: torch.device) -> str:
    """Return which code trains the recurrent layers, such as ``kernels (avx512)`` or ``PyTorch (float64)``.

    Args:
        config: Configuration of the run, its precision chosen.
        device: Device it trains on.
    """
    if config.training.trainer == "torch7":
        return "PyTorch (as in 2015)"
    if device.type != "cpu":
        return "PyTorch"
    if config.training.precision in {"float64", "float16"}:
        return f"PyTorch ({config.training.precision})"
    if (level := kernels.level()) is None:
        return f"PyTorch ({kernels.why_none()})"
    library = native.kernels()
    if config.training.precision == "bfloat16" and library is not None and not library.train_has_bfloat16():
        return f"PyTorch (kernels for {level} have no bfloat16)"
    return f"kernels ({level})"
