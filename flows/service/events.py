"""What the service tells others: an event for every published label table, with its place and checksum."""

from flows.outcome import CleanResult
from pipeline.store import Store
from pipeline.store.published import Version, numbers, read_version

PUBLISHED = "puriflow.labels.published"


def tell_published(result: CleanResult, store: Store) -> None:
    """Emit the event of a published label table, unless readers have that very table already."""
    version = result.published
    if version is None or not is_news(store, Version.model_validate(version)):
        return
    from prefect.events import emit_event

    name = result.dataset
    emit_event(
        PUBLISHED,
        resource={"prefect.resource.id": f"puriflow.dataset.{name}", "prefect.resource.name": name},
        payload={
            "dataset": name, "version": version["n"], "uri": f"{store.url}/published/{name}/{version['file']}",
            "sha256": version["sha256"], "gate": version["gate"], "run": result.run,
        },
    )  # fmt: skip


def is_news(store: Store, version: Version) -> bool:
    """Tell whether a version's table differs from the one before: a nightly run mostly finds nothing new."""
    before = [n for n in numbers(store, version.dataset) if n < version.n]
    return not before or read_version(store, version.dataset, before[-1]).sha256 != version.sha256
