"""Options that several commands share, so that they mean and say the same everywhere."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pipeline.store import Store

STORE_ENV = "PURIFLOW_STORE"
STORE_FOLDER = "puriflow-store"

Document = Annotated[Path, typer.Argument(metavar="CLEAN.YAML", help="The document that describes the run")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout, also on failure")]
StoreUrl = Annotated[
    str,
    typer.Option(
        "--store",
        metavar="URL",
        envvar=STORE_ENV,
        help=f"A folder or s3://bucket/prefix; default: {STORE_FOLDER}",
    ),
]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Set one value, such as purify.method=knn")
]
Profile = Annotated[
    str, typer.Option("--profile", metavar="NAME", help="Defaults: quick, standard, thorough or photos")
]

Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N")]
Workers = Annotated[
    int, typer.Option("--workers", min=0, max=1024, help="Threads and processes of a stage; 0 means all cores")
]
Processes = Annotated[
    int, typer.Option("--processes", min=1, max=1024, help="Processes that share represent, one for each GPU")
]
CacheGib = Annotated[
    float | None,
    typer.Option(
        "--cache-gib",
        min=0,
        help="Disk for decoded images; those that need more are decoded anew in every epoch",
        show_default="half of what is free",
    ),
]


def existing(url: str) -> "Store":
    """Open a store to read from: one that is not there is a mistake."""
    from pipeline.errors import StoreError
    from pipeline.store import FileStore

    store = opened(url)
    if isinstance(store, FileStore) and not store.root.is_dir():
        raise StoreError(f"there is no store {store.url}.", "Name it with --store, or run `puriflow clean` first.")
    return store


def opened(url: str, folder: Path = Path()) -> "Store":
    """Open the store that was named, or the one in a folder."""
    from pipeline.errors import StoreError
    from pipeline.store import open_store

    if url.startswith("memory:"):
        raise StoreError(
            f"store {url} is seen by one process only, and stages are others.", "Name a folder or a bucket."
        )
    return open_store(url or str(folder.absolute() / STORE_FOLDER))
