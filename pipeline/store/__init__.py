"""Stores: `open_store(url)` gives the one that a URL names."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from pipeline.errors import StoreError, UnsafeError
from pipeline.store.local import FileStore
from pipeline.store.store import Entry, Store, utc_now

__all__ = ["Entry", "FileStore", "Store", "open_store", "utc_now"]


def open_store(url: str) -> Store:
    """Open a store: a folder, file://…, s3://bucket/prefix, or any fsspec URL that can create exclusively."""
    if "://" not in url:
        return FileStore(Path(url).expanduser())
    parts = urlsplit(url)
    if parts.username or parts.password:
        raise UnsafeError("a store URL must not contain credentials.", "Give them by environment variables.")
    if parts.scheme in ("file", "local"):
        if parts.netloc not in ("", "localhost"):
            raise StoreError(f"store {url} names the host '{parts.netloc}'.", "Write file:///folder, three slashes.")
        return FileStore(Path(unquote(parts.path)))
    if parts.scheme in ("http", "https"):
        raise StoreError(f"store {url} cannot be written over {parts.scheme}.", "Use a folder or s3://bucket/prefix.")
    from pipeline.store.remote import RemoteStore  # fsspec is slow to import and most runs need none

    return RemoteStore(url)
