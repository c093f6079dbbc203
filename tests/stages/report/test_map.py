"""The map: like rows lie together, the same page every time, and whatever the features are."""

import numpy as np
import pytest

from pipeline.features import Features
from stages.report.map import drawn, feature_map, project
from stages.report.rows import LabelRows


def groups(per_group: int = 30) -> np.ndarray:
    rng = np.random.default_rng(0)
    centres = 10 * np.eye(3, 8)
    return np.concatenate([c + rng.normal(size=(per_group, 8)) for c in centres]).astype(np.float32)


@pytest.mark.parametrize("method", ["tsne", "pca"])
def test_like_rows_lie_together(method) -> None:
    flat = project(groups(), method)
    centres = flat.reshape(3, 30, 2).mean(axis=1)
    own = np.repeat(np.arange(3), 30)
    nearest = np.linalg.norm(flat[:, None] - centres[None], axis=2).argmin(axis=1)
    assert (nearest == own).mean() > 0.95
    assert np.array_equal(flat, project(groups(), method))


@pytest.mark.parametrize("values", [np.zeros((60, 4)), np.ones((60, 1)), np.arange(60.0)[:, None]])
def test_features_that_say_nothing_are_drawn_all_the_same(values: np.ndarray) -> None:
    flat = project(values.astype(np.float32), "tsne")
    assert flat.shape == (60, 2)
    assert np.isfinite(flat).all()


def test_points_say_where_they_are_and_what_became_of_them(make_rows) -> None:
    rows: LabelRows = make_rows(90)
    ok = np.where(np.arange(90) % 10 == 3, "broken", "ok")
    import pyarrow as pa

    table = pa.table({"sample_id": rows.table["sample_id"], "status": pa.array(ok)})
    found = feature_map(Features(table, (groups(),)), rows, 40, "pca")
    assert found is not None
    assert (len(found.rows), found.of) == (40, 81)
    assert not (found.rows % 10 == 3).any()
    points = drawn(found, rows)
    for row, point in zip(found.rows, points, strict=True):
        assert point["g"] == str(found.coloured.index(rows.given[row]))
        assert (point["f"] == "c") == bool(rows.changed[row])
        assert 0 <= point["x"] <= 1000
        assert 0 <= point["y"] <= 1000
    assert feature_map(Features(table, (groups(),)), rows, 0, "pca") is None
