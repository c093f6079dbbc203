"""The neighbours artifact."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.artifacts import Artifact, Manifest, Ref, list_files
from pipeline.errors import ContractError
from pipeline.neighbours import Neighbours, open_neighbours, write_neighbours
from pipeline.store import FileStore

IDS = np.array(["a", "b", "ü 3"], dtype=object)
FOUND = Neighbours(
    indices=np.array([[1, -1], [0, -1], [-1, -1]], np.int32),
    similarity=np.array([[0.5, 0], [0.5, 0], [0, 0]], np.float16),
    outlier_score=np.array([0.25, 0.75, np.nan], np.float32),
    duplicate_of=np.array([None, "a", None], dtype=object),
)


def publish(root: Path, found: Neighbours, ids: np.ndarray) -> Artifact:
    store = FileStore(root)
    with store.staging("neighbours", "ab" * 16) as folder:
        write_neighbours(folder, ids, found)
        ref = Ref(kind="neighbours", key="ab" * 16)
        return store.publish(folder, Manifest(kind=ref.kind, key=ref.key, files=list_files(folder)))


def test_neighbours_come_back_as_they_were(tmp_path: Path) -> None:
    artifact = publish(tmp_path, FOUND, IDS)
    found = open_neighbours(artifact)
    assert (len(found), found.k) == (3, 2)
    assert np.array_equal(found.indices, FOUND.indices)
    assert np.array_equal(found.similarity, FOUND.similarity)
    assert np.array_equal(found.outlier_score, FOUND.outlier_score, equal_nan=True)
    assert list(found.duplicate_of) == [None, "a", None]


def test_what_is_unknown_of_a_broken_row_is_null_on_disk(tmp_path: Path) -> None:
    table = pq.read_table(publish(tmp_path, FOUND, IDS).path("evidence.parquet"))
    assert table.to_pylist()[2] == {"sample_id": "ü 3", "outlier_score": None, "duplicate_of": None}


def test_tables_of_different_length_are_refused(tmp_path: Path) -> None:
    short = Neighbours(FOUND.indices[:2], FOUND.similarity, FOUND.outlier_score, FOUND.duplicate_of)
    with pytest.raises(ContractError, match="2 rows of neighbours, 3 of similarities"):
        open_neighbours(publish(tmp_path, short, IDS))
