"""What the nearest rows say for and against, against a slow count."""

import numpy as np

from pipeline.neighbours import Neighbours
from stages.report.cards import CardMaker
from stages.report.nearness import argument


def test_the_nearest_rows_are_counted_for_and_against(make_rows, blots) -> None:
    rows = make_rows(120)
    rng = np.random.default_rng(0)
    indices = rng.integers(-1, 120, size=(120, 12)).astype(np.int32)
    near = Neighbours(indices, np.ones((120, 12), np.float32), np.zeros(120, np.float32), np.full(120, None))
    for index in np.flatnonzero(rows.changed)[:10]:
        labels = [rows.target[n] if rows.trusted[n] else rows.given[n] for n in indices[index][:10] if n >= 0]
        found = argument(rows, near, int(index))
        assert len(found.votes_for) == labels.count(rows.target[index])
        assert len(found.votes_against) == labels.count(rows.given[index])
        support = CardMaker(rows, blots, neighbours=near).card(int(index)).support
        assert support is not None
        assert (support.votes_for, support.near) == (len(found.votes_for), len(labels))
        assert len(support.pictures_for) <= 3
