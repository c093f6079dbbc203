"""`puriflow up`: the service on this machine."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from flows.cli.options import STORE_FOLDER, AsJson, StoreUrl
from flows.cli.output import emit, errors, say

if TYPE_CHECKING:
    from flows.service.server import Server
    from flows.service.up import Place

EXAMPLE = "puriflow up --data photos"


def command(
    store: StoreUrl = "",
    data: Annotated[
        list[Path] | None,
        typer.Option(
            "--data", metavar="FOLDER", help="Data that may be read; paths start from the first. Default: here"
        ),
    ] = None,
    host: Annotated[str, typer.Option("--host", help="Address to listen at; others need an auth string")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Port of UI and API")] = 4200,
    url: Annotated[
        str, typer.Option("--url", metavar="URL", help="Where browsers find it, if a proxy stands before it")
    ] = "",
    database: Annotated[
        str,
        typer.Option(
            "--database",
            metavar="URL",
            envvar="PURIFLOW_DATABASE",
            help="postgresql+asyncpg://user:password@host/name; default: SQLite in the home",
        ),
    ] = "",
    home: Annotated[
        Path | None, typer.Option("--home", envvar="PURIFLOW_HOME", help="Database and logs; default: ~/.puriflow")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Start the service: server, work pools, workers, deployments.

    Ctrl-C stops all of it; what runs writes a checkpoint first.
    """
    from flows.service.server import AUTH_ENV, Server, default_home, only_one
    from flows.service.up import Place, run_service
    from pipeline.store import open_store

    place = Place(open_store(store or str(Path(STORE_FOLDER).absolute())).url, tuple(data or [Path.cwd()]))
    auth = os.environ.get(AUTH_ENV, "")
    server = Server((home or default_home()).absolute(), host, port, database, auth, url.rstrip("/"))
    console = errors()
    with only_one(server.home) as first:
        if first:
            run_service(server, place, lambda t: say(console, t), lambda names: announce(server, place, names, as_json))
        else:
            tell_first(server, as_json)


def announce(server: "Server", place: "Place", names: list[str], as_json: bool) -> None:
    """Say where the service is and what it has."""
    record: dict[str, Any] = {
        "url": server.public or server.url, "api": server.api, "store": place.store,
        "data": [str(r.absolute()) for r in place.roots], "deployments": names, "pid": os.getpid(),
        "home": str(server.home),
    }  # fmt: skip

    def render(console: Console) -> None:
        from flows.cli.results import render_facts

        say(console, f"\npuriflow is up: {record['url']}\n", "bold")
        kept = {"store": place.store, "data": ", ".join(record["data"]), "logs": str(server.home / "logs")}
        render_facts(console, {**kept, "deployments": ", ".join(names)})
        say(console, "\nDeployments → quick → Run → Custom run, fill in the dataset. Ctrl-C here stops everything.")

    emit(record, as_json, render)


def tell_first(server: "Server", as_json: bool) -> None:
    """Say where the service is that runs already."""
    from flows.service.server import is_healthy, read_state
    from pipeline.errors import StoreError

    state = read_state(server.home)
    if state is None or not is_healthy(state["api"]):
        raise StoreError(
            f"another `puriflow up` of {server.home} is starting or stopping.", "Wait a minute and try again."
        )
    emit(
        {**state, "first": False},
        as_json,
        lambda c: say(c, f"puriflow is up already: {state['url']} (pid {state['pid']})"),
    )
