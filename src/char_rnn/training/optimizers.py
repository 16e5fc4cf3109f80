"""The optimizer of a run."""

from __future__ import annotations

import torch

from char_rnn.utils.config import TrainingConfig


def build_optimizer(model: torch.nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    """Return AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101) over all parameters.

    Weight decay pulls on matrices alone: on biases it costs accuracy and regularizes nothing.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    fused = all(p.device.type in {"cpu", "cuda", "mps"} and p.is_floating_point() for p in parameters)
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.adam_betas, fused=fused)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the rate of every parameter group."""
    for group in optimizer.param_groups:
        group["lr"] = rate
