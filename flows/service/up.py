"""Everything a service needs on one machine, started, kept alive and stopped together."""

import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from flows.service.pools import POOLS
from flows.service.processes import Process, Service
from flows.service.server import Server, is_free, is_healthy, write_state
from flows.service.surroundings import ROOT_ENV, ROOTS_ENV, STORE_ENV
from pipeline.errors import ConfigError, StoreError

HEALTHY_SECONDS = 300.0
LOOK_SECONDS = 1.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class Place:
    """What the workers of a service may use."""

    store: str
    roots: tuple[Path, ...]

    def environment(self) -> dict[str, str]:
        """Tell the workers."""
        roots = [str(root.absolute()) for root in self.roots]
        return {STORE_ENV: self.store, ROOT_ENV: roots[0], ROOTS_ENV: os.pathsep.join(roots)}


class _StopError(Exception):
    """Somebody asked for the end."""


def run_service(server: Server, place: Place, say: Say, ready: Callable[[list[str]], None]) -> None:
    """Start server and workers, bring the deployments up to date, and keep all of it alive until asked to stop."""
    server.check()
    if not is_free(server.host, server.port):
        raise ConfigError(
            f"port {server.port} of {server.host} is taken by another program.",
            "Name another one with --port; to use a Prefect server that is there: `puriflow deploy`.",
        )
    mark = f"{os.getpid()}-{time.time_ns()}"
    base, workers = Service(f"{mark}-server"), Service(mark)
    with stoppable():
        try:
            say("starting the server")
            wait_until_healthy(start_server(base, server), server)
            say("bringing pools and deployments up to date")
            names = deploy_here(server, say)
            start_workers(workers, server, place)
            write_state(server, {"store": place.store, "data": os.pathsep.join(map(str, place.roots))})
            ready(names)
            watch([*base.processes, *workers.processes], say)
        except _StopError:
            say("stopping; what runs writes a checkpoint first")
        finally:
            for service in (workers, base):  # so that the server hears how the runs ended
                service.stop()


@contextmanager
def stoppable() -> Iterator[None]:
    """Turn the first Ctrl-C or SIGTERM into an orderly end; further ones change nothing, it ends within a minute."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        raise _StopError

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def start_server(service: Service, server: Server) -> Process:
    """Start the Prefect server; all it is told stands in its environment, where no list of processes shows it."""
    command = [sys.executable, "-P", "-m", "prefect", "server", "start"]
    return service.add("server", command, server.environment(), server.home / "logs" / "server.log")


def wait_until_healthy(process: Process, server: Server) -> None:
    """Wait for the server to answer."""
    deadline = time.monotonic() + HEALTHY_SECONDS
    while not is_healthy(server.api):
        ended = process.running is not None and process.running.poll() is not None
        if ended or time.monotonic() > deadline:
            what = "ended at once" if ended else f"did not answer within {HEALTHY_SECONDS:.0f} s"
            raise StoreError(f"the server {what}; the end of {process.log}:\n{process.tail()}\n", "Mend this first.")
        time.sleep(LOOK_SECONDS / 4)


def deploy_here(server: Server, say: Say) -> list[str]:
    """Bring the deployments of our own server up to date."""
    from flows.service.connection import connected

    with connected(server.environment()) as client:
        from flows.service.automations import bring_automations
        from flows.service.deploy import deploy_all
        from flows.service.settle import settle

        names = deploy_all(client)
        bring_automations(client)
        for run in settle(client, [worker_name(pool.name) for pool in POOLS]):
            say(f"{run} was left running when the service ended: it counts as crashed, run it again to go on")
    return names


def start_workers(service: Service, server: Server, place: Place) -> None:
    """Start one worker a pool."""
    for pool in POOLS:
        command = [
            sys.executable, "-P", "-m", "prefect", "worker", "start", "--pool", pool.name,
            "--name", worker_name(pool.name),
            "--type", "process",
        ]  # fmt: skip
        told: Mapping[str, str] = {**server.environment(), **place.environment()}
        service.add(pool.name, command, told, server.home / "logs" / f"{pool.name}.log")


def worker_name(pool: str) -> str:
    """Name the worker of a pool on this machine."""
    return f"{socket.gethostname()}-{pool}"


def watch(processes: list[Process], say: Say) -> None:
    """Start again what dies, for ever."""
    while True:
        for process in processes:
            if process.revive():
                say(f"{process.name} ended; it starts again ({process.log})")
        time.sleep(LOOK_SECONDS)
