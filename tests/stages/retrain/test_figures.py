"""How good predictions are."""

import numpy as np
import pytest

from stages.retrain.figures import by_class, calibration_error, confusion, fit_temperature, tempered


def test_the_calibration_error_is_the_slow_sum_over_bins() -> None:
    rng = np.random.default_rng(0)
    confidence = rng.random(200).astype(np.float32)
    right = rng.random(200) < 0.6
    slow = 0.0
    for low in np.arange(15) / 15:
        inside = (confidence >= low) & (confidence < low + 1 / 15)
        if inside.any():
            slow += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert calibration_error(confidence, right) == pytest.approx(slow, abs=1e-6)
    assert calibration_error(np.ones(4, np.float32), np.ones(4, bool)) == 0


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_labels_were_drawn_with_is_found(temperature: float) -> None:
    rng = np.random.default_rng(1)
    scores = 2 * rng.normal(size=(4000, 5))
    said = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    true = tempered(said.astype(np.float32), temperature)
    labels = np.array([rng.choice(5, p=p / p.sum()) for p in true.astype(np.float64)], np.int32)
    assert fit_temperature(said.astype(np.float32), labels) == pytest.approx(temperature, rel=0.1)


def test_without_rows_there_is_no_temperature() -> None:
    assert fit_temperature(np.empty((0, 3), np.float32), np.empty(0, np.int32)) == 1.0


def test_a_temperature_of_one_changes_nothing_and_none_changes_the_order() -> None:
    probs = np.random.default_rng(2).dirichlet(np.ones(4), size=30).astype(np.float32)
    np.testing.assert_allclose(tempered(probs, 1.0), probs, atol=1e-6)
    soft = tempered(probs, 3.0)
    assert (soft.argsort(axis=1) == probs.argsort(axis=1)).all()
    np.testing.assert_allclose(soft.sum(axis=1), 1, atol=1e-6)


def test_confusions_are_counted_by_pair() -> None:
    table = confusion(np.array([0, 0, 1, 2], np.int32), np.array([0, 1, 1, 0], np.int32), ["a", "b", "c"])
    found = {(r["label_name"], r["predicted_name"]): r["rows"] for r in table.to_pylist()}
    assert found == {("a", "a"): 1, ("a", "b"): 1, ("b", "b"): 1, ("c", "a"): 1}


def test_a_class_is_measured_where_there_is_something_to_measure() -> None:
    table = by_class(np.array([0, 0, 1, 1], np.int32), np.array([0, 1, 1, 1], np.int32), ["a", "b", "c"])
    first, second, third = table.to_pylist()
    assert (first["precision"], first["recall"], first["f1"]) == (1.0, 0.5, pytest.approx(2 / 3))
    assert (second["precision"], second["recall"]) == (pytest.approx(2 / 3), 1.0)
    assert (third["rows"], third["precision"], third["recall"], third["f1"]) == (0, None, None, None)
