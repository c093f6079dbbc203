"""Pick the rows whose label is most likely wrong: score = 1 − P(purified label is right)."""

from stages.review.pool import Floats, Pool


def score(pool: Pool) -> Floats:
    """Score rows [n]; the highest are picked."""
    return pool.wrong
