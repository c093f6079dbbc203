"""A step's batch, and learners around networks that are small enough to compute by hand."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from stages.retrain.learner import Batch, Setting

CLASSES = 4


def linear(number: int) -> nn.Module:
    torch.manual_seed(number)
    return nn.Linear(3, CLASSES)


@pytest.fixture
def setting() -> Setting:
    return Setting(linear, rows=20, classes=CLASSES, noise_rate=0.4)


@pytest.fixture
def make_batch() -> Callable[..., Batch]:
    """Make a batch of 6 rows; `more` overrides any part."""

    def make(**more: Any) -> Batch:
        generator = torch.Generator().manual_seed(5)
        labels = torch.tensor([0, 1, 2, 3, 0, 1])
        parts = {
            "rows": torch.arange(6) + 3, "views": (torch.randn(6, 3, generator=generator),),
            "targets": functional.one_hot(labels, CLASSES).float(), "weights": torch.ones(6), "seed": 1, "done": 0.5,
        }  # fmt: skip
        return Batch(**{**parts, **more})

    return make


@pytest.fixture
def soft() -> torch.Tensor:
    """Make targets that are sure of nothing."""
    return torch.rand(6, CLASSES, generator=torch.Generator().manual_seed(1)).softmax(1)
