"""The stage on artifacts of a store: with pictures and labels, with columns only, before there is any label."""

import json
import re
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.artifacts import Artifact, Manifest, Ref, list_files
from pipeline.datasets.decisions import SCHEMA, append_decisions
from pipeline.errors import DataError
from pipeline.neighbours import Neighbours, write_neighbours
from pipeline.store import FileStore
from stages.review.config import ReviewConfig
from stages.review.produce import produce

NAMES = ["</script><script>alert(1)</script>", "right & \"quoted\" 'too'"]  # fmt: skip
TRUTH = np.arange(40) % 2
GIVEN = np.where(np.arange(40) % 5 == 0, 1 - TRUTH, TRUTH)


@pytest.fixture
def neighbours(store: FileStore) -> Ref:
    places = np.arange(40)
    indices = np.stack([(places + 2) % 40, (places + 4) % 40], axis=1).astype(np.int32)
    ids = np.array([f"s{i:04d}" for i in places], dtype=object)
    made = Neighbours(indices, np.full((40, 2), 0.8, np.float32), np.zeros(40, np.float32), np.full(40, None))
    ref = Ref(kind="neighbours", key="n")
    with store.staging(ref.kind, ref.key) as folder:
        write_neighbours(folder, ids, made)
        return store.publish(folder, Manifest(kind=ref.kind, key=ref.key, files=list_files(folder))).ref


@pytest.fixture
def inputs(neighbours: Ref, make_annotations: Any, make_labels: Any) -> dict[str, Ref]:
    trusted = np.where(np.arange(40) < 10, TRUTH, -1)
    own = pa.table({"sample_id": [f"s{i:04d}" for i in range(40)], "text": [f"<b>text {i}</b>" for i in range(40)]})
    split = ["train"] * 35 + ["test"] * 5
    beliefs = np.where(np.arange(2)[None, :] == TRUTH[:, None], 0.9, 0.1)
    annotations = make_annotations(GIVEN, NAMES, trusted=trusted, split=split, own=own)
    return {
        "annotations": annotations.ref, "neighbours": neighbours,
        "labels": make_labels((GIVEN, TRUTH), beliefs, NAMES).ref,
    }  # fmt: skip


def shown(artifact: Artifact) -> tuple[str, dict[str, Any]]:
    html = artifact.path("review.html").read_text(encoding="utf-8")
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    assert found
    return html, json.loads(found.group(1))


def test_the_page_shows_untrusted_train_rows_and_hides_how_they_were_chosen(
    inputs: Any, make_images: Any, run_stage: Any
) -> None:
    images = make_images([np.full((60, 60, 3), 6 * i, np.uint8) for i in range(40)])
    artifact = run_stage(ReviewConfig(rows=12), produce, {**inputs, "images": images.ref}, Ref(kind="reviews", key="r"))
    _, data = shown(artifact)
    table = pq.read_table(artifact.path("rows.parquet"))
    assert [row["id"] for row in data["rows"]] == table["sample_id"].to_pylist()
    assert all(10 <= row < 35 for row in table["row"].to_pylist())
    assert table["drawn"].to_pylist() == [row["drawn"] for row in data["rows"]]
    assert artifact.metrics["drawn"] == 3
    assert artifact.metrics["pool"] == 25
    assert artifact.metrics["share"] == 3 / 25
    first = data["rows"][0]
    place = int(first["id"][1:])
    assert (first["given"], first["suggested"]) == (GIVEN[place], TRUTH[place])
    assert first["likely"][0] == [int(TRUTH[place]), 0.9]
    assert first["picture"].startswith("data:image/jpeg;base64,")
    assert len(first["near"]) == 2


def test_no_name_can_end_its_place_in_the_page(inputs: Any, run_stage: Any) -> None:
    html, data = shown(run_stage(ReviewConfig(rows=5), produce, inputs, Ref(kind="reviews", key="r")))
    assert data["classes"] == NAMES
    assert data["rows"][0]["fields"][0][1].startswith("<b>text")
    assert "alert(1)</script>" not in html
    assert "<b>text" not in html
    assert html.count("<script") == 2
    assert "http" not in re.sub(r'http-equiv|"application/[^"]*"', "", html)


def test_what_was_decided_or_skipped_is_not_shown_again(inputs: Any, run_stage: Any, store: FileStore) -> None:
    rows = [{"sample_id": f"s{i:04d}", "choice": "skip" if i % 2 else "keep"} for i in range(10, 30)]
    append_decisions(store, "toys", pa.Table.from_pylist(rows, schema=SCHEMA))
    _, data = shown(run_stage(ReviewConfig(rows=40, decided=1), produce, inputs, Ref(kind="reviews", key="a")))
    assert sorted(row["id"] for row in data["rows"]) == [f"s{i:04d}" for i in range(30, 35)]
    _, data = shown(run_stage(ReviewConfig(rows=40), produce, inputs, Ref(kind="reviews", key="b")))
    assert len(data["rows"]) == 25
    rest = [{"sample_id": f"s{i:04d}", "choice": "skip"} for i in range(30, 35)]
    append_decisions(store, "toys", pa.Table.from_pylist(rest, schema=SCHEMA))
    with pytest.raises(DataError, match="none of 40 rows is left to review"):
        run_stage(ReviewConfig(decided=2), produce, inputs, Ref(kind="reviews", key="c"))


def test_a_first_set_needs_no_labels_table(inputs: Any, run_stage: Any) -> None:
    del inputs["labels"]
    config = ReviewConfig(rows=10, method="cover", random_share=0.5)
    artifact = run_stage(config, produce, inputs, Ref(kind="reviews", key="r"))
    _, data = shown(artifact)
    assert artifact.metrics["drawn"] == 5
    assert {row["given"] for row in data["rows"] if not row["drawn"]} == {0, 1}
    assert all(row["suggested"] == -1 and row["likely"] == [] for row in data["rows"])
