"""Verify: read every file of an artifact again and compare with what the manifest promised."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from pipeline.artifacts import MANIFEST, Artifact, Manifest, Ref, artifact_path
from pipeline.errors import ContractError, PuriflowError
from pipeline.store.gc import users_first
from pipeline.store.lineage import Name
from pipeline.store.store import Store, trash_path


@dataclass(frozen=True)
class Verdict:
    """What verification found about one artifact."""

    ref: Ref
    bytes: int
    faults: tuple[str, ...]
    damaged: bool  # its own files, not only that its inputs are gone


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
    for name, key in store.names(kind):
        try:
            artifact = store.find(name, key)
        except ContractError as error:
            yield Verdict(Ref(kind=name, key=key), 0, (error.message,), damaged=True)
            continue
        if artifact is not None:
            faults, lost = faults_of(artifact), lost_inputs(store, artifact)
            yield Verdict(artifact.ref, artifact.manifest.size(), (*faults, *lost), bool(faults))


def lost_inputs(store: Store, artifact: Artifact) -> list[str]:
    """List the inputs of an artifact that are gone, in words."""
    inputs, have = artifact.manifest.inputs.items(), store.read
    return [f"input {n} ({r}) is gone" for n, r in inputs if have(artifact_path(r.kind, r.key, MANIFEST)) is None]


def discard(store: Store, damaged: Iterable[Name]) -> list[Name]:
    """Put damaged artifacts into the trash, and what their own stage made of them, so that it runs again."""
    catalogue = readable(store)
    gone = list(damaged)
    for name in gone:  # grows meanwhile
        stage = catalogue[name].stage if name in catalogue else None
        gone += [
            user
            for user, made in catalogue.items()
            if user not in gone and name in names_of(made.inputs.values()) and stage in (None, made.stage)
        ]
    for user in users_first(catalogue, gone):
        store.move(artifact_path(*user), trash_path(artifact_path(*user)))
    return gone


def readable(store: Store) -> dict[Name, Manifest]:
    """Read the manifests that can be read."""
    found: dict[Name, Manifest] = {}
    for name in store.names():
        with suppress(ContractError):
            artifact = store.find(*name)
            if artifact is not None:
                found[name] = artifact.manifest
    return found


def names_of(refs: Iterable[Ref]) -> set[Name]:
    """Name artifacts by kind and key alone."""
    return {(ref.kind, ref.key) for ref in refs}
