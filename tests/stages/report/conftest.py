"""Findings to set a page from: labels with known errors, hostile names where wanted."""

import base64
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from pipeline.labels import label_table
from pipeline.models import ModelMetrics, Outcome, Score
from stages.report.core import reliability
from stages.report.rows import LabelRows
from stages.report.sections import Findings
from stages.report.steps import Step

MakeFindings = Callable[..., Findings]
HOSTILE = ["<script>alert(1)</script>", "\"q\" & 'k' $x_1$", "🐕‍🦺 Hund", "x" * 300, "שלום עולם", "a\nb\tc"]


class Blots:
    """Pictures that are the same few bytes for every row but the first."""

    def __init__(self, size: int = 300) -> None:
        self.uri = "data:image/png;base64," + base64.b64encode(bytes(size)).decode()

    def of(self, sample_id: str) -> str | None:
        return None if sample_id.endswith("00000") else self.uri

    def tiny(self, sample_id: str) -> str | None:
        return self.of(sample_id)

    def small(self, sample_id: str, side: int = 0) -> Image.Image | None:
        return None if sample_id.endswith("00000") else Image.new("RGB", (side, side // 2))


@pytest.fixture
def blots() -> Blots:
    return Blots()


@pytest.fixture
def hostile() -> list[str]:
    """Name classes as nobody should."""
    return list(HOSTILE)


@pytest.fixture
def make_rows() -> Callable[..., LabelRows]:
    """Make label rows: `wrong` of the given labels are off by one; the machine mends them, leaving some to review."""

    def make(
        count: int = 200, names: Sequence[str] = ("cat", "dog", "owl"), *, applied: bool = True, wrong: float = 0.3,
        seed: int = 0, **more: Any,
    ) -> LabelRows:  # fmt: skip
        rng = np.random.default_rng(seed)
        classes = len(names)
        truth = rng.integers(classes, size=count)
        given = np.where(rng.random(count) < wrong, (truth + 1) % classes, truth)
        beliefs = rng.dirichlet(np.ones(classes), size=count) * 0.2
        beliefs[np.arange(count), truth] += 0.8
        test, trusted = rng.random(count) < 0.1, rng.random(count) < 0.1
        review = (rng.random(count) < 0.1) & ~trusted
        changed = (given != truth) & ~review & applied
        action = np.select([test, trusted, review, changed], ["none", "trusted", "review", "relabel"], "keep")
        purified = np.where((action == "relabel") | (action == "trusted"), truth, given)
        best = np.argsort(-beliefs, axis=1)[:, : min(classes, 10)]
        columns = {
            "sample_id": [f"img/{i:05d}" for i in range(count)], "given_label": given, "suggested_label": truth,
            "purified_label": purified, "action": action.tolist(),
            "confidence": beliefs[np.arange(count), purified].astype(np.float32),
            "given_confidence": beliefs[np.arange(count), given].astype(np.float32),
            "top_labels": pa.array(best.tolist(), pa.list_(pa.int32())),
            "top_probs": pa.array(np.take_along_axis(beliefs, best, 1).tolist(), pa.list_(pa.float32())),
            "neighbour_agreement": rng.random(count).astype(np.float32),
            "outlier_score": rng.random(count).astype(np.float32),
            "duplicate_of": pa.array([f"img/{i - 5:05d}" if i % 40 == 39 else None for i in range(count)], pa.string()),
            "split": np.where(test, "test", "train").tolist(), "trusted": action == "trusted",
            "trusted_origin": pa.nulls(count, pa.string()), "audit": np.zeros(count, bool),
        }  # fmt: skip
        return LabelRows(label_table(columns | more, names), list(names), applied)

    return make


def summary_of(rows: LabelRows) -> dict[str, Any]:
    count = len(rows.classes)
    transition = 0.7 * np.eye(count) + 0.3 * np.roll(np.eye(count), 1, axis=1)
    return {
        "method": "linear_probe",
        "gate": {"setting": "strict", "verdict": "proven" if rows.applied else "unproven", "open": rows.applied,
                 "reason": "the gain's lower bound is +12.0 points"},
        "quality": {"given_right": 0.7, "purified_right": 0.9, "low": 0.88, "high": 0.92},
        "noise": {"rate": 0.3, "low": 0.28, "high": 0.32, "per_class": [0.3] * count,
                  "transition": transition.tolist() if count <= 100 else None, "warnings": ["a <b>warning</b>"]},
        "audit": {"rows": 20, "given_right": 0.7, "suggested_right": 0.9, "wins": 5, "losses": 1, "gain": 0.2,
                  "gain_low": 0.1, "gain_high": 0.3},
        "baselines": {"keep": {"right_on_trusted": 0.7, "changed": 0.0},
                      "knn": {"right_on_trusted": 0.8, "changed": 0.2}},
        "calibration_error": 0.03,
    }  # fmt: skip


@pytest.fixture
def make_findings(make_rows: Callable[..., LabelRows]) -> MakeFindings:
    """Make findings of everything at once; `summary`, `own`, `pictures`, ... override parts."""

    def make(rows: LabelRows | None = None, **more: Any) -> Findings:
        rows = make_rows() if rows is None else rows
        rng = np.random.default_rng(1)
        trained = {"train_rows": 9, "epochs": 2, "shipped_epoch": 2}
        parts: dict[str, Any] = {
            "title": "Toys", "rows": rows, "summary": summary_of(rows), "broken": [("img/bad", "truncated")],
            "reliability": reliability(rng.random(80).astype(np.float32), rng.random(80) < 0.5),
            "model": ModelMetrics(
                labels="both", **trained, test=Score(accuracy=0.9, rows=5, scored_on="given"),
                given=Outcome(**trained, test=Score(accuracy=0.6, rows=5, scored_on="given")),
            ),
            "steps": [Step("purify", "labels", "ab" * 16, "linear_probe", 2.5, 1.0, '{"method": "linear_probe"}')],
            "software": {"puriflow": "0.1.0"},
        }  # fmt: skip
        return Findings(**(parts | more))

    return make
