from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.artifacts import Manifest, list_files
from pipeline.datasets.annotations import Annotations, open_annotations, write_annotations
from pipeline.store.local import FileStore


def test_what_is_written_is_read(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    for annotators in (0, 11):
        made = Annotations(
            sample_ids=["a", "ß", "c"],
            given=np.array([0, -1, 1], np.int32),
            annotators=np.arange(3 * annotators, dtype=np.int32).reshape(3, annotators) - 1,
            trusted=np.array([-1, 1, -1], np.int32),
            origin=np.array(["", "random", ""]),
            propensity=np.array([np.nan, 0.5, np.nan]),
            split=np.array(["train", "validation", "test"]),
            class_names=["cat", "dög"],
            own=pa.table({"sample_id": ["a", "ß", "c"], "price": [1.0, None, 3.0]}) if annotators else None,
            dataset="toys",
        )
        with store.staging("annotations", f"k{annotators}") as folder:
            write_annotations(folder, made)
            manifest = Manifest(
                kind="annotations", key=f"k{annotators}", files=list_files(folder), metrics={"dataset": "toys"}
            )
            found = open_annotations(store.publish(folder, manifest))
        for name, value in vars(made).items():
            if isinstance(value, np.ndarray):
                np.testing.assert_array_equal(getattr(found, name), value)
                assert getattr(found, name).dtype.kind == value.dtype.kind
            else:
                assert getattr(found, name) == value
