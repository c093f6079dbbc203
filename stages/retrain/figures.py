"""How good predictions are: calibration and its temperature, the confusion matrix, and figures for each class."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.optimize import minimize_scalar

BINS = 15
TEMPERATURES = (0.05, 20.0)
SMALLEST = 1e-12

Labels = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]


def calibration_error(confidence: Floats, right: npt.NDArray[np.bool_], bins: int = BINS) -> float:
    """Measure the expected calibration error: |share right − mean confidence| over bins of equal width, by rows."""
    place = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    gaps = np.bincount(place, weights=right.astype(np.float64) - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / max(len(confidence), 1))


def fit_temperature(probs: Floats, labels: Labels) -> float:
    """Find the temperature T that makes labels likeliest under softmax(log p / T), p [n, K]; 1 without rows."""
    if len(labels) == 0:
        return 1.0
    logs = np.log(np.maximum(probs.astype(np.float64), SMALLEST))
    own = logs[np.arange(len(labels)), labels]

    def surprise(log_temperature: float) -> float:
        scale = np.exp(-log_temperature)
        return float(np.logaddexp.reduce(logs * scale, axis=1).mean() - own.mean() * scale)

    low, high = np.log(TEMPERATURES)
    return float(np.exp(minimize_scalar(surprise, bounds=(low, high), method="bounded").x))


def tempered(probs: Floats, temperature: float) -> Floats:
    """Make probabilities [n, K] softer (T > 1) or surer: p^(1/T), normalised."""
    logs = np.log(np.maximum(probs.astype(np.float64), SMALLEST)) / temperature
    logs -= np.logaddexp.reduce(logs, axis=1, keepdims=True)
    return np.exp(logs).astype(np.float32)


def confusion(labels: Labels, predicted: Labels, classes: Sequence[str]) -> pa.Table:
    """Count how often which class was taken for which: a row for each pair that occurs."""
    pairs, counts = np.unique(np.stack([labels, predicted]), axis=1, return_counts=True)
    names = pa.array(classes, pa.string())
    sides = [pa.array(side, pa.int32()) for side in pairs]
    return pa.table(
        {
            "label": sides[0],
            "label_name": names.take(sides[0]),
            "predicted_label": sides[1],
            "predicted_name": names.take(sides[1]),
            "rows": pa.array(counts, pa.int64()),
        }
    )


def by_class(labels: Labels, predicted: Labels, classes: Sequence[str]) -> pa.Table:
    """Measure each class: rows, precision (null where never predicted), recall (null where it has no row) and F1."""
    count = len(classes)
    rows, said = np.bincount(labels, minlength=count), np.bincount(predicted, minlength=count)
    right = np.bincount(labels[labels == predicted], minlength=count)
    return pa.table(
        {
            "label": pa.array(np.arange(count), pa.int32()),
            "name": pa.array(classes, pa.string()),
            "rows": pa.array(rows, pa.int64()),
            "precision": share(right, said),
            "recall": share(right, rows),
            "f1": share(2 * right, rows + said),
        }
    )


def share(part: npt.NDArray[np.int64], whole: npt.NDArray[np.int64]) -> pa.Array:
    """Divide, null where there is nothing to divide by."""
    return pa.array(part / np.maximum(whole, 1), pa.float64(), mask=whole == 0)
