"""Votes among the nearest neighbours, the row itself left out."""

import torch
from torch import Tensor


def count_labels(neighbours: Tensor, labels: Tensor, classes: int, dtype: torch.dtype) -> Tensor:
    """Count the labels [N] (-1 = none) of each row's neighbours [n, k] (-1 = none): [n, classes]."""
    index = neighbours.long()
    found = torch.where(index >= 0, labels[index.clamp_min(0)], -1)
    counts = torch.zeros(len(index), classes + 1, dtype=dtype, device=labels.device)
    counts.scatter_add_(1, torch.where(found >= 0, found, classes), torch.ones_like(found, dtype=dtype))
    return counts[:, :classes]
