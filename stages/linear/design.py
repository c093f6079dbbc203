"""The rows that linear methods see: centred, on the unit sphere, with the mean of each row's neighbours beside them."""

import torch
from torch import Tensor
from torch.nn import functional

WIDTH = 1024  # wider features are projected: the cost grows with the cube of the width
CHUNK = 8192


def working_dtype(rows: Tensor) -> torch.dtype:
    """Compute in float64 where the rows are, else in float32."""
    return torch.float64 if rows.dtype == torch.float64 else torch.float32


def design(features: Tensor, neighbours: Tensor, ok: Tensor, count: int) -> Tensor:
    """Return rows [N, d] or, with the mean of `count` neighbours, [N, 2d], in the dtype of the features [N, d]."""
    rows = unit_rows(features, ok)
    if count == 0 or neighbours.shape[1] == 0:
        return rows
    return torch.cat([rows, neighbour_means(rows, neighbours[:, :count])], dim=1).mul_(0.5**0.5)


def unit_rows(features: Tensor, ok: Tensor) -> Tensor:
    """Centre the features by the mean of the rows that are ok, and scale each row to length 1 (or leave it 0)."""
    dtype = working_dtype(features)
    projection = _projection(features, dtype)
    scale = max((float(part.abs().max()) for part in torch.split(features, CHUNK) if part.numel()), default=1.0) or 1.0
    used = max(int(ok.sum()), 1)
    parts = zip(torch.split(features, CHUNK), torch.split(ok, CHUNK), strict=True)
    mean = sum((part[mask].double().div(scale).sum(0) for part, mask in parts), torch.zeros(())) / used
    rows = features.new_empty(len(features), features.shape[1] if projection is None else projection.shape[1])
    for start in range(0, len(features), CHUNK):
        here = slice(start, start + CHUNK)
        centred = (features[here].double() / scale - mean).to(dtype)
        centred[centred.abs() < 1e-7] = 0  # what rounding leaves of a constant column
        centred = centred if projection is None else centred @ projection
        rows[here] = (functional.normalize(centred, dim=1) * ok[here, None]).to(rows.dtype)
    return rows


def neighbour_means(rows: Tensor, neighbours: Tensor) -> Tensor:
    """Average the neighbours of each row [N, k] (-1 = none) and scale to length 1: [N, d]."""
    result = torch.empty_like(rows)
    table = rows.to(working_dtype(rows))
    for start in range(0, len(rows), CHUNK):
        index = neighbours[start : start + CHUNK].long()
        there = (index >= 0).to(table.dtype)
        total = functional.embedding_bag(index.clamp_min(0), table, mode="sum", per_sample_weights=there)
        result[start : start + CHUNK] = functional.normalize(total, dim=1).to(rows.dtype)
    return result


def _projection(features: Tensor, dtype: torch.dtype) -> Tensor | None:
    """Draw the same Gaussian directions for every data set of this width."""
    width = features.shape[1]
    if width <= WIDTH:
        return None
    generator = torch.Generator().manual_seed(width)
    return torch.randn(width, WIDTH, generator=generator, dtype=dtype).to(features.device)
