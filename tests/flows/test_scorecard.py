"""The comparison with the truth counts the right rows."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.scorecard import score
from pipeline.errors import DataError


def write_truth(folder: Path, ids: list[str], labels: list[int]) -> Path:
    pq.write_table(pa.table({"sample_id": ids, "true_label": labels}), folder / "truth.parquet")
    return folder / "truth.parquet"


def label_table() -> pa.Table:
    return pa.table(
        {
            "sample_id": ["a", "b", "c", "d", "t"],
            "given_label": pa.array([0, 1, None, 1, 0], pa.int32()),
            "suggested_label": pa.array([0, 0, 0, 0, 0], pa.int32()),
            "purified_label": pa.array([0, 0, 1, 0, 0], pa.int32()),
            "split": ["train", "train", "train", "train", "test"],
            "trusted": [False, False, False, True, False],
        }
    )


def test_only_untrusted_train_rows_are_judged(tmp_path: Path) -> None:
    candidates = tmp_path / "candidates.parquet"
    pq.write_table(pa.table({"sample_id": list("abcdt"), "knn": pa.array([0, 0, 0, 1, 1], pa.int32())}), candidates)
    card = score(label_table(), candidates, write_truth(tmp_path, list("tdcba"), [1, 0, 0, 0, 0]))
    assert card.rows == 3
    assert card.right == {"given": pytest.approx(1 / 3), "suggested": 1.0, "purified": pytest.approx(2 / 3)}
    assert card.baselines == {"knn": 1.0}


def test_rows_without_a_truth_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"lacks 2 of 5 rows \(first: 'd'\)"):
        score(label_table(), tmp_path / "unread", write_truth(tmp_path, list("abc"), [0, 0, 0]))
