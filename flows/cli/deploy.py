"""`puriflow deploy`: pools, deployments and automations on a server that is there."""

from typing import Annotated

import typer

from flows.cli.options import AsJson
from flows.cli.output import emit, say

EXAMPLE = "puriflow deploy --api http://server:4200/api"


def command(
    api: Annotated[
        str,
        typer.Option(
            "--api", metavar="URL", envvar="PREFECT_API_URL", help="The server; default: that of `puriflow up`"
        ),
    ] = "",
    image: Annotated[
        str, typer.Option("--image", metavar="NAME:TAG", help="Run stages as containers of this image")
    ] = "",
    flow_image: Annotated[
        str, typer.Option("--flow-image", metavar="NAME:TAG", help="The image of clean-dataset; default: the same")
    ] = "",
    namespace: Annotated[
        str, typer.Option("--kubernetes", metavar="NAMESPACE", help="Make the containers jobs of a cluster")
    ] = "",
    volumes: Annotated[
        list[str] | None,
        typer.Option("--volume", metavar="HOST:/PATH[:ro]", help="A folder of the host, or a claim of the cluster"),
    ] = None,
    environment: Annotated[
        list[str] | None,
        typer.Option("--env", metavar="NAME=VALUE", help="What containers are told, such as PURIFLOW_STORE=/store"),
    ] = None,
    network: Annotated[str, typer.Option("--network", help="Docker network mode, such as host")] = "",
    user: Annotated[
        str, typer.Option("--user", metavar="UID:GID", help="To whom the files in the store will belong")
    ] = "10001:10001",
    memory: Annotated[str, typer.Option("--memory", metavar="SIZE", help="Of a stage: 16g; on Kubernetes 16Gi")] = "",
    gpus: Annotated[
        str, typer.Option("--gpus", metavar="N", help="For represent, embed, retrain: all, none, 1 …")
    ] = "all",
    as_json: AsJson = False,
) -> None:
    """Bring a server's pools, deployments and automations up to date.

    Schedules that are there already stay as they are.
    """
    from flows.service.connection import API_ENV, connected
    from flows.service.containers import Containers
    from flows.service.pools import pairs
    from flows.service.server import default_home, read_state

    api = api or (read_state(default_home()) or {}).get("api", "http://127.0.0.1:4200/api")
    told = pairs(environment or ())
    containers = (
        Containers(image, flow_image, tuple(volumes or ()), told, network, user, memory, gpus, namespace)
        if image
        else None
    )
    with connected({API_ENV: api}) as client:
        from flows.service.automations import bring_automations
        from flows.service.deploy import deploy_all

        names = deploy_all(client, containers)
        automations = bring_automations(client)
    record = {"api": api, "deployments": names, "automations": automations}
    emit(record, as_json, lambda console: say(console, "\n".join([api, *names, *automations])))
