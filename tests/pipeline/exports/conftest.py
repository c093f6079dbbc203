"""A label table in a store with images and own columns: hostile names, a broken image, a row without a label."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipeline.artifacts import Artifact, Manifest, Ref, list_files
from pipeline.datasets.images import ROWS_SCHEMA
from pipeline.labelled import Labelled, open_labelled
from pipeline.labels import LABELS_FILE, label_table, write_labels
from pipeline.store import FileStore

NAMES = ["<b>cat</b> & \"dog\"", "../=1+1", "שלום 🐕", "x" * 300]  # fmt: skip
IDS = ["a/b.png", "../up", "c\"d,'e", "é 🐈", "plain", "last"]
GIVEN = np.array([0, 1, 2, -1, 3, 0])
PURIFIED = np.array([0, 2, 2, 1, 3, 1])
PROBS = [[0.9, 0.1], [0.7, 0.2], [0.5, 0.3], [0.8, 0.1], [1.0, 0.0], [0.6, 0.4]]


def encoded(value: int, kind: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (4, 3), (value, value, value)).save(file, kind)
    return file.getvalue()


PICTURES = [encoded(10 * i, kind) for i, kind in enumerate(["PNG", "JPEG", "GIF", "BMP", "WEBP"])]


def tiny() -> pa.Table:
    top = [[int(p), (int(p) + 1) % 4] for p in PURIFIED]
    return label_table(
        {
            "sample_id": IDS, "given_label": GIVEN, "suggested_label": PURIFIED, "purified_label": PURIFIED,
            "action": ["keep", "relabel", "review", "relabel", "trusted", "none"],
            "confidence": [p[0] for p in PROBS], "given_confidence": [0.9, 0.1, 0.5, None, 1.0, 0.4],
            "top_labels": pa.array(top, pa.list_(pa.int32())), "top_probs": pa.array(PROBS, pa.list_(pa.float32())),
            "neighbour_agreement": [0.5] * 6, "outlier_score": [None, 0.1, 0.2, 0.3, 0.4, 0.5],
            "duplicate_of": [None, "a/b.png", *[None] * 4], "split": ["train"] * 5 + ["test"],
            "trusted": [False] * 4 + [True, False], "trusted_origin": [*[None] * 4, "random", None],
            "audit": [False] * 6,
        },
        NAMES,
    )  # fmt: skip


def publish(store: FileStore, ref: Ref, write: Callable[[Path], Any], inputs: dict[str, Ref] | None = None) -> Artifact:
    with store.staging(ref.kind, ref.key) as folder:
        write(folder)
        made = Manifest(kind=ref.kind, key=ref.key, inputs=inputs or {}, files=list_files(folder))
        return store.publish(folder, made)


def image_rows() -> pa.Table:
    starts = np.cumsum([0, *[len(p) for p in PICTURES]])
    return pa.Table.from_pylist(
        [
            {
                "sample_id": name, "sha256": f"{i}" if i < 5 else "", "source": "", "width": 4, "height": 3,
                "status": "ok" if i < 5 else "broken", "reason": "" if i < 5 else "empty: 0 bytes",
                "shard": "s" if i < 5 else "", "offset": int(starts[i]), "length": len(PICTURES[i]) if i < 5 else 0,
            }
            for i, name in enumerate(IDS)
        ],
        schema=ROWS_SCHEMA,
    )  # fmt: skip


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Publish the table with all that belongs to it; return the file."""
    store = FileStore(tmp_path / "store")
    publish(store, Ref(kind="shards", key="s"), lambda f: (f / "data.bin").write_bytes(b"".join(PICTURES)))
    images = publish(store, Ref(kind="images", key="i"), lambda f: pq.write_table(image_rows(), f / "rows.parquet"))
    own = pa.table({"sample_id": IDS, "note": [f"<i>{i}</i>" for i in range(6)], "action": list(range(6))})
    annotations = publish(store, Ref(kind="annotations", key="a"), lambda f: pq.write_table(own, f / "own.parquet"))
    features = publish(store, Ref(kind="features", key="f"), lambda f: (f / "x").write_text(""), {"images": images.ref})
    metadata = {"classes": NAMES, "keys": {"labels": "l"}, "config": {}, "noise": {}, "audit": {}, "gate": {}}
    inputs = {"annotations": annotations.ref, "features": features.ref}
    labels = publish(
        store, Ref(kind="labels", key="l"), lambda f: write_labels(f / LABELS_FILE, tiny(), metadata), inputs
    )
    return labels.path(LABELS_FILE)


@pytest.fixture
def labelled(path: Path) -> Labelled:
    return open_labelled(path)
