"""Who reads the labels hears of every new table once."""

from pathlib import Path

from flows.service.events import is_news
from pipeline.artifacts import Ref
from pipeline.store import open_store
from pipeline.store.published import Version


def version(n: int, sha256: str) -> Version:
    labels = Ref(kind="labels", key=sha256)
    return Version(n=n, dataset="photos", labels=labels, file="f", sha256=sha256, bytes=1, created="2026-01-01")


def test_a_table_is_news_where_it_differs_from_the_version_before(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    written = [version(1, "a"), version(2, "a"), version(3, "b"), version(5, "a")]
    for one in written:
        store.create(f"published/photos/versions/{one.n}.json", one.model_dump_json().encode())
    assert [is_news(store, one) for one in written] == [True, False, True, True]
