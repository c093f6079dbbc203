"""How runs become Docker containers: of which image, what they see of the host, what they are told and may spend."""

import re
from dataclasses import dataclass
from typing import Any

from flows.service.pools import KEPT, Pool, template
from pipeline.errors import ConfigError

SCRATCH = "/scratch"  # a volume of the images that lives as long as its container
SHARED_MEMORY = "8g"
TOLD = {
    **KEPT,
    "PREFECT_HOME": f"{SCRATCH}/prefect",  # else the worker's own, which no container has
    "PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR": "reschedule",  # else a stopped host kills without a word
}


@dataclass(frozen=True)
class Containers:
    """What an operator says of the containers of all pools; no form can change it."""

    image: str  # of the stages
    flow_image: str = ""  # of clean-dataset's runs, which need no torch; default: the same
    volumes: tuple[str, ...] = ()  # HOST:/PATH[:ro]; on Kubernetes the name of a claim stands for the host
    environment: tuple[tuple[str, str], ...] = ()
    network: str = ""
    user: str = "10001:10001"  # to whom what is written in the store will belong
    memory: str = ""  # of a stage
    gpus: str = "all"
    namespace: str = ""  # of a Kubernetes cluster; none: Docker

    def __post_init__(self) -> None:
        """Refuse what no engine would take."""
        if not re.fullmatch(r"[1-9]\d*:\d+", self.user):
            raise ConfigError(f"user '{self.user}' does not fit.", "Write UID:GID in numbers, and not root's.")
        if not re.fullmatch(r"all|none|[1-9]\d*", self.gpus):
            raise ConfigError(f"gpus '{self.gpus}' does not fit.", "Write all, none or how many.")
        for volume in self.volumes:
            if not re.fullmatch(r"[^:]+:/[^:]*(:r[ow])?", volume):
                raise ConfigError(f"volume '{volume}' does not fit.", "Write HOST:/PATH or HOST:/PATH:ro.")

    def image_of(self, pool: Pool) -> str:
        """Choose the image of a pool's runs."""
        return self.image if pool.stages else self.flow_image or self.image

    def gpus_of(self, pool: Pool) -> int:
        """Count the GPUs of a pool's runs, -1 for all."""
        return 0 if not pool.gpu or self.gpus == "none" else -1 if self.gpus == "all" else int(self.gpus)


def container_template(pool: Pool, containers: Containers) -> dict[str, Any]:
    """Run flows as containers without capabilities or new privileges, whose image cannot be written."""
    create: dict[str, Any] = {
        "cap_drop": ["ALL"], "security_opt": ["no-new-privileges"], "read_only": True, "tmpfs": {"/tmp": ""},
        "user": containers.user, "shm_size": SHARED_MEMORY,
    }  # fmt: skip
    if count := containers.gpus_of(pool):
        create["device_requests"] = [{"Driver": "nvidia", "Count": count, "Capabilities": [["gpu"]]}]
    limit = containers.memory if pool.stages else ""
    return template(
        {
            "image": containers.image_of(pool), "image_pull_policy": "IfNotPresent", "auto_remove": True,
            "networks": [], **({"network_mode": containers.network} if containers.network else {}),
            "volumes": list(containers.volumes), "privileged": False,
            "stream_output": True,  # without it Prefect's worker takes every end of a container for a good one
            **({"mem_limit": limit, "memswap_limit": limit} if limit else {}),
            "env": {**TOLD, **dict(containers.environment)}, "container_create_kwargs": create,
        }
    )  # fmt: skip
