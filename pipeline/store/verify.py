"""Verify: read every file of an artifact again and compare with what the manifest promised."""

from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.artifacts import Artifact, Ref
from pipeline.errors import PuriflowError
from pipeline.store.store import Store


@dataclass(frozen=True)
class Verdict:
    """What verification found about one artifact."""

    ref: Ref
    bytes: int
    faults: tuple[str, ...]


def faults_of(artifact: Artifact) -> tuple[str, ...]:
    """List the files of an artifact that are missing or changed, in words."""
    faults = []
    for entry in artifact.manifest.files:
        try:
            found = artifact.store.checksum(artifact.manifest, entry.path)
        except (OSError, PuriflowError) as error:
            faults.append(f"{entry.path} cannot be read: {error}")
            continue
        if found is None:
            faults.append(f"{entry.path} is missing")
        elif found[0] != entry.bytes:
            faults.append(f"{entry.path} has {found[0]} bytes, the manifest says {entry.bytes}")
        elif found[1] != entry.sha256:
            faults.append(f"{entry.path} has other content than the manifest says")
    return tuple(faults)


def verify(store: Store, kind: str | None = None) -> Iterator[Verdict]:
    """Verify all artifacts, or those of one kind; inputs that are gone are faults too."""
    for artifact in store.artifacts(kind):
        inputs = artifact.manifest.inputs.items()
        missing = [f"input {n} ({r}) is gone" for n, r in inputs if not store.find(r.kind, r.key)]
        yield Verdict(artifact.ref, artifact.manifest.size(), (*faults_of(artifact), *missing))
