"""Choose the rows that a person should look at: a share drawn evenly, the rest by a method's score, spread out."""

from dataclasses import dataclass
from typing import assert_never

import numpy as np

from stages.review.config import Method, ReviewConfig
from stages.review.methods import cover, disagreement, expected_gain, uncertainty
from stages.review.pool import Floats, Ints, Pool


@dataclass(frozen=True)
class Picked:
    """Positions in the pool in the order in which they are shown, which tells nobody how a row was chosen."""

    places: Ints
    drawn: Ints  # 1 where the row was drawn evenly, 0 where it was picked
    scores: Floats
    share: float  # the part of the pool that was drawn


def pick(pool: Pool, config: ReviewConfig) -> Picked:
    """Choose the rows."""
    rng = np.random.default_rng(config.seed)
    wanted = min(config.rows, len(pool))
    share = 1.0 if config.method == "random" else config.random_share
    drawn = rng.choice(len(pool), size=min(int(np.ceil(share * wanted)), wanted), replace=False)
    scores = score(pool, config.method, rng)
    ranked = scores.copy()
    ranked[drawn] = -np.inf
    chosen = spread(pool, np.argsort(-ranked, kind="stable")[: len(pool) - len(drawn)], wanted - len(drawn))
    places = rng.permutation(np.concatenate([drawn, chosen]))
    return Picked(places, np.isin(places, drawn).astype(np.int64), scores[places], len(drawn) / max(len(pool), 1))


def score(pool: Pool, method: Method, rng: np.random.Generator) -> Floats:
    """Score rows [n]; the highest are picked."""
    match method:
        case "expected_gain":
            return expected_gain.score(pool)
        case "uncertainty":
            return uncertainty.score(pool)
        case "disagreement":
            return disagreement.score(pool)
        case "cover":
            return cover.score(pool)
        case "random":
            return rng.random(len(pool))
        case _:
            assert_never(method)


def spread(pool: Pool, order: Ints, count: int) -> Ints:
    """Take rows in order, but none among whose nearest a like one was taken; those come last, if they must."""
    taken: list[int] = []
    passed: list[int] = []
    shadow = np.full(len(pool), -2, np.int64)  # the answer of a taken row that this one is near to
    for place in order.tolist():
        if len(taken) == count:
            break
        if shadow[place] == pool.suggested[place]:
            passed.append(place)
            continue
        taken.append(place)
        near = pool.near[place]
        shadow[near[near >= 0]] = pool.suggested[place]
    return np.asarray((taken + passed)[:count], dtype=np.int64)
