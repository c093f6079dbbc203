"""The stage on artifacts of a store: with pictures, with features only, with and without a model."""

import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from pipeline.artifacts import Artifact, Manifest, Ref, list_files
from pipeline.store import FileStore
from stages.report.config import ReportConfig
from stages.report.produce import produce
from stages.report.steps import figures_of, without_folders

NAMES = ["left", "right"]
TRUTH = np.arange(40) % 2
GIVEN = np.where(np.arange(40) % 5 == 0, 1 - TRUTH, TRUTH)


@pytest.fixture
def labelled(make_annotations: Any, make_labels: Any) -> dict[str, Ref]:
    """Publish labels that were mended, an audit, and a column of the user's own."""
    beliefs = np.where(np.arange(2)[None, :] == TRUTH[:, None], 0.9, 0.1)
    own = pa.table({"sample_id": [f"s{i:04d}" for i in range(40)], "text": [f"text {i}" for i in range(40)]})
    audit = pa.table(
        {
            "sample_id": [f"s{i:04d}" for i in range(20)], "fold": np.zeros(20, np.int32),
            "trusted_label": TRUTH[:20].astype(np.int32), "given_label": GIVEN[:20].astype(np.int32),
            "label": TRUTH[:20].astype(np.int32), "belief": pa.array(beliefs[:20].tolist(), pa.list_(pa.float32())),
        }
    )  # fmt: skip
    summary = {"audit": {"rows": 20, "given_right": 0.8, "suggested_right": 1.0}, "method": "knn"}
    labels = make_labels((GIVEN, TRUTH), beliefs, NAMES, summary=summary, audit=audit)
    return {"annotations": make_annotations(GIVEN, NAMES, own=own, title="Hände").ref, "labels": labels.ref}


@pytest.fixture
def report(run_stage: Any) -> Callable[..., Artifact]:
    def run(inputs: dict[str, Ref], key: str = "r", **config: Any) -> Artifact:
        return run_stage(ReportConfig(**config), produce, inputs, Ref(kind="reports", key=key))  # type: ignore[no-any-return]

    return run


def read(artifact: Artifact) -> tuple[str, dict[str, Any]]:
    html = artifact.path("report.html").read_text(encoding="utf-8")
    return html, json.loads(artifact.path("report.json").read_text(encoding="utf-8"))


def test_pictures_come_from_the_store(labelled: Any, make_images: Any, make_features: Any, report: Any) -> None:
    pictures = [np.full((100, 60, 3), 6 * i, np.uint8) for i in range(40)]
    images = make_images([*pictures[:39], None])
    features = make_features(np.ones((40, 2), np.float32))
    artifact = report({**labelled, "images": images.ref, "features": features.ref})
    html, facts = read(artifact)
    assert html.count("data:image/jpeg;base64,") >= 8
    assert "empty: 0 bytes" in html
    assert facts["groups"] == [
        {"given": "left", "target": "right", "rows": 4},
        {"given": "right", "target": "left", "rows": 4},
    ]
    assert (facts["title"], facts["broken"], facts["applied"]) == ("Hände", 1, True)
    assert facts["page_bytes"] == len(html.encode())
    for name in ("changes.png", "quality.png"):
        data = artifact.path(name).read_bytes()
        assert len(data) < 200_000
        Image.open(io.BytesIO(data)).verify()
    assert artifact.metrics["sentence"] == facts["sentence"]


def test_features_alone_show_the_users_columns(labelled: Any, make_features: Any, report: Any) -> None:
    values = np.ones((40, 2), np.float32)
    values[7] = np.nan
    artifact = report({**labelled, "features": make_features(values).ref})
    html, facts = read(artifact)
    assert "data:image" not in html.split("</style>")[1]
    assert "text 5" in html
    assert "holds NaN" in html
    assert facts["broken"] == 1
    assert not artifact.has("changes.png")
    assert (
        read(report({**labelled, "features": make_features(values).ref}, key="t", title="Mine"))[1]["title"] == "Mine"
    )


def test_what_was_run_is_listed_from_the_first_artifact_on(
    labelled: Any, make_features: Any, report: Any, store: FileStore
) -> None:
    with store.staging("labels", "x") as folder:
        for path in store.get(labelled["labels"]).paths():
            (folder / path.name).write_bytes(path.read_bytes())
        gone = Ref(kind="features", key="collected")
        manifest = Manifest(
            kind="labels", key="x", stage="purify", method="knn", files=list_files(folder), metrics={"seconds": 12.34},
            config={"path": "/somewhere/private/data.csv"}, inputs={"a": labelled["annotations"], "f": gone},
        )  # fmt: skip
        labels = store.publish(folder, manifest).ref
    features = make_features(np.ones((40, 2), np.float32)).ref
    inputs = {**labelled, "labels": labels, "features": features}
    html, _ = read(report(inputs))
    listed = html[html.index('id="run"') :]
    assert listed.index("annotations/") < listed.index("labels/x")
    assert "12.3" in listed
    assert "private" not in html
    assert "…/data.csv" in html
    assert "12.3" not in read(report(inputs, key="other", times=False))[0][html.index('id="run"') :]


def test_the_same_inputs_make_the_same_files(labelled: Any, make_features: Any, report: Any) -> None:
    inputs = {**labelled, "features": make_features(np.ones((40, 2), np.float32)).ref}
    one, two = (report(inputs, key=key) for key in ("one", "two"))
    assert [(f.path, f.sha256) for f in one.manifest.files] == [(f.path, f.sha256) for f in two.manifest.files]


def test_only_the_last_part_of_a_path_is_shown() -> None:
    config = {"path": ["/home/me/a.csv", "relative/b.csv"], "seed": 3, "deep": {"url": "s3://bucket/key"}}
    assert without_folders(config) == {
        "path": ["…/a.csv", "relative/b.csv"], "seed": 3, "deep": {"url": "s3://bucket/key"},
    }  # fmt: skip


def test_an_encoders_figures_are_told_as_far_as_there_are_any() -> None:
    metrics = {"epochs": 200, "loss": 4.21467, "effective_rank": 93.4, "dim": 512, "alignment": 0.2, "uniformity": -3.1}
    assert figures_of(metrics) == ("200 epochs, loss 4.215, effective rank 93 of 512, alignment 0.20, uniformity -3.10")
    assert figures_of({"dim": 512}) == ""
