"""What the service tells others: an event for every published label table, with its place and checksum."""

from flows.outcome import CleanResult
from pipeline.store import Store

PUBLISHED = "puriflow.labels.published"


def tell_published(result: CleanResult, store: Store) -> None:
    """Emit the event of a label table that this run published; one that readers had before is no news."""
    version = result.published
    if version is None or version["run"] != result.run:
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
