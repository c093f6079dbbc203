"""The store behind a URL: S3, or any fsspec file system that can be shown to create exclusively.

An artifact's files lie below `<kind>/<key>/parts/<attempt>/`; the conditional put of its manifest, which names
the parts, makes them an artifact.
"""

import importlib.util
import os
import posixpath
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import fsspec

from pipeline.artifacts import MANIFEST, Artifact, Manifest, artifact_path
from pipeline.errors import PuriflowError, StoreError, UnsafeError
from pipeline.store.cache import cached, private_cache, sweep_cache
from pipeline.store.exclusive import probe, put_new
from pipeline.store.faults import explain_remote, service_code
from pipeline.store.store import Entry, Store, damaged

S3 = ("s3", "s3a")
# A dead address is given up within half a minute: 5 s × 3 tries of botocore × 2 of s3fs.
S3_OPTIONS: dict[str, Any] = {
    "config_kwargs": {"connect_timeout": 5, "read_timeout": 60, "retries": {"max_attempts": 2}}
}
BLOCK = 1 << 22


class RemoteStore(Store):
    """Artifacts as objects behind any fsspec URL."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._scheme, _, base = self.url.partition("://")
        if not base or "::" in self.url or "?" in self.url:
            raise StoreError(f"store {url} is not an address like s3://bucket/prefix.", "Name a bucket, no options.")
        self._base = base
        self._opened: tuple[int, Any] | None = None
        self._trusted = False  # whether the probe of exclusive creation has passed

    @property
    def _fs(self) -> Any:
        """Return the file system, opened once in each process: its event loop does not survive a fork."""
        if self._opened is None or self._opened[0] != os.getpid():
            self._opened = (os.getpid(), self._open())
        return self._opened[1]

    def _open(self) -> Any:
        if self._scheme in S3 and importlib.util.find_spec("s3fs") is None:
            raise StoreError(f"store {self.url} needs s3fs.", "pip install 'puriflow[s3]'")
        try:
            fs = fsspec.filesystem(self._scheme, **(S3_OPTIONS if self._scheme in S3 else {}))
        except (ImportError, ValueError) as error:
            raise StoreError(f"store {self.url} cannot be opened: {error}.", "Use a folder or s3://bucket.") from error
        if self._scheme in S3:
            fs.retries = 2
        return fs

    def staging(self, kind: str, key: str) -> AbstractContextManager[Path]:
        """Give a fresh folder on this machine."""
        return private_cache("staging", f"{kind}-{key[:12].replace('/', '-')}")

    def work(self, label: str) -> AbstractContextManager[Path]:
        """Give a folder on this machine."""
        return private_cache("work", label)

    def publish(self, folder: Path, manifest: Manifest) -> Artifact:
        """Upload the parts, then put the manifest where there is none; losing the race is success."""
        found = self.find(manifest.kind, manifest.key)
        if found is not None:
            return found
        place = artifact_path(manifest.kind, manifest.key)
        manifest = manifest.model_copy(update={"parts": f"parts/{uuid.uuid4().hex}"})
        try:
            self._upload(folder, manifest)
            self.create(f"{place}/{MANIFEST}", manifest.model_dump_json(indent=1).encode())
            winner = self.find(manifest.kind, manifest.key)
        except PuriflowError:
            self._drop(f"{place}/{manifest.parts}")
            raise
        if winner is None:
            raise StoreError(f"{manifest.ref} vanished from {self.url} right after it was written.", "Run again.")
        if winner.manifest.parts != manifest.parts:
            self._drop(f"{place}/{manifest.parts}")
        return winner

    def fetch(self, manifest: Manifest, name: str) -> Path:
        """Bring a file to this machine's cache."""
        source = self._object(manifest, name)

        def download(target: Path) -> None:
            with self._faults():
                try:
                    self._fs.get_file(source, str(target))
                except FileNotFoundError as error:
                    if service_code(error) == "NoSuchBucket":
                        raise
                    raise damaged(manifest, name, f"is missing in store {self.url}") from error

        return cached(manifest.entry(name), download)

    def checksum(self, manifest: Manifest, name: str) -> tuple[int, str] | None:
        """Read one file where it lies, past the cache."""
        total, found = 0, sha256()
        with self._faults():
            try:
                with self._fs.open(self._object(manifest, name), "rb") as file:
                    while block := file.read(BLOCK):
                        total += len(block)
                        found.update(block)
            except FileNotFoundError:
                return None
        return total, found.hexdigest()

    def lock(self, kind: str, key: str) -> AbstractContextManager[None]:
        """Hold nothing: two may compute, one wins."""
        return nullcontext()

    def read(self, path: str) -> bytes | None:
        """Read an object in one request, so that a replaced one is never seen mixed."""
        options = {"max_concurrency": 1} if self._scheme in S3 else {}
        with self._faults():
            try:
                return bytes(self._fs.cat_file(self._place(path), **options))
            except FileNotFoundError as error:
                if service_code(error) == "NoSuchBucket":
                    raise
                return None

    def create(self, path: str, data: bytes | Path) -> bool:
        """Put an object on the condition that there is none."""
        content = data.read_bytes() if isinstance(data, Path) else data
        with self._faults():
            self._probe()
            self._make_parent(self._place(path))
            return put_new(self._fs, self._place(path), content)

    def replace(self, path: str, data: bytes | Path) -> None:
        """Put an object; object stores show the old or the new."""
        with self._faults():
            self._probe()
            self._make_parent(self._place(path))
            if isinstance(data, Path):
                self._fs.put_file(str(data), self._place(path))
            else:
                self._fs.pipe_file(self._place(path), data)

    def copy(self, source: str, target: str) -> None:
        """Copy inside the service."""
        with self._faults():
            self._make_parent(self._place(target))
            self._fs.cp_file(self._place(source), self._place(target))

    def entries(self, prefix: str) -> Iterator[Entry]:
        """List all objects below a prefix, in path order."""
        with self._faults():
            self._fs.invalidate_cache()
            found = self._fs.find(self._place(prefix), detail=True)
        for name in sorted(found):
            info = found[name]
            stamp = info.get("LastModified") or info.get("mtime") or info.get("created") or 0.0
            modified = stamp.timestamp() if isinstance(stamp, datetime) else float(stamp)
            yield Entry(self._relative(name), int(info["size"] or 0), modified)

    def children(self, prefix: str) -> list[str]:
        """List the names directly below a prefix, in order."""
        with self._faults():
            self._fs.invalidate_cache()
            try:
                names = self._fs.ls(self._place(prefix), detail=False)
            except (FileNotFoundError, NotADirectoryError) as error:
                if service_code(error) == "NoSuchBucket":
                    raise
                return []
        return sorted({posixpath.basename(name.rstrip("/")) for name in names} - {""})

    def move(self, source: str, target: str) -> None:
        """Copy, then delete, the manifest first: what has none is no artifact."""
        for entry in list(self.entries(source)):
            self.copy(entry.path, target + entry.path.removeprefix(source.rstrip("/")))
        self.remove(source)

    def remove(self, prefix: str) -> None:
        """Delete everything below a prefix, manifests first."""
        paths = [entry.path for entry in self.entries(prefix)]
        for path in sorted(paths, key=lambda p: posixpath.basename(p) != MANIFEST):
            with self._faults(), suppress(FileNotFoundError):
                self._fs.rm_file(self._place(path))

    def sweep(self) -> list[str]:
        """Remove what dead processes left on this machine."""
        return sweep_cache()

    def _upload(self, folder: Path, manifest: Manifest) -> None:
        sources = [str(folder / entry.path) for entry in manifest.files]
        targets = [self._object(manifest, entry.path) for entry in manifest.files]
        with self._faults():
            self._probe()
            for target in targets:
                self._make_parent(target)
            self._fs.put(sources, targets)

    def _drop(self, prefix: str) -> None:
        with suppress(PuriflowError):  # what stays behind is gc's
            self.remove(prefix)

    def _object(self, manifest: Manifest, name: str) -> str:
        return self._place(artifact_path(manifest.kind, manifest.key, str(posixpath.join(manifest.parts, name))))

    def _place(self, path: str) -> str:
        clean = posixpath.normpath(path) if path else "."
        if clean.startswith(("..", "/")):
            raise UnsafeError(f"path '{path}' leads out of store {self.url}.", "Use names inside the store.")
        return self._base if clean == "." else f"{self._base}/{clean}"

    def _relative(self, name: str) -> str:
        return str(name).lstrip("/").removeprefix(self._base.strip("/")).lstrip("/")

    def _make_parent(self, place: str) -> None:
        if self._scheme not in S3:  # which has no folders
            self._fs.makedirs(posixpath.dirname(place), exist_ok=True)

    def _probe(self) -> None:
        if not self._trusted:
            self._make_parent(self._place("probe"))
            probe(self._fs, self._base, self.url)
            self._trusted = True

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except (PuriflowError, KeyboardInterrupt):
            raise
        except Exception as error:
            raise explain_remote(error, self.url) from error
