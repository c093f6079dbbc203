"""Published label tables: numbered versions that never change, and two convenience copies of the newest.

`published/<dataset>/versions/<n>.json` is created exclusively and names an immutable `labels-<m>-<key>.parquet`
beside it, which is there before the version is. Best read the file that `latest.json` names. `labels.parquet` changes
in one step, so whoever opens it once reads one version; pyarrow and pandas open a path twice: hand them the open file.
"""

import hashlib
import uuid
from collections.abc import Iterator

from pydantic import Field, ValidationError

from pipeline.artifacts import Artifact, Ref
from pipeline.config import Config
from pipeline.errors import ContractError, MissingArtifactError, StoreError, UserError
from pipeline.keys import file_sha256
from pipeline.store.runs import find_run
from pipeline.store.store import DISCARD, Store, utc_now

PUBLISHED = "published"
TABLE = "labels.parquet"
LATEST = "latest.json"
TRIES = 200


class Version(Config):
    """One published label table."""

    n: int = Field(ge=1)
    dataset: str
    labels: Ref
    file: str  # its name in the dataset's published folder
    sha256: str
    bytes: int
    created: str
    annotations: Ref | None = None
    seen: str = ""  # when the annotations were read: a run that read earlier must not replace this version
    gate: str = ""
    counts: dict[str, int] = Field(default_factory=dict)
    rollback_of: int | None = None
    run: str = ""
    id: str = Field(default_factory=lambda: uuid.uuid4().hex)


def versions(store: Store, dataset: str) -> list[Version]:
    """List all versions of a dataset, the oldest first."""
    return [read_version(store, dataset, n) for n in numbers(store, dataset)]


def latest(store: Store, dataset: str) -> Version | None:
    """Find the newest version."""
    found = numbers(store, dataset)
    return read_version(store, dataset, found[-1]) if found else None


def numbers(store: Store, dataset: str) -> list[int]:
    """List the version numbers of a dataset in order."""
    names = (name.removesuffix(".json") for name in store.children(place(dataset, "versions")))
    return sorted(int(name) for name in names if name.isdecimal())


def read_version(store: Store, dataset: str, n: int) -> Version:
    """Read one version, which must be there."""
    data = store.read(place(dataset, f"versions/{n}.json"))
    if data is None:
        have = ", ".join(map(str, numbers(store, dataset)[-10:])) or "none"
        raise MissingArtifactError(f"dataset '{dataset}' has no version {n}; it has: {have}.", "Name one of these.")
    try:
        return Version.model_validate_json(data)
    except ValidationError as error:
        raise ContractError(
            f"version {n} of '{dataset}' in {store.url} is not readable ({error.error_count()} faults).",
            "Use the puriflow that wrote it.",
        ) from error


def publish_labels(store: Store, dataset: str, labels: Ref, *, force: bool = False, run: str = "") -> Version:
    """Publish a labels artifact as the next version."""
    artifact = store.get(labels)
    table = artifact.path(TABLE)
    entry = artifact.manifest.entry(TABLE)
    if file_sha256(table) != entry.sha256:
        raise ContractError(f"{TABLE} of {labels} is not as it was written.", DISCARD)
    for n in free_numbers(store, dataset):
        draft = draft_version(store, dataset, artifact, n, run)
        if not force:
            refuse_older(latest(store, dataset), draft)
        path = place(dataset, draft.file)
        if not store.create(path, table) and content_sha256(store, path) != entry.sha256:
            continue  # the left-over of another attempt at this number
        if claim(store, draft):
            return draft
        if read_version(store, dataset, n).file != draft.file:
            store.remove(path)  # the number is another's for ever, so nobody can name this file
    raise crowded(dataset)


def publish_news(store: Store, dataset: str, labels: Ref, *, force: bool = False, run: str = "") -> Version:
    """Publish what a run made, unless it is the newest version's table already, or somebody rolled it back.

    Return the newest version then, whatever it holds: a nightly run must neither repeat it nor undo a rollback.
    """
    newest = None if force else latest(store, dataset)
    if newest is not None:
        known = [newest]
        if newest.rollback_of is not None:
            known += [read_version(store, dataset, n) for n in numbers(store, dataset) if n > newest.rollback_of]
        if store.get(labels).manifest.entry(TABLE).sha256 in {version.sha256 for version in known}:
            return newest
    return publish_labels(store, dataset, labels, force=force, run=run)


def rollback(store: Store, dataset: str, n: int, *, run: str = "") -> Version:
    """Publish an old version's content again, as a new version."""
    old = read_version(store, dataset, n)
    for number in free_numbers(store, dataset):
        now = utc_now()
        fresh = {"n": number, "created": now, "seen": now, "rollback_of": n, "run": run, "id": uuid.uuid4().hex}
        draft = old.model_copy(update=fresh)
        if claim(store, draft):
            return draft
    raise crowded(dataset)


def draft_version(store: Store, dataset: str, artifact: Artifact, n: int, run: str) -> Version:
    """Describe what would be published under a number."""
    entry, metrics = artifact.manifest.entry(TABLE), artifact.metrics
    annotations = artifact.manifest.inputs.get("annotations")
    return Version(
        n=n, dataset=dataset, labels=artifact.ref, file=f"labels-{n}-{artifact.key}.parquet", sha256=entry.sha256,
        bytes=entry.bytes, created=utc_now(), annotations=annotations, seen=when_seen(store, annotations, run),
        gate=str(dict(metrics.get("gate", {})).get("verdict", "")), counts=dict(metrics.get("counts", {})), run=run,
    )  # fmt: skip


def when_seen(store: Store, annotations: Ref | None, run: str) -> str:
    """Say when the annotations were last known to be the dataset's: at the run's start, else when they were made.

    The making alone would not do: labels that were changed and changed back have an old artifact but are today's.
    """
    record = find_run(store, run) if run else None
    if record is not None:
        return record.started
    found = store.find(annotations.kind, annotations.key) if annotations else None
    return found.manifest.created if found else ""


def refuse_older(newest: Version | None, draft: Version) -> None:
    """Refuse to cover newer labels with what a slower or older run made of older ones."""
    if newest is None or not newest.seen or not draft.seen:
        return
    same = newest.annotations and draft.annotations and newest.annotations.key == draft.annotations.key
    if not same and draft.seen < newest.seen:
        raise UserError(
            f"{draft.labels} rests on annotations read at {draft.seen}, but version {newest.n} of '{draft.dataset}' "
            f"is of {newest.seen}.",
            "Run `puriflow clean` again for today's annotations, or publish with --force.",
        )


def claim(store: Store, draft: Version) -> bool:
    """Create the version, then bring the convenience copies up to date; False where the number is taken."""
    path = place(draft.dataset, f"versions/{draft.n}.json")
    # An answer lost on the network makes a store retry and meet its own object: the id tells.
    if not store.create(path, draft.model_dump_json(indent=1).encode()) and (
        read_version(store, draft.dataset, draft.n).id != draft.id
    ):
        return False
    refresh(store, draft.dataset)
    return True


def refresh(store: Store, dataset: str) -> None:
    """Make `labels.parquet` and `latest.json` those of the newest version, and never of an older one again.

    Local stores serialise this by a lock; elsewhere whoever wrote last has looked again after writing.
    """
    with store.lock(PUBLISHED, dataset):
        written = 0
        while (newest := latest(store, dataset)) is not None and newest.n != written:
            store.copy(place(dataset, newest.file), place(dataset, TABLE))
            store.replace(place(dataset, LATEST), newest.model_dump_json(indent=1).encode())
            written = newest.n


def free_numbers(store: Store, dataset: str) -> Iterator[int]:
    """Offer the number after the highest, again and again while others take it."""
    n = 0
    for _ in range(TRIES):
        n = max(n, *numbers(store, dataset), 0) + 1
        yield n


def crowded(dataset: str) -> StoreError:
    """Make the error of a number that could not be had."""
    return StoreError(f"'{dataset}' was published by others {TRIES} times meanwhile.", "Run again.")


def content_sha256(store: Store, path: str) -> str:
    """Hash an object of a store."""
    return hashlib.sha256(store.read(path) or b"").hexdigest()


def place(dataset: str, name: str) -> str:
    """Place something of a dataset's publications."""
    return f"{PUBLISHED}/{dataset}/{name}"
