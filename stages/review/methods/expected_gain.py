"""Pick the rows whose checking should mend most: a wrong label is mended here, and its neighbours learn from it.

score = P(wrong) · (½ + disagreement) · density · balance, where density is the mean similarity to the nearest rows and
balance = 1 / √(1 + trusted rows of the suggested class), relative to its mean.
"""

import numpy as np

from stages.review.pool import Floats, Pool


def score(pool: Pool) -> Floats:
    """Score rows [n]; the highest are picked."""
    balance = 1 / np.sqrt(1.0 + pool.trusted[np.maximum(pool.suggested, 0)])
    balance = np.where(pool.suggested >= 0, balance, balance.max(initial=1.0))
    relative = balance / max(float(balance.mean()), 1e-12)
    return np.asarray(pool.wrong * (0.5 + pool.disagreement) * pool.density * relative, dtype=np.float64)
