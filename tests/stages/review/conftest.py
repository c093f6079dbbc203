"""Pools to pick from."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from stages.review.pool import Pool

MakePool = Callable[..., Pool]


@pytest.fixture
def make_pool() -> MakePool:
    """Make a pool of three classes, the third without trusted rows; near rows are those beside a row."""

    def make(count: int = 60, seed: int = 0, **more: Any) -> Pool:
        rng = np.random.default_rng(seed)
        places = np.arange(count)
        parts = {
            "rows": 2 * places, "given": rng.integers(3, size=count), "suggested": rng.integers(3, size=count),
            "wrong": rng.random(count), "disagreement": rng.random(count), "density": rng.random(count),
            "near": np.stack([places - 1, np.where(places + 1 < count, places + 1, -1)], axis=1),
            "trusted": np.array([20, 20, 0]),
        }  # fmt: skip
        return Pool(**(parts | more))

    return make
