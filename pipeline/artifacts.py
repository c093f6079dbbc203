"""Artifacts: immutable folders of files that exist if and only if their manifest does."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from pydantic import Field

from pipeline.config import Config
from pipeline.errors import ContractError
from pipeline.keys import digest, file_sha256

if TYPE_CHECKING:
    from pipeline.store.store import Store

MANIFEST = "manifest.json"
SCHEMA_VERSION = 1


class Ref(Config):
    """The name of an artifact: small enough to pass through any queue."""

    kind: str
    key: str
    sha256: str = ""

    def __str__(self) -> str:
        """Show the ref as people write it."""
        return f"{self.kind}/{self.key}"


class FileEntry(Config):
    """One file of an artifact, as it was when published."""

    path: str
    bytes: int
    sha256: str


class Manifest(Config):
    """What an artifact is, what made it, from what, and the checksum of each of its files."""

    kind: str
    key: str
    schema_version: int = SCHEMA_VERSION
    stage: str = ""
    method: str = ""
    versions: dict[str, str | int] = Field(default_factory=dict)
    config: dict[str, Any] = Field(default_factory=dict)
    inputs: dict[str, Ref] = Field(default_factory=dict)
    files: tuple[FileEntry, ...] = ()
    metrics: dict[str, Any] = Field(default_factory=dict)
    environment: dict[str, Any] = Field(default_factory=dict)
    created: str = ""
    parts: str = ""

    @property
    def ref(self) -> Ref:
        """Name this artifact, with the checksum of what does not depend on when and where it was made."""
        content = {"files": [f.model_dump() for f in self.files], "inputs": {n: r.key for n, r in self.inputs.items()}}
        return Ref(kind=self.kind, key=self.key, sha256=digest([self.kind, self.key, content]))

    def size(self) -> int:
        """Sum the bytes of all files."""
        return sum(f.bytes for f in self.files)

    def entry(self, path: str) -> FileEntry:
        """Find one file's entry."""
        for entry in self.files:
            if entry.path == path:
                return entry
        names = ", ".join(f.path for f in self.files[:10])
        raise ContractError(f"artifact {self.ref} has no file '{path}'; it has: {names}.", "Run the stage again.")


def list_files(folder: Path) -> tuple[FileEntry, ...]:
    """Describe all files below a folder in name order, the manifest aside."""
    paths = sorted(p for p in folder.rglob("*") if p.is_file() and p != folder / MANIFEST)
    return tuple(
        FileEntry(path=p.relative_to(folder).as_posix(), bytes=p.stat().st_size, sha256=file_sha256(p)) for p in paths
    )


@dataclass(frozen=True)
class Artifact:
    """A published artifact: its manifest and the store that can bring its files."""

    manifest: Manifest
    store: "Store"

    @property
    def ref(self) -> Ref:
        """Name this artifact."""
        return self.manifest.ref

    @property
    def key(self) -> str:
        """Return the key of this artifact."""
        return self.manifest.key

    @property
    def metrics(self) -> Mapping[str, Any]:
        """Return what the stage measured."""
        return self.manifest.metrics

    def path(self, name: str) -> Path:
        """Bring one file to this machine (a store on this machine hands out its own, never write to it)."""
        self.manifest.entry(name)
        return self.store.fetch(self.manifest, name)

    def paths(self, prefix: str = "") -> list[Path]:
        """Bring all files whose name starts with a prefix, in name order."""
        return [self.path(f.path) for f in self.manifest.files if f.path.startswith(prefix)]

    def has(self, name: str) -> bool:
        """Tell whether the artifact holds a file of this name."""
        return any(f.path == name for f in self.manifest.files)


def artifact_path(kind: str, key: str, name: str = "") -> str:
    """Place an artifact, or one of its files, inside a store."""
    return str(PurePosixPath(kind, key, name))
