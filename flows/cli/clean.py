"""`puriflow clean`: run the recipe on this machine."""

from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.options import AsJson, Document, Profile, Settings, StoreUrl, opened
from flows.cli.output import emit, errors

if TYPE_CHECKING:
    from flows.document import CleanRequest

EXAMPLE = "puriflow clean clean.yaml --set purify.method=knn --publish"


def command(
    document: Document,
    store: StoreUrl = "",
    settings: Settings = None,
    profile: Profile = "",
    publish: Annotated[bool, typer.Option("--publish", help="Make the label table the newest version")] = False,
    force: Annotated[bool, typer.Option("--force", help="Publish over a version that knows newer labels")] = False,
    rehash: Annotated[bool, typer.Option("--rehash", help="Read every image again, even if unchanged")] = False,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N")] = "auto",
    workers: Annotated[int, typer.Option("--workers", min=0, max=1024, help="Processes; 0 means all cores")] = 0,
    as_json: AsJson = False,
) -> None:
    """Clean a dataset: purified labels, a model, a report.

    What is in the store already is not done again.
    """
    from flows.cli.results import render_result
    from flows.document import load_document
    from flows.inline import run_clean
    from flows.terminal import choose_view
    from pipeline.requests import Resources

    request = load_document(document, settings or [], profile)
    request = published(request) if publish else request
    request = forced(request) if force else request
    resources = Resources(device=device, workers=workers)
    with choose_view(errors(), quiet=as_json) as view:
        result = run_clean(request, opened(store, document.absolute().parent), view, resources, rehash)
    emit(result.to_dict(), as_json, lambda console: render_result(console, result))


def published(request: "CleanRequest") -> "CleanRequest":
    """Ask for a new version, whatever the document says."""
    return request.model_copy(update={"publish": request.publish.model_copy(update={"enabled": True})})


def forced(request: "CleanRequest") -> "CleanRequest":
    """Publish even over a version that knows newer labels."""
    return request.model_copy(update={"publish": request.publish.model_copy(update={"force": True})})
