"""What runs publish: news for the readers, neither the same table again nor one that somebody took back."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.artifacts import Ref
from pipeline.store import Store, open_store
from pipeline.store.published import Version, publish_labels, publish_news, rollback
from pipeline.store.runs import begin_run


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path))


@pytest.fixture
def tables(store: Store, put: Callable[..., object]) -> list[Ref]:
    return [put(store, "labels", f"labels{n}", {"labels.parquet": f"table {n}".encode()}).ref for n in range(3)]  # type: ignore[attr-defined]


def by_a_run(store: Store, labels: Ref) -> Version:
    return publish_news(store, "photos", labels, run=begin_run(store, "photos").id)


def test_a_table_that_readers_have_already_is_no_news(store: Store, tables: list[Ref]) -> None:
    same, other, _ = tables
    assert [by_a_run(store, labels).n for labels in (same, same, other, other, same)] == [1, 1, 2, 2, 3]
    assert publish_news(store, "photos", same, force=True).n == 4


def test_a_nightly_run_does_not_undo_a_rollback(store: Store, tables: list[Ref]) -> None:
    good, bad, tomorrow = tables
    for labels in (good, bad):
        publish_labels(store, "photos", labels)
    back = rollback(store, "photos", 1)
    assert by_a_run(store, bad) == by_a_run(store, good) == back
    assert by_a_run(store, tomorrow).n == 4
    assert by_a_run(store, bad).n == 5  # no longer what the newest version took back
