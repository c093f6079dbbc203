"""Optimisers by name; weight decay spares biases and norms."""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

MOMENTUM = 0.9

OptimiserName = Literal["sgd", "adamw", "lars"]


def build_optimiser(
    network: nn.Module,
    name: OptimiserName,
    learning_rate: float,
    weight_decay: float,
    scales: Mapping[Tensor, float] | None = None,
) -> torch.optim.Optimizer:
    """Build an optimiser over all trainable parameters of a network; some may learn at a share of the rate."""
    parts: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for p in network.parameters():
        if p.requires_grad:
            parts.setdefault(((scales or {}).get(p, 1.0), p.ndim <= 1), []).append(p)
    groups = [
        {"params": some, "weight_decay": 0.0 if small else weight_decay, "scale": scale}
        for (scale, small), some in sorted(parts.items(), key=lambda part: part[0])
    ]
    match name:
        case "sgd":
            return torch.optim.SGD(groups, lr=learning_rate, momentum=MOMENTUM, nesterov=True)
        case "adamw":
            return torch.optim.AdamW(groups, lr=learning_rate)
        case "lars":
            from lightly.utils.lars import LARS  # here, as it takes a second that the others do not need

            optimiser: torch.optim.Optimizer = LARS(groups, lr=learning_rate, momentum=MOMENTUM)
            return optimiser


def set_learning_rate(optimiser: torch.optim.Optimizer, learning_rate: float) -> None:
    """Set the learning rate of all groups, to each its share."""
    for group in optimiser.param_groups:
        group["lr"] = learning_rate * group["scale"]
