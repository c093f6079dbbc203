"""Pick the rows about which given label, suggestion and baselines disagree most; among equals the likeliest wrong."""

from stages.review.pool import Floats, Pool


def score(pool: Pool) -> Floats:
    """Score rows [n]; the highest are picked."""
    return pool.disagreement + 1e-3 * pool.wrong
