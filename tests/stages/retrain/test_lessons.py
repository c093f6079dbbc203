"""What rows teach, and how predictions are scored."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from stages.retrain.config import RetrainConfig
from stages.retrain.core import given_lessons, hard_lessons, purified_lessons, summary_of, yardstick

ACTIONS = ["keep", "relabel", "review", "trusted"]


@pytest.fixture
def table() -> pa.Table:
    return pa.table(
        {
            "given_label": pa.array([0, 1, None, 2], pa.int32()),
            "purified_label": pa.array([0, 2, 1, 2], pa.int32()),
            "action": pa.array(ACTIONS).dictionary_encode(),
            "confidence": pa.array([0.9, 0.8, 0.4, 0.5], pa.float32()),
            "given_confidence": pa.array([0.9, 0.2, None, 0.4], pa.float32()),
            "top_labels": pa.array([[0, 1], [2, 0], [1], [0, 2]], pa.list_(pa.int32())),
            "top_probs": pa.array([[0.9, 0.1], [0.8, 0.1], [0.4], [0.5, 0.5]], pa.list_(pa.float32())),
        }
    )


ALL = np.ones(4, bool)
ROWS = torch.arange(4)


def test_soft_targets_are_the_beliefs_and_trusted_rows_stay_hard(table: pa.Table) -> None:
    targets = purified_lessons(table, ALL, RetrainConfig(), soft=True).targets(ROWS, 3)
    rest = 0.1 / 3
    expected = [[0.9, 0.1, 0], [0.1 + rest, rest, 0.8 + rest], [0.2, 0.6, 0.2], [0, 0, 1]]
    torch.testing.assert_close(targets, torch.tensor(expected), atol=1e-6, rtol=0)


def test_one_hot_beliefs_teach_what_hard_labels_do(table: pa.Table) -> None:
    sure = table.set_column(5, "top_labels", pa.array([[0, 1], [2, 0], [1, 0], [2, 1]], pa.list_(pa.int32())))
    sure = sure.set_column(6, "top_probs", pa.array([[1.0, 0.0]] * 4, pa.list_(pa.float32())))
    soft, hard = (purified_lessons(sure, ALL, RetrainConfig(), soft=s).targets(ROWS, 3) for s in (True, False))
    assert torch.equal(soft, hard)


@pytest.mark.parametrize(
    ("options", "weights"),
    [
        ({"review_rows": "drop"}, [1, 1, 0, 1]),
        ({"review_rows": "downweight"}, [1, 1, 0.4, 1]),
        ({"review_rows": "keep"}, [1, 1, 1, 1]),
        ({"review_rows": "keep", "weigh_by_confidence": True}, [0.9, 0.8, 0.4, 1]),
        ({"review_rows": "drop", "weigh_by_confidence": True}, [0.9, 0.8, 0, 1]),
    ],
)
def test_doubtful_rows_count_as_the_options_say(table: pa.Table, options: dict[str, Any], weights: list[float]) -> None:
    lessons = purified_lessons(table, ALL, RetrainConfig(**options), soft=False)
    torch.testing.assert_close(lessons.weights, torch.tensor(weights, dtype=torch.float32))


def test_given_labels_teach_as_they_came(table: pa.Table) -> None:
    lessons = given_lessons(table, np.array([True, True, True, False]))
    assert lessons.labels.flatten()[:2].tolist() == [0, 1]
    assert lessons.weights.tolist() == [1, 1, 0, 0]
    assert lessons.noise_rate == pytest.approx(1 - (0.9 + 0.2) / 2)  # of the two rows that teach


def test_rare_classes_count_more_as_far_as_is_wanted(table: pa.Table) -> None:
    labels = np.array([0, 0, 0, 1], np.int32)
    plain = hard_lessons(labels, np.ones(4, np.float32))
    torch.testing.assert_close(plain.balanced(2, 1.0).weights, torch.tensor([2 / 3, 2 / 3, 2 / 3, 2]))
    assert plain.balanced(2, 0.0) is plain
    half = plain.balanced(2, 0.5).weights
    assert half[3] / half[0] == pytest.approx(3**0.5)
    missing = hard_lessons(labels, np.ones(4, np.float32)).balanced(5, 1.0)  # three classes without rows
    torch.testing.assert_close(missing.weights, torch.tensor([2 / 3, 2 / 3, 2 / 3, 2]))


def test_soft_lessons_are_balanced_by_what_they_believe(table: pa.Table) -> None:
    soft = purified_lessons(table, ALL, RetrainConfig(), soft=True)
    weights = soft.balanced(3, 1.0).weights
    assert torch.isfinite(weights).all()
    assert weights.sum() == pytest.approx(float(soft.weights.sum()))


def test_a_split_is_scored_by_trusted_labels_where_known() -> None:
    trusted, given = np.array([1, -1, -1, 2], np.int32), np.array([0, 0, -1, 0], np.int32)
    everything = yardstick(np.ones(4, bool), trusted, given)
    assert everything.rows.tolist() == [0, 1, 3]
    score = everything.score(np.array([1, 1, 2], np.int32))
    assert score is not None
    assert (score.accuracy, score.rows, score.scored_on) == (pytest.approx(2 / 3), 3, "mixed")
    checked = yardstick(trusted >= 0, trusted, given).score(np.array([1, 2], np.int32))
    assert checked is not None
    assert checked.scored_on == "trusted"
    assert yardstick(np.zeros(4, bool), trusted, given).score(np.empty(0, np.int32)) is None


def test_a_curve_is_summed_up_by_best_last_and_the_mean_of_the_last_ten() -> None:
    curve = [{"loss": 1.0, "validation": v} for v in [0.9, *[0.5] * 9, 0.6]]
    assert summary_of(curve, "validation") == (0.9, 0.6, pytest.approx(0.51))
    assert summary_of(curve, "other") == (None, None, None)
