import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.datasets.config import DatasetConfig
from pipeline.datasets.decisions import SCHEMA, append_decisions
from pipeline.datasets.sources import allowed_roots, expand, fingerprint
from pipeline.errors import DataError, UnsafeError
from pipeline.store.local import FileStore


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    home = tmp_path / "data"
    (home / "cat").mkdir(parents=True)
    for name in ("cat/1.png", "cat/2.png", "trusted.csv"):
        (home / name).write_bytes(b"12345")
    (home / "rows.csv").write_text("image,given_label\ncat/1.png,a\ncat/2.png,b\n")
    pq.write_table(pa.table({"image": [b"x"], "given_label": ["a"]}), home / "rows.parquet")
    return home


def config(folder: Path, kind: str, path: str, **fields: Any) -> DatasetConfig:
    return DatasetConfig.model_validate({"name": "toys", "kind": kind, "path": path} | fields).resolved(folder)


def test_a_fingerprint_stays_until_something_changes(folder: Path) -> None:
    side = {"path": "trusted.csv"}
    cases = {
        "cat/1.png": [config(folder, "image_folder", "cat"), config(folder, "table", "rows.csv")],
        "rows.csv": [config(folder, "table", "rows.csv")],
        "rows.parquet": [config(folder, "parquet", "rows.parquet")],
        "trusted.csv": [config(folder, kind, path, **{field: side}) for kind, path, field in (
            ("parquet", "rows.parquet", "trusted"), ("image_folder", "cat", "labels"), ("table", "rows.csv", "splits"),
        )],
    }  # fmt: skip
    for name, configs in cases.items():
        before = [fingerprint(c) for c in configs]
        assert [fingerprint(c) for c in configs] == before
        os.utime(folder / name, ns=(1, 1))
        touched = [fingerprint(c) for c in configs]
        assert all(a != b for a, b in zip(touched, before, strict=True)), name


def test_a_new_file_and_a_new_decision_change_the_fingerprint(folder: Path) -> None:
    store, made = FileStore(folder / "store"), config(folder, "image_folder", "cat")
    prints = [fingerprint(made, store)]
    (folder / "cat/3.png").write_bytes(b"x")
    prints.append(fingerprint(made, store))
    append_decisions(
        store,
        "toys",
        pa.table([["cat/1.png"], ["a"], ["random"], [None], ["me"], ["now"], [None], [None]], schema=SCHEMA),
    )
    prints.append(fingerprint(made, store))
    append_decisions(store, "others", SCHEMA.empty_table())
    assert len(set(prints)) == 3
    assert fingerprint(made, store) == prints[-1]


def test_rehash_never_finds_an_old_fingerprint(folder: Path) -> None:
    made = config(folder, "image_folder", "cat", rehash=True)
    assert fingerprint(made) != fingerprint(made)


def test_what_is_not_there_names_its_likeness(folder: Path) -> None:
    with pytest.raises(DataError, match=r"dataset.path '.*rows.cvs' is not there\. Did you mean 'rows.csv'"):
        fingerprint(config(folder, "table", "rows.cvs"))
    with pytest.raises(DataError, match=r"no column 'picture' \(dataset.columns.image\)"):
        fingerprint(config(folder, "table", "rows.csv", columns={"image": "picture"}))


def test_globs_are_sorted_and_odd_names_taken_literally(folder: Path) -> None:
    (folder / "odd[1].csv").write_text("x")
    assert [p.name for p in expand((str(folder / "rows.*"),), "x")] == ["rows.csv", "rows.parquet"]
    assert [p.name for p in expand((str(folder / "odd[1].csv"),), "x")] == ["odd[1].csv"]


def test_allowed_folders_are_those_named_or_those_of_the_worker(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = config(folder, "table", "rows.csv", root="cat")
    assert allowed_roots(made) == [str(folder), str(folder / "cat")]
    monkeypatch.setenv("PURIFLOW_DATA_ROOTS", f"{folder}{os.pathsep}/elsewhere")
    assert allowed_roots(made) == ["/elsewhere", str(folder)]
    monkeypatch.setenv("PURIFLOW_DATA_ROOTS", str(folder / "ca"))
    with pytest.raises(UnsafeError, match="outside the folders that may be read"):
        allowed_roots(made)


def test_a_url_in_a_table_is_refused_and_never_repeated(folder: Path) -> None:
    (folder / "rows.csv").write_text("image,given_label\nhttps://user:secret@host/1.png,a\n")
    with pytest.raises(UnsafeError, match="row 0: a URL") as caught:
        fingerprint(config(folder, "table", "rows.csv"))
    assert "secret" not in str(caught.value)
