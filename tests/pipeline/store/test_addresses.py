import time
import uuid
from pathlib import Path

import fsspec
import pytest

from pipeline.errors import PuriflowError, StoreError, UnsafeError
from pipeline.store import FileStore, open_store


@pytest.mark.parametrize(
    ("url", "error", "text"),
    [
        ("http://host/x", StoreError, "cannot be written over http"),
        ("nosuch://host/x", StoreError, "cannot be opened"),
        ("s3://", StoreError, "not an address"),
        ("simplecache::s3://bucket/x", StoreError, "not an address"),
        ("s3://bucket/x?key=abc", StoreError, "not an address"),
        ("s3://key:secret@bucket/x", UnsafeError, "must not contain credentials"),
        ("file://host/x", StoreError, "names the host 'host'"),
    ],
)
def test_addresses_that_cannot_be_stores_are_refused(url: str, error: type[PuriflowError], text: str) -> None:
    with pytest.raises(error, match=text) as caught:
        open_store(url).read("x")
    assert "secret" not in str(caught.value).replace("AWS_SECRET", "")


def test_file_urls_are_folders(tmp_path: Path) -> None:
    store = open_store((tmp_path / "ä b").as_uri())
    assert isinstance(store, FileStore)
    assert store.root == tmp_path / "ä b"


def test_a_closed_port_is_a_quick_clear_error(s3_environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    started = time.monotonic()
    with pytest.raises(StoreError, match=r"s3://bucket/x cannot be reached .*AWS_ENDPOINT_URL.*nothing was lost"):
        open_store("s3://bucket/x").find("labels", "k1")
    assert time.monotonic() - started < 15
    fsspec.get_filesystem_class("s3").clear_instance_cache()


def test_a_missing_bucket_is_a_clear_error(s3_environment: None) -> None:
    store = open_store(f"s3://bucket-{uuid.uuid4().hex}/x")
    for act in (lambda: store.read("a"), lambda: store.children(""), lambda: store.create("a", b"")):
        with pytest.raises(StoreError, match=r"is not there .*bucket does not exist.*Create the bucket"):
            act()


def test_missing_credentials_are_a_clear_error(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    with pytest.raises(StoreError, match="no credentials for store"):
        open_store(s3_url).read("a")
    fsspec.get_filesystem_class("s3").clear_instance_cache()


def test_a_missing_s3fs_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(StoreError, match=r"needs s3fs. pip install 'puriflow\[s3\]'"):
        open_store("s3://bucket/x").read("a")


def test_credentials_are_never_written(s3_url: str, put, tmp_path: Path) -> None:
    store = open_store(s3_url)
    put(store, "labels", "k1").paths()
    store.create("published/x", b"1")
    written = [store.read(e.path) or b"" for e in store.entries("")]
    written += [p.read_bytes() for p in (tmp_path / "cache").rglob("*") if p.is_file()]
    assert len(written) > 3
    assert not any(b"not-a-secret" in content or b"tester" in content for content in written)
