"""What `puriflow labels diff` counts, against a slow obvious loop."""

from typing import Any

import numpy as np
import pyarrow as pa

from flows.label_diff import LabelDiff, diff_labels, markdown
from pipeline.labels import label_table


def table(purified: list[int], names: list[str], ids: list[str] | None = None, **more: Any) -> pa.Table:
    rows = len(purified)
    ones = np.ones(rows, np.float32)
    columns = {
        "sample_id": ids or [f"s{i}" for i in range(rows)], "given_label": np.arange(rows) % len(names),
        "suggested_label": np.array(purified), "purified_label": np.array(purified), "action": ["keep"] * rows,
        "confidence": ones, "given_confidence": ones, "top_labels": [[0]] * rows, "top_probs": [[1.0]] * rows,
        "neighbour_agreement": ones, "outlier_score": ones, "duplicate_of": [None] * rows, "split": ["train"] * rows,
        "trusted": [False] * rows, "trusted_origin": [None] * rows, "audit": [False] * rows,
    }  # fmt: skip
    return label_table(columns | more, names)


def metadata(names: list[str]) -> dict[str, Any]:
    return {"classes": names, "keys": {"labels": "k"}, "gate": {"verdict": "proven"}, "noise": {"rate": 0.2}}


def between(old: pa.Table, new: pa.Table) -> LabelDiff:
    return diff_labels((old, metadata(["a"])), (new, metadata(["a"])))


def test_changes_are_counted_by_given_old_and_new() -> None:
    rng = np.random.default_rng(0)
    names = ["cat", "dog", "owl"]
    before, after = rng.integers(3, size=60), rng.integers(3, size=60)
    found = between(table(before.tolist(), names), table(after.tolist(), names))
    slow: dict[tuple[str, str, str], int] = {}
    for i in range(60):
        if before[i] != after[i]:
            key = (names[i % 3], names[before[i]], names[after[i]])
            slow[key] = slow.get(key, 0) + 1
    groups = found.groups()
    assert {(g["given"], g["old"], g["new"]): g["rows"] for g in groups} == slow
    assert [g["rows"] for g in groups] == sorted(slow.values(), reverse=True)
    assert sum(m["net"] for m in found.movers()) == 0
    assert sum(m["left"] for m in found.movers()) == found.changed.num_rows == sum(slow.values())


def test_rows_are_joined_by_id_and_classes_by_name() -> None:
    old = table([0, 0, 1, 1], ["cat", "dog"], ["a", "b", "c", "gone"])
    new = table([0, 1, 0, 0], ["dog", "cat"], ["new", "b", "a", "c"], action=["keep", "relabel", "keep", "keep"])
    found = between(old, new)
    assert (found.shared, found.only_old, found.only_new) == (3, 1, 1)
    assert found.changed["sample_id"].to_pylist() == ["a"]
    assert found.actions == [{"old": "keep", "new": "relabel", "rows": 1}]
    assert found.sentence() == "1 of 3 purified labels changed (33.3 %), 1 of them cat → dog."


def test_markdown_survives_names_that_would_break_it() -> None:
    names = ["a|b", "<img src=x>", "c\nd"]
    page = markdown(between(table([0, 0, 0], names), table([1, 2, 0], names)))
    lines = page.splitlines()
    assert "| a\\|b | a\\|b | &lt;img src=x> | 1 |" in lines
    assert any("c d" in line for line in lines)


def test_equal_tables_say_so() -> None:
    same = table([0, 1], ["a", "b"])
    found = between(same, same)
    assert found.sentence() == "No purified label of 2 rows changed."
    assert found.to_dict()["groups"] == []
    assert markdown(found) == "**No purified label of 2 rows changed.**\n"
