"""What is chosen for the page."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from stages.report import core
from stages.report.rows import LabelRows


def test_groups_count_every_change_once_and_the_largest_comes_first(make_rows: Any) -> None:
    rows: LabelRows = make_rows(count=500)
    groups = core.groups_of_changes(rows, 4)
    slow: dict[tuple[int, int], int] = {}
    for row in rows.table.to_pylist():
        if row["action"] == "relabel":
            pair = (row["given_label"], row["purified_label"])
            slow[pair] = slow.get(pair, 0) + 1
    assert {(g.given, g.target): g.count for g in groups} == slow
    assert [g.count for g in groups] == sorted(slow.values(), reverse=True)
    for group in groups:
        assert len(group.shown) == min(4, group.count)
        assert (rows.given[group.shown] == group.given).all()
        assert (np.diff(rows.confidence[group.shown]) <= 0).all()


def test_behind_a_closed_gate_groups_are_suggestions(make_rows: Any) -> None:
    rows: LabelRows = make_rows(applied=False)
    groups = core.groups_of_changes(rows, 3)
    suggested = [r for r in rows.table.to_pylist() if r["split"] == "train" and r["action"] != "trusted"]
    assert sum(g.count for g in groups) == sum(r["given_label"] != r["suggested_label"] for r in suggested) > 0


def test_rows_that_had_no_label_make_groups_of_their_own(make_rows: Any) -> None:
    given = np.array([-1] * 3)
    rows = make_rows(count=3, given_label=given, purified_label=np.array([2, 2, 0]), action=["relabel"] * 3)
    assert [(g.given, g.target, g.count) for g in core.groups_of_changes(rows, 1)] == [(-1, 2, 2), (-1, 0, 1)]


def test_a_group_shows_its_surest_and_its_least_sure_row(make_rows: Any) -> None:
    rows = make_rows(count=50)
    members = np.arange(50)
    shown = core.spread(rows, members, 5)
    assert rows.confidence[shown[0]] == rows.confidence.max()
    assert rows.confidence[shown[-1]] == rows.confidence.min()
    assert len(set(shown.tolist())) == 5


def test_the_review_queue_begins_with_the_closest_call(make_rows: Any) -> None:
    rows = make_rows()
    queue = core.most_uncertain(rows, 1000)
    assert set(queue.tolist()) == set(np.flatnonzero(rows.review).tolist())
    assert (np.diff(rows.margin[queue]) >= 0).all()


def test_duplicates_with_another_label_come_first(make_rows: Any) -> None:
    given = np.array([0, 1, 0, 2])
    earlier = pa.array([None, "img/00000", "img/00000", "not in the table"], pa.string())
    found = core.duplicates(make_rows(count=4, given_label=given, duplicate_of=earlier))
    assert found.repeats.tolist() == [1, 2, 3]
    assert found.origins.tolist() == [0, 0, -1]
    assert found.differ == 1


def test_class_figures_add_up(make_rows: Any) -> None:
    rows = make_rows()
    figures = core.class_figures(rows, [0.1, 0.2, 0.3])
    assert sum(f.changed_from for f in figures) == sum(f.changed_to for f in figures) == rows.changed.sum()
    assert sum(f.given for f in figures) == rows.train.sum()
    assert {f.label: f.wrong for f in figures} == {0: 0.1, 1: 0.2, 2: 0.3}


def test_reliability_bins_hold_all_rows_and_tell_kept_promises() -> None:
    rng = np.random.default_rng(0)
    confidence = rng.random(4000).astype(np.float32)
    bins = core.reliability(confidence, rng.random(4000) < confidence)
    assert sum(b.count for b in bins) == 4000
    assert all(abs(b.promised - b.found) < 0.08 for b in bins)
    assert len(core.reliability(confidence[:5], np.ones(5, bool))) == 1
    assert core.reliability(confidence[:0], np.ones(0, bool)) == []


@pytest.mark.parametrize("count", [0, 1])
def test_almost_no_rows_are_no_fault(make_rows: Any, count: int) -> None:
    rows = make_rows(count=count, wrong=0.0)
    assert core.groups_of_changes(rows, 3) == []
    assert len(core.strangest(rows, 3)) <= count
    assert core.duplicates(rows).differ == 0
    assert len(core.class_figures(rows, None)) == 3
