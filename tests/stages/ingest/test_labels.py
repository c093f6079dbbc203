"""Labels, trust and splits: understood in every form people write them, refused with the rows by name."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline.datasets.decisions import SCHEMA, append_decisions
from pipeline.errors import DataError


def features(desk: Any, rows: dict[str, Any], **fields: Any) -> Any:
    count = len(next(iter(rows.values())))
    rows = {"sample_id": [f"r{i}" for i in range(count)]} | rows
    desk.parquet("rows.parquet", rows)
    np.save(desk.folder / "features.npy", np.eye(max(count, 1), dtype=np.float32)[:count])
    return desk.run("features", table="rows.parquet", features="features.npy", **fields)


def side(desk: Any, name: str, columns: dict[str, Any], **names: str) -> dict[str, Any]:
    return {"path": str(desk.parquet(f"{name}.parquet", columns)), "columns": names}


@pytest.mark.parametrize(
    ("labels", "class_names", "codes", "names"),
    [
        (["b", "a", None], None, [1, 0, -1], ["a", "b"]),
        ([2, 0, 1], None, [2, 0, 1], ["0", "1", "2"]),
        ([10.0, np.nan, 2.0], None, [1, -1, 0], ["2", "10"]),
        ([1, 0, 1], ["cat", "dog"], [1, 0, 1], ["cat", "dog"]),
        (["dog", " cat ", ""], ["cat", "dog"], [1, 0, -1], ["cat", "dog"]),
        ([1, 2, 2], ["1", "2"], [0, 1, 1], ["1", "2"]),
        ([True, False, True], None, [1, 0, 1], ["false", "true"]),
        (["07", "7", "7"], None, [0, 1, 1], ["07", "7"]),
    ],
)
def test_labels_are_names_or_numbers(desk: Any, labels: list[Any], class_names: Any, codes: Any, names: Any) -> None:
    made = features(desk, {"given_label": labels}, class_names=class_names)
    assert made.annotations.given.tolist() == codes
    assert made.annotations.class_names == names


@pytest.mark.parametrize(
    ("columns", "class_names", "message"),
    [
        (
            {"given_label": [0, 12, -1]},
            ["a", "b"],
            r"given labels of 2 rows are out of range 0\.\.1.*'r1: 12', 'r2: -1'",
        ),
        ({"given_label": [-1, 0, 1]}, None, "label -1 is negative.*Leave the field empty"),
        ({"given_label": ["cat", "dgo"]}, ["cat", "dog"], "'dgo' of 1 rows.*'r1'.*Did you mean 'dog'"),
        ({"given_label": [0, 1], "trusted_label": ["cat", None]}, None, "given labels hold numbers but trusted labels"),
        ({"given_label": [None, None]}, None, "no row has a label"),
        ({"lable": [1, 2]}, None, "no row has a label.*Did you mean 'lable'"),
        ({"given_label": [0], "split": ["tset"]}, None, "split 'tset' of 1 rows.*Did you mean 'test'"),
        ({"given_label": [0], "trusted_label": [0], "propensity": [1.5]}, None, "propensity of 1 rows.*'r0: 1.5'"),
        ({"given_label": [0], "trusted_label": [0], "trusted_origin": ["x"]}, None, "trusted_origin 'x' of 1 rows"),
        ({"sample_id": ["a", "b", "a"], "given_label": [0, 0, 0]}, None, "1 sample ids repeat among 3 rows: 'a'"),
        ({"sample_id": ["a", None], "given_label": [0, 0]}, None, "1 rows have no sample id"),
        ({"given_label": []}, None, "0 rows"),
    ],
)
def test_what_cannot_be_understood_is_refused(
    desk: Any, columns: dict[str, Any], class_names: Any, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        features(desk, columns, class_names=class_names)


def test_a_missing_column_names_its_likeness(desk: Any) -> None:
    with pytest.raises(DataError, match=r"no column 'labell' \(columns.given_label\)\. Did you mean 'label'"):
        features(desk, {"label": [0, 1]}, columns={"given_label": "labell"})


def test_several_annotators_agree_by_plurality_and_the_first_breaks_ties(desk: Any) -> None:
    votes = {"a": [0, 0, 2, None, None], "b": [1, 1, 1, 1, None], "c": [1, 2, None, 0, None]}
    made = features(desk, votes, columns={"given_label": ["a", "b", "c"]})
    assert made.annotations.given.tolist() == [1, 0, 2, 1, -1]
    assert made.annotations.annotators.tolist() == [[0, 1, 1], [0, 1, 2], [2, 1, -1], [-1, 1, 0], [-1, -1, -1]]
    assert made.metrics["annotators"] == 3


@pytest.mark.parametrize("labels", [["a"] * 5, list("abcde")])
@pytest.mark.parametrize("trusted", [[None] * 5, "all"])
def test_one_class_one_row_a_class_no_trust_and_all_trust_are_fine(desk: Any, labels: list[str], trusted: Any) -> None:
    given = pa.array(labels)
    made = features(
        desk, {"given_label": given, "trusted_label": given if trusted == "all" else pa.nulls(5, pa.string())}
    )
    assert made.metrics["trusted"] == (5 if trusted == "all" else 0)
    assert made.metrics["classes"] == len(set(labels))


def test_ten_thousand_classes_are_fine(desk: Any) -> None:
    count = 10_000
    desk.parquet("rows.parquet", {"sample_id": [f"r{i}" for i in range(count)], "given_label": list(range(count))})
    np.save(desk.folder / "features.npy", np.ones((count, 2), np.float32))
    made = desk.run("features", table="rows.parquet", features="features.npy")
    assert made.annotations.given.tolist() == list(range(count))


def test_side_tables_bring_labels_trust_and_splits(desk: Any) -> None:
    made = features(
        desk,
        {"given_label": ["a", "b", "a", "b"]},
        labels=side(desk, "labels", {"id": ["r0"], "worse": ["b"]}, sample_id="id", given_label="worse"),
        trusted=side(desk, "trusted", {"sample_id": ["r3", "r1", "r3"], "trusted_label": ["a", "b", "a"]}),
        splits=side(desk, "splits", {"sample_id": ["r2"], "split": ["Testing"]}),
    )
    assert made.given() == {"r0": "b", "r1": "b", "r2": "a", "r3": "b"}
    assert made.trusted() == {"r1": "b", "r3": "a"}
    assert made.annotations.split.tolist() == ["train", "train", "test", "train"]
    assert made.annotations.origin.tolist() == ["", "unknown", "", "unknown"]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"sample_id": ["r0", "r9"], "trusted_label": ["a", "b"]},
            "1 of 2 ids in dataset.trusted belong to no row: 'r9'",
        ),
        ({"sample_id": ["r0", "r0"], "trusted_label": ["a", "b"]}, "contradicts itself about 1 samples: 'r0'"),
        ({"sample_id": ["r0"], "label": ["a"]}, r"no column 'trusted_label'.*Did you mean 'label'"),
        ({"id": ["r0"], "trusted_label": ["a"]}, "no column 'sample_id'"),
        ({"sample_id": ["r1"], "trusted_label": ["a"]}, "'r1' is 'b' in the table, 'a' in dataset.trusted"),
    ],
)
def test_side_tables_that_do_not_fit_are_refused(desk: Any, columns: dict[str, Any], message: str) -> None:
    own = {"given_label": ["a", "b"], "trusted_label": [None, "b"]}
    with pytest.raises(DataError, match=message):
        features(desk, own, trusted=side(desk, "trusted", columns))


def test_trusted_rows_keep_their_origin_and_propensity(desk: Any) -> None:
    made = features(
        desk,
        {
            "given_label": ["a", "a", "a"], "trusted_label": ["a", None, "a"],
            "trusted_origin": ["Random", "random", None], "propensity": [0.25, 0.5, None],
        },
    )  # fmt: skip
    assert made.annotations.origin.tolist() == ["random", "", "unknown"]
    np.testing.assert_array_equal(made.annotations.propensity, [0.25, np.nan, np.nan])


def test_human_decisions_always_win(desk: Any) -> None:
    def decide(*rows: tuple[str, str | None]) -> None:
        columns = [[r[0] for r in rows], [r[1] for r in rows], ["selected"] * len(rows), [None] * len(rows)]
        said = [["me"] * len(rows), ["now"] * len(rows), [None] * len(rows), [None] * len(rows)]
        table = pa.table([*columns, *said], schema=SCHEMA)
        append_decisions(desk.store, "toys", table)

    decide(("r0", "b"), ("r1", "a"), ("gone", "a"))
    decide(("r1", None))
    made = features(desk, {"given_label": ["a", "b", "a"], "trusted_label": ["a", "b", "a"]})
    assert made.trusted() == {"r0": "b", "r2": "a"}
    assert made.annotations.origin.tolist() == ["selected", "", "unknown"]
    assert made.metrics["decisions"] == 3
    assert any("1 decisions speak of rows" in warning for warning in made.metrics["warnings"])


def test_classes_found_only_among_trusted_labels_are_mentioned(desk: Any) -> None:
    made = features(desk, {"given_label": ["cat", "dog"], "trusted_label": ["newt", None]})
    assert any("only among trusted labels: 'newt'" in warning for warning in made.metrics["warnings"])


def test_a_slip_in_a_trusted_label_makes_no_class_of_its_own(desk: Any) -> None:
    rows = {"given_label": ["cat", "dog"], "trusted_label": ["dgo", None]}
    with pytest.raises(DataError, match=r"trusted label 'dgo' is given to no row.*Did you mean 'dog'"):
        features(desk, rows)
    assert features(desk, rows, class_names=["cat", "dgo", "dog"]).annotations.trusted.tolist() == [1, -1]


def test_an_unknown_split_says_how_to_bring_ones_own(desk: Any) -> None:
    with pytest.raises(DataError, match=r"split 'daily547' of 1 rows.*Allowed: train.*dataset\.splits"):
        features(desk, {"given_label": ["cat", "dog"], "split": ["daily547", "train"]})


def test_a_side_table_may_number_the_classes_that_the_rows_name(desk: Any) -> None:
    numbers = side(desk, "labels", {"sample_id": ["r0", "r1"], "given_label": [1, 1]})
    made = features(desk, {"given_label": ["cat", "dog", "dog"]}, labels=numbers, class_names=["dog", "cat"])
    assert made.given() == {"r0": "cat", "r1": "cat", "r2": "dog"}
    with pytest.raises(DataError, match=r"dataset\.labels hold numbers but given labels hold names"):
        features(desk, {"given_label": ["cat", "dog", "dog"]}, labels=numbers)


def test_side_annotators_win_row_by_row(desk: Any) -> None:
    votes = {
        "path": str(desk.csv("votes.csv", ["sample_id", "a", "b"], [["r0", "x", "y"], ["r1", "", ""], ["r2", "", "x"]]))
    }
    made = features(
        desk, {"given_label": ["y", "y", "y", "x"]}, labels=votes | {"columns": {"given_label": ["a", "b"]}}
    )
    assert made.annotations.annotators.tolist() == [[0, 1], [1, -1], [-1, 0], [0, -1]]
