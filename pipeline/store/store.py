"""What a store is: a place where artifacts appear whole or not at all."""

import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from pipeline.artifacts import MANIFEST, Artifact, Manifest, Ref, artifact_path
from pipeline.errors import ContractError, MissingArtifactError

DISCARD = "`puriflow store verify --discard` puts what is damaged into the trash; the next run makes it again."
NOT_ARTIFACTS = frozenset({"published", "decisions", "runs", "trash", "checkpoints"})


@dataclass(frozen=True)
class Entry:
    """One object in a store: its path, size and when it was last written (seconds since 1970)."""

    path: str
    bytes: int
    modified: float


class Store(ABC):
    """Artifacts by kind and key, and small objects by path; all writes are atomic."""

    url: str

    @abstractmethod
    def staging(self, kind: str, key: str) -> AbstractContextManager[Path]:
        """Give a fresh folder to build an artifact in; what is left of it at the end is removed."""

    @abstractmethod
    def work(self, label: str) -> AbstractContextManager[Path]:
        """Give a folder for requests, progress and logs, for as long as this process lives; sweep those of the dead."""

    @abstractmethod
    def publish(self, folder: Path, manifest: Manifest) -> Artifact:
        """Make a staged folder the artifact that the manifest names; where another was faster, return that one."""

    @abstractmethod
    def fetch(self, manifest: Manifest, name: str) -> Path:
        """Bring one file of an artifact to this machine."""

    @abstractmethod
    def checksum(self, manifest: Manifest, name: str) -> tuple[int, str] | None:
        """Read one file of an artifact again where it lies: its bytes and sha256, None where it is missing."""

    @abstractmethod
    def lock(self, kind: str, key: str) -> AbstractContextManager[None]:
        """Hold a key while computing it, where the store can; a dead holder never blocks."""

    @abstractmethod
    def read(self, path: str) -> bytes | None:
        """Read a small object, None where there is none."""

    @abstractmethod
    def create(self, path: str, data: bytes | Path) -> bool:
        """Write an object that must not exist yet; False where it does."""

    @abstractmethod
    def replace(self, path: str, data: bytes | Path) -> None:
        """Write an object, over an older one if need be; readers see the old or the new, never a mixture."""

    @abstractmethod
    def copy(self, source: str, target: str) -> None:
        """Copy an object, over an older one if need be; readers see the old or the new."""

    @abstractmethod
    def entries(self, prefix: str) -> Iterator[Entry]:
        """List all objects below a prefix, in path order."""

    @abstractmethod
    def children(self, prefix: str) -> list[str]:
        """List the names directly below a prefix, in order."""

    @abstractmethod
    def move(self, source: str, target: str) -> None:
        """Move everything below one prefix to another."""

    @abstractmethod
    def remove(self, prefix: str) -> None:
        """Delete everything below a prefix."""

    @abstractmethod
    def sweep(self) -> list[str]:
        """Remove what processes that died left behind; name it."""

    def find(self, kind: str, key: str) -> Artifact | None:
        """Look an artifact up."""
        data = self.read(artifact_path(kind, key, MANIFEST))
        if data is None:
            return None
        try:
            return Artifact(Manifest.model_validate_json(data), self)
        except ValidationError as error:
            raise ContractError(
                f"manifest of {kind}/{key} in {self.url} is not readable ({error.error_count()} faults).",
                DISCARD,
            ) from error

    def get(self, ref: Ref) -> Artifact:
        """Bring an artifact that must be there."""
        found = self.find(ref.kind, ref.key)
        if found is None:
            raise MissingArtifactError(
                f"artifact {ref} is not in store {self.url}.", f"Run the stage that makes '{ref.kind}' again."
            )
        return found

    def artifacts(self, kind: str | None = None) -> Iterator[Artifact]:
        """Go through all published artifacts, of one kind or of all."""
        for name, key in self.names(kind):
            found = self.find(name, key)
            if found is not None:
                yield found

    def names(self, kind: str | None = None) -> Iterator[tuple[str, str]]:
        """Go through kind and key of whatever lies where artifacts lie."""
        kinds = [kind] if kind else [k for k in self.children("") if k not in NOT_ARTIFACTS and not k.startswith(".")]
        for name in kinds:
            for key in self.children(name):
                yield name, key


def damaged(manifest: Manifest, name: str, what: str) -> ContractError:
    """Make the error of a file that is not as its manifest says."""
    return ContractError(f"'{name}' of artifact {manifest.ref} {what}.", DISCARD)


def trash_path(path: str) -> str:
    """Name the place in the trash, by day, where something goes before it is deleted for good."""
    return f"trash/{datetime.now(UTC).date()}/{uuid.uuid4().hex[:8]}/{path}"


def utc_now() -> str:
    """Say when something was made, in UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
