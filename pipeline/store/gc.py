"""Garbage collection: what no published version, no recent run and no young artifact needs goes to the trash first."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pipeline.artifacts import Manifest, artifact_path
from pipeline.store.lineage import Name, manifests, reach
from pipeline.store.published import PUBLISHED, numbers, read_version
from pipeline.store.runs import RunRecord, find_run, list_runs, newest_run
from pipeline.store.store import NOT_ARTIFACTS, Entry, Store, trash_path

CHECKPOINTS = "checkpoints"
TRASH = "trash"
ATTEMPT = re.compile("[0-9a-f]{32}")


@dataclass(frozen=True)
class Rules:
    """What is kept, and for how long."""

    versions: int = 10  # of each dataset, the newest
    run_days: float = 7
    young_days: float = 1
    checkpoint_days: float = 30
    trash_days: float = 7


@dataclass(frozen=True)
class Waste:
    """One thing that goes, its size and the reason; `to_trash` where it can still be brought back."""

    path: str
    bytes: int
    why: str
    to_trash: bool = False


@dataclass(frozen=True)
class Report:
    """What was collected, or would be."""

    waste: tuple[Waste, ...]
    kept: int  # artifacts
    dry_run: bool

    @property
    def bytes(self) -> int:
        """Sum what goes."""
        return sum(item.bytes for item in self.waste)


def collect(store: Store, rules: Rules | None = None, *, dry_run: bool = True, now: datetime | None = None) -> Report:
    """Find what is not needed, and unless it is a dry run move or delete it."""
    rules, now = rules or Rules(), now or datetime.now(UTC)
    catalogue = manifests(store)
    dead = [*unreached(store, catalogue, rules, now)]
    waste = [*dead, *lost_parts(store, catalogue, rules, now), *stale_checkpoints(store, catalogue, rules, now)]
    waste += old_trash(store, rules, now)
    if not dry_run:
        still_dead = {item.path for item in unreached(store, catalogue, rules, now)}  # a run may have begun meanwhile
        waste = [item for item in waste if not item.to_trash or item.path in still_dead]
        for item in waste:
            dispose(store, item)
        waste += [Waste(path, 0, "its process died") for path in store.sweep()]
    return Report(tuple(waste), len(catalogue) - sum(item.to_trash for item in waste), dry_run)


def dispose(store: Store, item: Waste) -> None:
    """Move one thing to the trash, or delete it where it is trash already."""
    if item.to_trash:
        store.move(item.path, trash_path(item.path))
    else:
        store.remove(item.path)


def unreached(store: Store, catalogue: dict[Name, Manifest], rules: Rules, now: datetime) -> Iterator[Waste]:
    """Find the artifacts that nothing worth keeping is made of, users before what they use."""
    kept = reach(catalogue, roots(store, catalogue, rules, now))
    for name in users_first(catalogue, [n for n in catalogue if n not in kept]):
        size = catalogue[name].size()
        yield Waste(artifact_path(*name), size, "no kept version and no recent run needs it", to_trash=True)


def roots(store: Store, catalogue: dict[Name, Manifest], rules: Rules, now: datetime) -> set[Name]:
    """Collect what is kept for its own sake: of published versions, of recent runs, and whatever is young."""
    found: set[Name] = set()
    young = now - timedelta(days=rules.young_days)
    since = now - timedelta(days=rules.run_days)
    for record in list_runs(store):
        started = datetime.fromisoformat(record.started)
        if started < since:
            break
        found |= artifacts_of(record)
        if record.state == "running":
            young = min(young, started)  # its stages publish artifacts that no record names yet
            last = newest_run(store, record.dataset, "completed")  # they copy from its artifacts, however old
            found |= artifacts_of(last) if last else set()
    found |= {name for name, m in catalogue.items() if not m.created or datetime.fromisoformat(m.created) > young}
    return found | published_roots(store, rules)


def published_roots(store: Store, rules: Rules) -> set[Name]:
    """Collect the labels of the newest versions of each dataset, and what their runs made beside them."""
    found: set[Name] = set()
    for dataset in store.children(PUBLISHED):
        for n in numbers(store, dataset)[::-1][: rules.versions]:
            version = read_version(store, dataset, n)
            found.add((version.labels.kind, version.labels.key))
            record = find_run(store, version.run) if version.run else None
            found |= artifacts_of(record) if record else set()
    return found


def artifacts_of(record: RunRecord) -> set[Name]:
    """Name what a run made or found."""
    return {(made.ref.kind, made.ref.key) for made in record.artifacts.values()}


def users_first(catalogue: dict[Name, Manifest], names: list[Name]) -> list[Name]:
    """Order artifacts so that a killed collection leaves none behind whose inputs are gone."""
    depth: dict[Name, int] = {}

    def depth_of(name: Name) -> int:
        if name not in depth:
            inputs = [(r.kind, r.key) for r in catalogue[name].inputs.values()] if name in catalogue else []
            depth[name] = 1 + max((depth_of(i) for i in inputs), default=0)
        return depth[name]

    return sorted(names, key=lambda name: (-depth_of(name), name))


def lost_parts(store: Store, catalogue: dict[Name, Manifest], rules: Rules, now: datetime) -> Iterator[Waste]:
    """Find uploads whose manifest never came or was beaten (`<kind>/<key>/parts/<attempt>` of remote stores)."""
    for kind in store.children(""):
        if kind in NOT_ARTIFACTS or kind.startswith("."):
            continue
        for key in store.children(kind):
            manifest = catalogue.get((kind, key))
            if manifest is not None and not manifest.parts:
                continue  # a local artifact may have a folder of this name
            for attempt in store.children(f"{kind}/{key}/parts"):
                path = f"{kind}/{key}/parts/{attempt}"
                if not ATTEMPT.fullmatch(attempt) or (manifest is not None and path.endswith(manifest.parts)):
                    continue
                yield from waste_if_old(store, path, now - timedelta(days=rules.young_days), "an upload that lost")


def stale_checkpoints(store: Store, catalogue: dict[Name, Manifest], rules: Rules, now: datetime) -> Iterator[Waste]:
    """Find checkpoints whose artifact is there, or that nobody resumed for long."""
    made = {key for _, key in catalogue}
    for key in store.children(CHECKPOINTS):
        path = f"{CHECKPOINTS}/{key}"
        if key in made:
            yield Waste(path, size_of(list(store.entries(path))), "its artifact is there")
        else:
            limit = now - timedelta(days=rules.checkpoint_days)
            yield from waste_if_old(store, path, limit, f"nobody resumed it for {rules.checkpoint_days:g} days")


def old_trash(store: Store, rules: Rules, now: datetime) -> Iterator[Waste]:
    """Find the trash of days long past."""
    limit = (now - timedelta(days=rules.trash_days)).date().isoformat()
    for day in store.children(TRASH):
        if day < limit:
            path = f"{TRASH}/{day}"
            yield Waste(path, size_of(list(store.entries(path))), f"in the trash for {rules.trash_days:g} days")


def waste_if_old(store: Store, path: str, limit: datetime, why: str) -> Iterator[Waste]:
    """Judge a folder by the newest thing in it."""
    entries = list(store.entries(path))
    if entries and max(entry.modified for entry in entries) < limit.timestamp():
        yield Waste(path, size_of(entries), why)


def size_of(entries: list[Entry]) -> int:
    """Sum the bytes of a listing."""
    return sum(entry.bytes for entry in entries)
