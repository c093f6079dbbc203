"""`puriflow publish`: make a label table the newest version of its dataset."""

from typing import Annotated

import typer
from rich.console import Console

from flows.cli.options import AsJson, StoreUrl
from flows.cli.output import emit, say

EXAMPLE = "puriflow publish clean.yaml"


def command(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="A CLEAN.YAML, a dataset's name or STORE/DATASET")],
    store: StoreUrl = "",
    labels: Annotated[str, typer.Option("--labels", metavar="KEY", help="Not the last run's table but this one")] = "",
    rollback: Annotated[int, typer.Option("--rollback", metavar="N", min=0, help="Publish version N again")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Publish over a version that knows newer labels")] = False,
    as_json: AsJson = False,
) -> None:
    """Make the label table of a dataset's last run its newest version.

    With --rollback an old version becomes the newest one again, under a new number.
    """
    from flows.cli.target import artifact_at, dataset_at, newest_labels
    from pipeline.store.published import publish_labels
    from pipeline.store.published import rollback as roll_back
    from pipeline.store.runs import newest_run

    place, name = dataset_at(dataset, store)
    if rollback:
        version = roll_back(place, name, rollback)
    elif labels:
        version = publish_labels(place, name, artifact_at(place, f"labels/{labels}").ref, force=force)
    else:
        made = newest_labels(place, name)
        run = newest_run(place, name, "completed")
        version = publish_labels(place, name, made.ref, force=force, run=run.id if run else "")

    def render(console: Console) -> None:
        again = f" (version {version.rollback_of} again)" if version.rollback_of else ""
        say(console, f"{name}: version {version.n}{again}, gate {version.gate or 'unknown'}")
        say(console, f"{place.url}/published/{name}/{version.file}")

    emit(version.model_dump(mode="json"), as_json, render)
