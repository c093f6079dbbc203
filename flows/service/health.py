"""What must be right about the service, as far as this machine can see it: server, versions, pools, images."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from importlib import metadata
from typing import TYPE_CHECKING

from flows.doctor import Check
from flows.service.connection import API_ENV, connected
from flows.service.server import default_home, is_healthy, read_state
from pipeline.errors import PuriflowError

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import WorkPool

UP = "Start it: `puriflow up`."
DEPLOY = "Run `puriflow deploy`."


def known_api() -> str:
    """Find the server that this machine is set up for; '' where there is none."""
    return os.environ.get(API_ENV, "") or (read_state(default_home()) or {}).get("api", "")


def examine_service(api: str) -> Iterator[Check]:
    """Go through the service; a part that cannot be reached ends it with what to do."""
    if not is_healthy(api):
        yield Check("server", "fail", f"nothing answers at {api}", UP)
        return
    try:
        with connected({API_ENV: api}) as client:
            yield check_version(client, api)
            yield check_deployments(client)
            for pool in client.read_work_pools():
                if pool.name.startswith("puriflow-"):
                    yield check_workers(client, pool)
                    yield from check_image(pool)
    except PuriflowError as error:
        yield Check("server", "fail", error.message, error.remedy)


def check_version(client: "SyncPrefectClient", api: str) -> Check:
    """Compare the server's Prefect with ours."""
    theirs, ours = client.api_version(), metadata.version("prefect")
    if theirs.split(".")[:2] == ours.split(".")[:2]:
        return Check("server", "ok", f"Prefect {theirs} at {api}")
    remedy = f"Make both the same: pip install 'prefect=={theirs}' here, or update the server."
    return Check("server", "warn", f"Prefect {theirs} at {api}, but {ours} here", remedy)


def check_deployments(client: "SyncPrefectClient") -> Check:
    """See whether every deployment is there and of this version."""
    from flows.service.deploy import entries

    wanted = {str(entry["name"]) for entry in entries()}
    there = {d.name: d.version for d in client.read_deployments() if d.name in wanted}
    ours = metadata.version("puriflow")
    if missing := sorted(wanted - set(there)):
        return Check("deployments", "fail", f"{len(missing)} are missing: {', '.join(missing)}", DEPLOY)
    if old := sorted(name for name, version in there.items() if version != ours):
        return Check("deployments", "warn", f"{', '.join(old)} are of another version than {ours}", DEPLOY)
    return Check("deployments", "ok", f"{len(there)} of version {ours}")


def check_workers(client: "SyncPrefectClient", pool: "WorkPool") -> Check:
    """See whether somebody works on a pool."""
    online = [w.name for w in client.read_workers_for_work_pool(pool.name) if str(w.status).endswith("ONLINE")]
    if pool.is_paused:
        return Check(pool.name, "warn", "paused: its runs wait", f"prefect work-pool resume {pool.name}")
    if not online:
        remedy = f"Start one: `prefect worker start --pool {pool.name}` with PURIFLOW_STORE set, or `puriflow up`."
        return Check(pool.name, "fail", "no worker: its runs wait for ever", remedy)
    return Check(pool.name, "ok", ", ".join(online))


def check_image(pool: "WorkPool") -> Iterator[Check]:
    """See whether a pool's image is on this machine."""
    image = pool.base_job_template.get("job_configuration", {}).get("image")
    if pool.type != "docker" or not image:
        return
    name = f"image of {pool.name.removeprefix('puriflow-')}"
    if not shutil.which("docker"):
        yield Check(name, "warn", f"{image}; there is no docker here to ask", "Run the doctor on the worker's machine.")
        return
    done = subprocess.run(["docker", "image", "inspect", str(image)], capture_output=True, text=True, check=False)
    if done.returncode:
        why = (done.stderr.strip().splitlines() or ["docker does not answer"])[-1]
        yield Check(name, "fail", f"{image}: {why}", f"docker build or docker pull {image}")
    else:
        yield Check(name, "ok", str(image))
