from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import ContractError
from pipeline.labels import SCHEMA, check_labels, label_table, read_labels, read_metadata, write_labels

NAMES = ["Hemd", "mantel ☂", "shoe"]
METADATA: dict[str, Any] = {"classes": NAMES, "keys": {}, "config": {"seed": 1}, "noise": {}, "audit": {}, "gate": {}}


def columns(**more: Any) -> dict[str, Any]:
    return {
        "sample_id": ["ä 1", "b", "c", "d"], "given_label": [0, -1, 2, 1], "suggested_label": [0, 1, 1, 1],
        "purified_label": [0, 1, 1, 1], "action": ["keep", "relabel", "relabel", "trusted"],
        "confidence": np.array([0.9, 0.6, 0.7, 1.0]), "given_confidence": pa.array([0.9, None, 0.2, 1.0]),
        "top_labels": [[0, 1], [1, 0], [1, 2], [1, 0]], "top_probs": [[0.9, 0.1], [0.6, 0.4], [0.7, 0.2], [1.0, 0.0]],
        "neighbour_agreement": pa.array([0.5, None, 0.1, 1.0]), "outlier_score": np.zeros(4),
        "duplicate_of": pa.array([None, None, "b", None], pa.string()), "split": ["train"] * 4,
        "trusted": [False, False, False, True], "trusted_origin": pa.array([None, None, None, "random"], pa.string()),
        "audit": [False] * 4,
    } | more  # fmt: skip


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "labels.parquet"
    write_labels(file, label_table(columns(), NAMES), METADATA)
    return file


def test_what_is_written_is_read(path: Path) -> None:
    table = read_labels(path)
    assert table.schema.equals(SCHEMA)
    assert table["given_name"].to_pylist() == ["Hemd", None, "shoe", "mantel ☂"]
    assert read_metadata(path) == {"schema_version": 1, **METADATA}


def test_columns_of_later_versions_are_left_out(path: Path) -> None:
    table = pq.read_table(path).append_column("later", pa.array([1, 2, 3, 4]))
    pq.write_table(table, path)
    assert read_labels(path).schema.equals(SCHEMA)


def test_the_table_opens_unchanged_elsewhere(path: Path, tmp_path: Path) -> None:
    expected = [r["purified_name"] for r in read_labels(path).to_pylist()]
    assert pd.read_parquet(path)["purified_name"].tolist() == expected
    assert pl.read_parquet(path)["purified_name"].to_list() == expected
    assert [r[0] for r in duckdb.sql(f"select purified_name from '{path}'").fetchall()] == expected
    probabilities = [v.tolist() for v in pd.read_parquet(path)["top_probs"]]
    assert pl.read_parquet(path)["top_probs"].to_list() == probabilities


def test_the_table_opens_unchanged_in_hugging_face_datasets(path: Path, tmp_path: Path) -> None:
    import datasets

    loaded = datasets.Dataset.from_parquet(str(path), cache_dir=str(tmp_path / "hf"))
    assert loaded["purified_label"][:] == [0, 1, 1, 1]
    assert loaded["action"][:] == ["keep", "relabel", "relabel", "trusted"]
    assert loaded[1]["given_label"] is None


@pytest.mark.parametrize(
    ("faulty", "message"),
    [
        ({"sample_id": ["a", "b", "a", "d"]}, r"repeats 1 of 4 sample ids \(first: 'a'\)"),
        ({"purified_label": [0, -1, 1, 1]}, "no purified_label in 1 of 4 rows"),
        ({"purified_label": [0, 3, 1, 1]}, r"1 purified_label\(s\) outside 0\.\.2"),
        ({"given_label": [0, 5, 2, 1]}, r"1 given_label\(s\) outside 0\.\.2"),
        ({"action": ["keep", "drop", "keep", "trusted"]}, "the action 'drop'; allowed: keep, relabel"),
        ({"action": ["trusted", "keep", "keep", "trusted"]}, "action 'trusted' in rows that are not trusted"),
        ({"split": ["train", "dev", "train", "train"]}, "the split 'dev'"),
        ({"confidence": np.array([0.9, 1.1, 0.5, 1.0])}, r"1 value\(s\) of confidence that are no probability"),
        ({"confidence": np.array([0.9, np.nan, 0.5, 1.0])}, r"1 value\(s\) of confidence that are no probability"),
        ({"top_probs": [[0.9, -0.1], [0.6, 0.4], [0.7, 0.2], [1.0, 0.0]]}, r"1 value\(s\) of top_probs"),
        ({"top_probs": [[0.9], [0.6, 0.4], [0.7, 0.2], [1.0, 0.0]]}, "more top_labels than top_probs"),
    ],
)  # fmt: skip
def test_a_table_that_breaks_the_contract_is_not_written(faulty: dict[str, Any], message: str, tmp_path: Path) -> None:
    names = NAMES if "given_label" not in faulty and "purified_label" not in faulty else [*NAMES, "x", "y", "z"]
    table = label_table(columns(**faulty), names)
    with pytest.raises(ContractError, match=message):
        write_labels(tmp_path / "labels.parquet", table, METADATA)
    assert not (tmp_path / "labels.parquet").exists()


def test_missing_columns_and_wrong_types_are_named() -> None:
    table = label_table(columns(), NAMES)
    with pytest.raises(ContractError, match=r"lacks the column\(s\) action, audit"):
        check_labels(table.drop_columns(["action", "audit"]), NAMES)
    at = table.schema.get_field_index("given_label")
    with pytest.raises(ContractError, match="'given_label' as int64; expected int32"):
        check_labels(table.set_column(at, "given_label", table["given_label"].cast(pa.int64())), NAMES)


def test_a_changed_trusted_label_is_found_unless_the_row_is_held_out() -> None:
    trusted = np.array([-1, -1, -1, 2])
    with pytest.raises(ContractError, match=r"changes 1 trusted label\(s\) \(first: 'd'\)"):
        check_labels(label_table(columns(), NAMES), NAMES, trusted)
    check_labels(label_table(columns(audit=[False, False, False, True]), NAMES), NAMES, trusted)
    with pytest.raises(ContractError, match="has 4 rows; the annotations have 3"):
        check_labels(label_table(columns(), NAMES), NAMES, trusted[:3])


def test_metadata_must_be_whole_and_of_this_version(path: Path, tmp_path: Path) -> None:
    table = label_table(columns(), NAMES)
    with pytest.raises(ContractError, match="lacks the metadata gate"):
        write_labels(tmp_path / "x.parquet", table, {k: v for k, v in METADATA.items() if k != "gate"})
    plain = tmp_path / "plain.parquet"
    pq.write_table(table, plain)
    with pytest.raises(ContractError, match="lacks the metadata schema_version, classes"):
        read_labels(plain)
    write_labels(path, table, METADATA | {"schema_version": 2})
    with pytest.raises(ContractError, match="has schema version 2; this puriflow reads version 1"):
        read_metadata(path)


def test_what_is_no_table_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "labels.parquet"
    file.write_bytes(b"not parquet")
    with pytest.raises(ContractError, match=r"labels\.parquet cannot be read"):
        read_labels(file)
    with pytest.raises(ContractError, match=r"gone\.parquet cannot be read"):
        read_labels(tmp_path / "gone.parquet")
