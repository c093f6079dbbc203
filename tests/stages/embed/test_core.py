"""Directions, strangers, duplicates: the mathematics."""

import numpy as np
import pytest

from pipeline.features import ROWS_SCHEMA, Features
from stages.embed.core import earliest_twins, outlier_scores
from stages.embed.directions import pick_centre, unit_vectors


def features(values: np.ndarray) -> Features:
    return Features(ROWS_SCHEMA.empty_table(), (values,))


def test_directions_are_unit_vectors_seen_from_the_centre() -> None:
    values = np.random.default_rng(0).normal(5.0, 1.0, size=(50, 4))
    result = unit_vectors(values, values.mean(axis=0))
    centred = values - values.mean(axis=0)
    assert np.allclose(result, centred / np.linalg.norm(centred, axis=1, keepdims=True), atol=1e-6)
    assert result.dtype == np.float32


@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1.0, 1e30])
def test_directions_do_not_depend_on_the_scale_of_the_features(scale: float) -> None:
    values = np.random.default_rng(0).normal(size=(50, 4))
    scaled = (values * scale).astype(np.float32)
    assert np.allclose(
        unit_vectors(scaled, scaled.mean(axis=0, dtype=np.float64)),
        unit_vectors(values, values.mean(axis=0)),
        atol=1e-5,
    )


@pytest.mark.parametrize("value", [0.0, 0.1, 1e20])
def test_constant_features_have_no_direction(value: float) -> None:
    values = np.full((30, 4), value, np.float32)
    assert (unit_vectors(values, values.mean(axis=0, dtype=np.float64)) == 0).all()


def test_the_encoders_centre_serves_unless_the_dataset_lies_elsewhere() -> None:
    values = np.random.default_rng(0).normal(3.0, 1.0, size=(400, 8)).astype(np.float32)
    rows, near, far = np.arange(400), np.full(8, 3.05), np.full(8, 1.0)
    mean = values.mean(axis=0, dtype=np.float64)
    assert pick_centre(features(values), rows, near).tolist() == near.tolist()
    assert np.allclose(pick_centre(features(values), rows, far), mean)
    assert np.allclose(pick_centre(features(values), rows, None), mean)
    assert np.allclose(pick_centre(features(values), rows, np.zeros(5)), mean)


def test_outlier_scores_rank_from_the_most_typical_to_the_strangest() -> None:
    assert outlier_scores(np.array([0.9, 0.15, 0.625, 0.625])).tolist() == pytest.approx([0.0, 1.0, 0.5, 0.5])
    assert outlier_scores(np.zeros(5)).tolist() == [0.5] * 5
    assert outlier_scores(np.zeros(1)).tolist() == [0.0]


def test_twins_are_told_the_earliest_of_their_group() -> None:
    pairs = [([3, 4], [3, 3]), ([], []), ([1], [2]), ([5], [0])]
    arrays = [(np.array(a, np.int64), np.array(b, np.int64)) for a, b in pairs]
    assert earliest_twins(arrays, 6).tolist() == [0, 1, 1, 3, 3, 0]
    chain = [(np.array([i]), np.array([i + 1])) for i in (4, 2, 0, 1, 3)]
    assert earliest_twins(chain, 6).tolist() == [0] * 6
    assert earliest_twins([], 3).tolist() == [0, 1, 2]
