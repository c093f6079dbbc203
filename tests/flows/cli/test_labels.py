"""`puriflow labels` and `puriflow publish`: the same table by every name it has."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from flows.cli import main
from pipeline.labels import SCHEMA


def shown(capsys: pytest.CaptureFixture[str]) -> dict:
    return json.loads(capsys.readouterr().out)


def test_a_table_says_what_it_is(finished, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["labels", "show", str(finished.labels.path("labels.parquet")), "-n", "2"]) == 0
    words = capsys.readouterr().out
    assert "6 rows of 2 classes" in words
    assert "keep 1 · relabel 2 · review 1 · trusted 1 · none 1" in words
    assert "about 40.0 % (35.0 % to 45.0 %) of the given labels" in words
    assert "+35.0 points (+25.0 to +45.0) on 100 trusted rows" in words
    assert "proven: open, labels were changed; the lower bound is above 0." in words
    assert "row 1" in words
    assert "row 2" not in words


def test_rows_of_one_action_can_be_asked_for(finished, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(finished.labels.path("labels.parquet").parent)
    assert main(["labels", "show", path, "--action", "relabel", "--json"]) == 0
    rows = shown(capsys)["sample"]
    assert [row["sample_id"] for row in rows] == ["row 1", "row 3"]
    assert rows[1]["given_name"] is None
    assert rows[0]["given_name"] == "dög"
    assert main(["labels", "show", path, "--action", "relable"]) == 2


def test_a_document_names_its_last_run_and_a_dataset_its_newest_version(
    finished, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = tmp_path / "clean.yaml"
    document.write_text("dataset: {name: pets, kind: image_folder, path: pics}\n")
    finished.store.root.rename(tmp_path / "puriflow-store")
    store = tmp_path / "puriflow-store"
    assert main(["labels", "show", str(document), "--json"]) == 0
    assert shown(capsys)["rows"] == 6
    assert main(["labels", "show", f"{store}/pets"]) == 2
    assert "no published dataset 'pets'" in capsys.readouterr().err
    assert main(["publish", str(document), "--json"]) == 0
    assert shown(capsys)["n"] == 1
    assert main(["labels", "show", f"{store}/pets", "--json"]) == 0
    assert shown(capsys)["counts"] == {"keep": 1, "relabel": 2, "review": 1, "trusted": 1, "none": 1}


def test_a_table_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["labels", "show", str(tmp_path / "nowhere" / "labels.parquet")]) == 2
    assert "nowhere" in capsys.readouterr().err


def test_the_schema_describes_every_column(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["labels", "schema", "--json"]) == 0
    described = shown(capsys)
    assert [column["name"] for column in described["columns"]] == SCHEMA.names
    assert described["schema_version"] == 1
    types = {column["name"]: column["type"] for column in described["columns"]}
    assert types["given_name"] == "dictionary<string>"
    assert types["top_probs"] == "list<float32>"


def test_a_rollback_is_a_new_version(finished, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["publish", "pets", "--store", finished.url]) == 0
    assert main(["publish", f"{finished.url}/pets", "--labels", "bbbb", "--force"]) == 0
    assert main(["publish", "pets", "--store", finished.url, "--rollback", "1"]) == 0
    assert "pets: version 3 (version 1 again), gate proven" in capsys.readouterr().out
    assert main(["publish", "pets", "--store", finished.url, "--rollback", "9"]) == 2
    assert "has no version 9; it has: 1, 2, 3" in capsys.readouterr().err


def test_a_dataset_without_a_run_cannot_be_published(finished, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["publish", "plants", "--store", finished.url]) == 2
    assert "no completed run of dataset 'plants'" in capsys.readouterr().err


def test_the_store_may_be_named_by_an_option_or_by_the_surroundings(
    finished, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    document = tmp_path / "clean.yaml"
    document.write_text("dataset: {name: pets, kind: image_folder, path: pics}\n")
    assert main(["labels", "show", str(document), "--store", finished.url, "--json"]) == 0
    monkeypatch.setenv("PURIFLOW_STORE", finished.url)
    assert main(["labels", "show", str(document), "--json"]) == 0
    assert main(["publish", f"{finished.url}/pets"]) == 0
    assert main(["labels", "show", f"{finished.url}/pets", "--json"]) == 0
    assert main(["publish", f"{finished.url}/pets", "--store", str(tmp_path)]) == 2
    assert "so does --store" in capsys.readouterr().err


def test_some_rows_are_exported(finished, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = str(finished.labels.path("labels.parquet")), tmp_path / "some.csv"
    assert main(["labels", "export", path, str(out), "--only", "relabelled", "--min-confidence", "0.75"]) == 0
    assert "some.csv: 1 of 6 rows as csv" in capsys.readouterr().out
    assert out.read_text(encoding="utf-8").splitlines()[1].startswith('"row 1",1,"dög"')
    assert main(["labels", "export", path, str(out), "--json"]) == 2
    assert "is there already" in shown(capsys)["error"]["message"]
    assert main(["labels", "export", path, str(tmp_path / "x"), "--to", "xlsx"]) == 2
    assert "no form 'xlsx'" in capsys.readouterr().err


def test_two_versions_are_compared(finished, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["publish", "pets", "--store", finished.url]) == 0
    capsys.readouterr()
    old, new = f"{finished.url}/pets@1", f"{finished.url}/pets"
    assert main(["labels", "diff", old, new]) == 0
    assert "**No purified label of 6 rows changed.**" in capsys.readouterr().out
    assert main(["labels", "diff", old, new, "--json"]) == 0
    assert shown(capsys)["after"] == {"labels": None, "gate": "proven", "noise": 0.4}
    out = tmp_path / "diff.parquet"
    assert main(["labels", "diff", old, new, "--to", "parquet", "--out", str(out), "--rows"]) == 0
    assert pq.read_table(out).column_names[:4] == ["sample_id", "given_name", "old_name", "new_name"]
    assert main(["labels", "diff", old, new, "--to", "parquet"]) == 2
    assert main(["labels", "diff", f"{finished.url}/pets@7", new]) == 2
    assert "has no version 7; it has: 1" in capsys.readouterr().err


def test_the_schema_comes_in_the_languages_of_others(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["labels", "schema", "--to", "json-schema"]) == 0
    assert list(shown(capsys)["$defs"]["row"]["properties"]) == SCHEMA.names
    assert main(["labels", "schema", "--to", "spark"]) == 0
    assert [field["name"] for field in shown(capsys)["fields"]] == SCHEMA.names
    assert main(["labels", "schema", "--to", "avro"]) == 2
