"""`puriflow clean`: run the recipe on this machine."""

from typing import Annotated

import typer

from flows.cli.options import (
    AsJson,
    CacheGib,
    Device,
    Document,
    Processes,
    Profile,
    Settings,
    StoreUrl,
    Workers,
    opened,
)
from flows.cli.output import emit, errors

EXAMPLE = "puriflow clean clean.yaml --set purify.method=knn --publish"


def command(
    document: Document,
    store: StoreUrl = "",
    settings: Settings = None,
    profile: Profile = "",
    publish: Annotated[bool, typer.Option("--publish", help="Make the label table the newest version")] = False,
    force: Annotated[bool, typer.Option("--force", help="Publish over a version that knows newer labels")] = False,
    rehash: Annotated[bool, typer.Option("--rehash", help="Read every image again, even if unchanged")] = False,
    device: Device = "auto",
    workers: Workers = 0,
    processes: Processes = 1,
    cache_gib: CacheGib = None,
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

    switches = {"publish.enabled": publish, "publish.force": force, "dataset.rehash": rehash}
    chosen = [*(settings or []), *(f"{name}=true" for name, wanted in switches.items() if wanted)]
    request = load_document(document, chosen, profile)
    resources = Resources(device=device, workers=workers, processes=processes, cache_gib=cache_gib)
    with choose_view(errors(), quiet=as_json) as view:
        result = run_clean(request, opened(store, document.absolute().parent), view, resources)
    emit(result.to_dict(), as_json, lambda console: render_result(console, result))
