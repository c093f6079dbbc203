"""Lineage: what an artifact is made of, and what was made of it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pipeline.artifacts import Manifest, Ref
from pipeline.store.store import Store

Name = tuple[str, str]  # kind, key


@dataclass(frozen=True)
class Node:
    """One artifact with all that it was made of; without a manifest where it is gone."""

    ref: Ref
    manifest: Manifest | None
    inputs: Mapping[str, "Node"]


def lineage(store: Store, ref: Ref) -> Node:
    """Follow the inputs of an artifact down to the sources; shared ones are read once."""
    store.get(ref)
    known: dict[Name, Node] = {}

    def node(ref: Ref) -> Node:
        name = (ref.kind, ref.key)
        if name not in known:
            found = store.find(*name)
            inputs = {n: node(r) for n, r in found.manifest.inputs.items()} if found else {}
            known[name] = Node(found.ref if found else ref, found.manifest if found else None, inputs)
        return known[name]

    return node(ref)


def downstream(store: Store, ref: Ref) -> list[Ref]:
    """List everything that was made of an artifact, directly or not."""
    catalogue = manifests(store)
    users: dict[Name, list[Name]] = {}
    for name, manifest in catalogue.items():
        for used in manifest.inputs.values():
            users.setdefault((used.kind, used.key), []).append(name)
    found = follow(users, [(ref.kind, ref.key)]) - {(ref.kind, ref.key)}
    return [catalogue[name].ref for name in sorted(found)]


def manifests(store: Store) -> dict[Name, Manifest]:
    """Read the manifests of all artifacts."""
    return {(a.manifest.kind, a.manifest.key): a.manifest for a in store.artifacts()}


def reach(catalogue: Mapping[Name, Manifest], roots: Iterable[Name]) -> set[Name]:
    """Collect what roots are made of, the roots included."""
    return follow({n: [(r.kind, r.key) for r in m.inputs.values()] for n, m in catalogue.items()}, roots)


def follow(arrows: Mapping[Name, Iterable[Name]], roots: Iterable[Name]) -> set[Name]:
    """Collect what can be reached along arrows."""
    reached: set[Name] = set()
    pending = list(roots)
    while pending:
        name = pending.pop()
        if name not in reached:
            reached.add(name)
            pending.extend(arrows.get(name, ()))
    return reached
