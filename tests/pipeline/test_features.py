"""The features artifact."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import pipeline.features
from pipeline.artifacts import Artifact, Manifest, Ref, list_files
from pipeline.errors import ContractError, DataError
from pipeline.features import ROWS_SCHEMA, FeaturesWriter, open_features, storage_dtype
from pipeline.store import FileStore


def rows_of(count: int, broken: int = -1) -> pa.Table:
    status = ["broken" if i == broken else "ok" for i in range(count)]
    ids = [f"s{i}" for i in range(count)]
    return pa.table([ids, ids, status, ["" if s == "ok" else "empty" for s in status]], schema=ROWS_SCHEMA)


def write(folder: Path, values: np.ndarray, dtype: str = "float32", chunk: int = 3) -> Artifact:
    store = FileStore(folder)
    ref = Ref(kind="features", key="ab" * 16)
    with store.staging(ref.kind, ref.key) as staged:
        writer = FeaturesWriter(staged, values.shape[1], dtype)
        for start in range(0, len(values), chunk):
            writer.append(values[start : start + chunk])
        writer.close(rows_of(len(values)))
        return store.publish(staged, Manifest(kind=ref.kind, key=ref.key, files=list_files(staged)))


def test_what_was_written_in_parts_is_read_back_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline.features, "PART_ROWS", 4)
    values = np.random.default_rng(0).normal(size=(10, 5)).astype(np.float32)
    features = open_features(write(tmp_path, values, chunk=7))
    assert [len(part) for part in features.parts] == [4, 4, 2]
    assert (len(features), features.dim, features.dtype) == (10, 5, np.float32)
    assert np.array_equal(features.array(), values)
    assert np.array_equal(np.concatenate(list(features.chunks(3))), values)
    assert np.array_equal(features.take(np.array([9, 0, 5, 5])), values[[9, 0, 5, 5]])
    assert features.ok.all()
    assert features.sample_ids[9] == "s9"


def test_a_part_is_an_ordinary_npy_file(tmp_path: Path) -> None:
    values = np.arange(12, dtype=np.float32).reshape(4, 3)
    path = write(tmp_path, values).path("features-00000.npy")
    assert np.array_equal(np.load(path, allow_pickle=False), values)


def test_features_without_rows_keep_their_width(tmp_path: Path) -> None:
    features = open_features(write(tmp_path, np.zeros((0, 7), np.float32)))
    assert (len(features), features.dim, features.array().shape) == (0, 7, (0, 7))


def test_nan_is_refused_with_its_row(tmp_path: Path) -> None:
    values = np.zeros((5, 2))
    values[3, 1] = np.nan
    with pytest.raises(DataError, match="row 3 hold NaN"):
        write(tmp_path, values)


def test_another_width_and_another_number_of_rows_are_refused(tmp_path: Path) -> None:
    writer = FeaturesWriter(tmp_path, 3)
    writer.append(np.zeros((2, 3)))
    with pytest.raises(ContractError, match=r"shape \(2, 4\) do not fit \[n, 3\]"):
        writer.append(np.zeros((2, 4)))
    with pytest.raises(ContractError, match="2 feature rows but 5 samples"):
        writer.close(rows_of(5))


@pytest.mark.parametrize(
    ("scale", "offset", "expected"),
    [
        (1.0, 0.0, "float16"),
        (1.0, 10.0, "float16"),
        (1e5, 0.0, "float32"),  # would overflow
        (1e-5, 0.0, "float32"),  # would sink below what float16 resolves
        (1.0, 1000.0, "float32"),  # a step of float16 at 1,000 is half the standard deviation
        (0.0, 1000.0, "float16"),  # a constant says nothing in either type
    ],
)
def test_half_precision_is_chosen_only_where_it_keeps_what_matters(scale: float, offset: float, expected: str) -> None:
    values = (np.random.default_rng(0).normal(size=(200, 4)) * scale + offset).astype(np.float32)
    assert storage_dtype([values[:50], values[50:]]) == expected


def test_numbers_given_in_half_precision_stay_so() -> None:
    assert storage_dtype([np.full((3, 2), 1e-6, np.float16)]) == np.float16
    assert storage_dtype([]) == np.float16


def test_the_same_rows_make_the_same_bytes(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(10, 5))
    first, second = write(tmp_path / "a", values, chunk=3), write(tmp_path / "b", values, chunk=10)
    assert first.manifest.files == second.manifest.files
