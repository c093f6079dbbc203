"""Reviewers' files of every form, and what is refused before anything is written down."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.datasets.decisions import read_decisions, read_ledger
from pipeline.datasets.reviews import Answer, Answers, read_answers
from pipeline.datasets.verdicts import Imported, import_answers
from pipeline.errors import DataError
from pipeline.store import FileStore

CLASSES = ["cat", "dög", "owl"]
IDS = frozenset(f"s{i}" for i in range(10))
KNOWN = (IDS, CLASSES)


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "store")


def page_file(path: Path, *rows: dict[str, Any], **more: Any) -> Path:
    content = {"format": "puriflow-review", "version": 1, "review": "abc", "dataset": "toys", "who": "Ann", **more}
    path.write_text(json.dumps({**content, "decisions": rows}), encoding="utf-8")
    return path


def imported(store: FileStore, *answers: Answer, replacing: bool = False) -> Imported:
    return import_answers(store, "toys", Answers(list(answers)), KNOWN, replacing=replacing)


def test_the_pages_file_is_read(tmp_path: Path) -> None:
    path = page_file(
        tmp_path / "r.json",
        {"sample_id": "s1", "label": "dög", "choice": "accept", "drawn": "random", "when": "today"},
        {"sample_id": "s2", "label": None, "choice": "skip", "drawn": "selected", "when": "today"},
    )
    found = read_answers(path)
    assert found.dataset == "toys"
    assert found.answers[0] == Answer("s1", "dög", "accept", "random", "Ann", "today", "abc")
    assert found.answers[1].label is None


def test_tables_are_read(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text(
        'sample_id,label,choice,drawn,who\ns1,"dög",keep,random,Bo\ns2,,skip,selected,Bo\n', encoding="utf-8"
    )
    found = read_answers(tmp_path / "r.csv").answers
    assert [(a.label, a.drawn, a.who) for a in found] == [("dög", "random", "Bo"), (None, "selected", "Bo")]
    pq.write_table(pa.table({"sample_id": ["s3"], "trusted_label": [2]}), tmp_path / "r.parquet")
    assert read_answers(tmp_path / "r.parquet").answers == [Answer("s3", "2")]
    (tmp_path / "bad.csv").write_text("sample_id,verdict\ns1,cat\n", encoding="utf-8")
    with pytest.raises(DataError, match="has no column 'label'"):
        read_answers(tmp_path / "bad.csv")


def test_label_studios_exports_are_read(tmp_path: Path) -> None:
    data = {"sample_id": "s1", "drawn": "random", "review": "abc"}
    choice = {"type": "choices", "from_name": "label", "value": {"choices": ["owl"]}}
    tasks = [
        {"data": data, "annotations": [{"result": [choice], "completed_by": 7, "updated_at": "today"}]},
        {"data": {"sample_id": "s2"}, "annotations": [{"result": [], "was_cancelled": True}]},
        {"data": {"sample_id": "s3"}, "annotations": []},
        {"sample_id": "s4", "label": "cat", "annotator": 7, "updated_at": "today"},
    ]
    (tmp_path / "r.json").write_text(json.dumps(tasks), encoding="utf-8")
    found = read_answers(tmp_path / "r.json").answers
    assert found[0] == Answer("s1", "owl", "", "random", "7", "today", "abc")
    assert [(a.sample_id, a.label) for a in found[1:]] == [("s2", None), ("s4", "cat")]
    tasks[0]["annotations"][0]["result"][0]["value"]["choices"] = ["owl", "cat"]
    (tmp_path / "r.json").write_text(json.dumps(tasks), encoding="utf-8")
    with pytest.raises(DataError, match="gives 's1' 2 labels at once"):
        read_answers(tmp_path / "r.json")


@pytest.mark.parametrize("text", ["{", "{}", '"x"', "[3]"])
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "r.json").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"cannot be read as JSON|is no file of a review|not of tasks"):
        read_answers(tmp_path / "r.json")


def test_decisions_stand_in_the_ledger_as_trusted_rows(store: FileStore) -> None:
    found = imported(store, Answer("s1", "dög", "accept", "random", "Ann"), Answer("s2", "0"), Answer("s3", None))
    assert found == Imported(decided=2, skipped=1, known=0, replaced=0, drawn=1, number=1)
    rows = {row["sample_id"]: row for row in read_decisions(store, "toys").to_pylist()}
    assert set(rows) == {"s1", "s2"}
    assert (rows["s1"]["trusted_origin"], rows["s1"]["propensity"], rows["s1"]["who"]) == ("random", 1.0, "Ann")
    assert (rows["s2"]["trusted_name"], rows["s2"]["trusted_origin"], rows["s2"]["propensity"]) == (
        "cat", "selected", None,
    )  # fmt: skip
    assert rows["s2"]["when"]


def test_the_same_file_twice_changes_nothing(store: FileStore) -> None:
    answers = [Answer("s1", "cat"), Answer("s2", None)]
    imported(store, *answers)
    assert imported(store, *answers) == Imported(0, 0, 2, 0, 0, None)
    assert read_ledger(store, "toys").num_rows == 2


def test_a_skip_undoes_no_decision_and_a_decision_ends_a_skip(store: FileStore) -> None:
    imported(store, Answer("s1", "cat"), Answer("s2", None))
    found = imported(store, Answer("s1", None), Answer("s2", "owl"))
    assert (found.decided, found.skipped, found.known) == (1, 0, 1)
    assert read_decisions(store, "toys")["trusted_name"].to_pylist() == ["cat", "owl"]


def test_contradictions_are_refused_or_replaced_and_never_lost(store: FileStore) -> None:
    imported(store, Answer("s1", "cat", who="Ann"))
    with pytest.raises(DataError, match=r"1 answers contradict earlier decisions: 's1' was 'cat', now 'owl'"):
        imported(store, Answer("s1", "owl"), Answer("s2", "cat"))
    assert read_ledger(store, "toys").num_rows == 1
    assert imported(store, Answer("s1", "owl"), replacing=True).replaced == 1
    assert read_decisions(store, "toys")["trusted_name"].to_pylist() == ["owl"]
    assert read_ledger(store, "toys")["trusted_name"].to_pylist() == ["cat", "owl"]
    with pytest.raises(DataError, match="contradicts itself about 1 rows: 's3' is 'cat' and 'owl'"):
        imported(store, Answer("s3", "cat"), Answer("s3", "owl"))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Answer("s11", "cat"), r"1 of 1 answers speak of no row of the dataset: 's11'.*mean 's1'"),
        (Answer("s1", "dig"), r"1 labels are no class: 'dig' \(first row: 's1'\).*Did you mean 'dög'"),
        (Answer("s1", "3"), "1 labels are no class: '3'"),
    ],
)
def test_strangers_are_refused(store: FileStore, answer: Answer, message: str) -> None:
    with pytest.raises(DataError, match=message):
        imported(store, answer)
    assert read_ledger(store, "toys").num_rows == 0


def test_a_review_of_another_dataset_is_refused(store: FileStore) -> None:
    with pytest.raises(DataError, match="a review of dataset 'pets', not of 'toys'"):
        import_answers(store, "toys", Answers([], "pets"), KNOWN, replacing=False)


def test_a_page_of_a_later_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is of version 2"):
        read_answers(page_file(tmp_path / "r.json", version=2))
