"""Optimisers by name; weight decay spares biases and norms."""

from typing import Literal

import torch
from torch import nn

MOMENTUM = 0.9

OptimiserName = Literal["sgd", "adamw", "lars"]


def build_optimiser(
    network: nn.Module, name: OptimiserName, learning_rate: float, weight_decay: float
) -> torch.optim.Optimizer:
    """Build an optimiser over all trainable parameters of a network."""
    trainable = [p for p in network.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trainable if p.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
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
    """Set the learning rate of all groups."""
    for group in optimiser.param_groups:
        group["lr"] = learning_rate
