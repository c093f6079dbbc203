"""The audit: each trusted row judged by a fit that did not know it, and what the judgements say together."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stages.purify.calibrate import Pairs

ONE_SIDED = 1.645
TWO_SIDED = 1.96


@dataclass(frozen=True)
class Judged:
    """What the fits said about trusted rows that they did not know."""

    rows: Tensor  # [v] long
    folds: Tensor  # [v] long: the view that judged
    pairs: Pairs
    suggested: Tensor  # [v] long
    confidence: Tensor  # [v] probability of the suggestion
    given_confidence: Tensor  # [v] probability of the given label, 0 where there is none
    log_loss: Tensor  # [v] of the method's probabilities
    keep_log_loss: Tensor  # [v] of what the given label alone says
    beliefs: Tensor  # [v, K], or [v, 0] where there are too many classes


@dataclass(frozen=True)
class Gain:
    """How many more trusted rows are right as suggested than as given, and how sure that is."""

    rows: int
    given_right: float
    suggested_right: float
    wins: int
    losses: int
    gain: float
    low: float
    high: float
    lower_bound: float
    upper_bound: float
    log_loss_gain: float
    z: float


def hash_draw(seed: int, purpose: str, names: Sequence[str]) -> Tensor:
    """Draw a number in [0, 1) for each name, the same wherever and whenever it is drawn: [N] float64."""
    key = f"{seed}:{purpose}".encode()[:64]
    words = [int.from_bytes(hashlib.blake2b(n.encode(), digest_size=6, key=key).digest(), "big") for n in names]
    return torch.tensor(words, dtype=torch.float64) / 2.0**48


def measure_gain(judged: Judged) -> Gain:
    """Compare suggested with given labels on the rows that have both.

    The interval is Wald's on wins minus losses after half a row is added to each cell (Agresti and Min, 2005): with
    no win and no loss it still has a width.
    """
    has = judged.pairs.given >= 0
    pairs, weights = judged.pairs.take(has), judged.pairs.weights[has]
    rows = len(pairs)
    if rows == 0:
        return Gain(0, 0.0, 0.0, 0, 0, 0.0, -1.0, 1.0, -1.0, 1.0, 0.0, 0.0)
    share = weights / weights.sum()
    effective = float(1 / share.square().sum())
    before, after = pairs.given == pairs.labels, judged.suggested[has] == pairs.labels
    wins, losses = after & ~before, before & ~after
    won, lost = float(share[wins].sum()), float(share[losses].sum())
    p, q = (won * effective + 0.5) / (effective + 2), (lost * effective + 0.5) / (effective + 2)
    middle, error = p - q, math.sqrt(max(p + q - (p - q) ** 2, 0.0) / (effective + 2))
    difference = (judged.keep_log_loss - judged.log_loss)[has]
    mean = float((share * difference).sum())
    spread = math.sqrt(float((share.square() * (difference - mean).square()).sum()))
    return Gain(
        rows, float(share[before].sum()), float(share[after].sum()), int(wins.sum()), int(losses.sum()), won - lost,
        low=max(middle - TWO_SIDED * error, -1.0), high=min(middle + TWO_SIDED * error, 1.0),
        lower_bound=max(middle - ONE_SIDED * error, -1.0), upper_bound=min(middle + ONE_SIDED * error, 1.0),
        log_loss_gain=mean, z=mean / spread if spread > 1e-12 else 0.0,
    )  # fmt: skip


def calibration_error(confidence: Tensor, right: Tensor, weights: Tensor | None = None, bins: int = 10) -> float | None:
    """Return the mean distance of confidence and accuracy over equal bins of confidence (None without rows)."""
    if len(confidence) == 0:
        return None
    place, share = (confidence * bins).long().clamp(max=bins - 1), torch.ones_like(confidence, dtype=torch.float64)
    share = share if weights is None else weights
    gap = share * (confidence.double() - right.double())
    return float(gap.new_zeros(bins).index_add_(0, place, gap).abs().sum() / share.sum())


def share_interval(share: float, rows: float, z: float = TWO_SIDED) -> tuple[float, float]:
    """Return Wilson's interval of a share seen in so many rows."""
    if rows <= 0:
        return 0.0, 1.0
    middle = (share + z * z / (2 * rows)) / (1 + z * z / rows)
    half = z / (1 + z * z / rows) * math.sqrt(max(share * (1 - share), 0.0) / rows + z * z / (4 * rows * rows))
    return max(middle - half, 0.0), min(middle + half, 1.0)
