"""What the service survives, done for real (test_trials.py has the rest); PostgreSQL keeps its data where it can."""

import asyncio
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(2400),
    pytest.mark.skipif("PURIFLOW_TRIALS" not in os.environ, reason="takes minutes: PURIFLOW_TRIALS=all"),
]

NONE = "no PostgreSQL here (on Debian: apt-get install postgresql)"


@contextmanager
def postgresql() -> Iterator[str]:
    """Run a PostgreSQL of our own on loopback (as the user postgres where we are root); skip where there is none."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    found = shutil.which("initdb") or (str(programs[-1]) if programs else "")
    if not found:
        pytest.skip(NONE)
    folder, password = Path(tempfile.mkdtemp(prefix="puriflow-postgres-")), secrets.token_hex(8)
    as_postgres = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    (folder / "password").write_text(password)
    if as_postgres:
        for path in (folder, folder / "password"):
            os.chown(path, pwd.getpwnam("postgres").pw_uid, -1)

    def run(program: str, *arguments: str) -> None:
        command = [*as_postgres, str(Path(found).with_name(program)), "-D", str(folder / "data"), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
        assert done.returncode == 0, done.stdout + done.stderr

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    run("initdb", "-U", "puriflow", "-A", "scram-sha-256", "--pwfile", str(folder / "password"), "--no-sync")
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
    run("pg_ctl", "-w", "-o", options, "-l", str(folder / "log"), "start")
    try:
        yield f"postgresql+asyncpg://puriflow:{password}@127.0.0.1:{port}/postgres"
    finally:
        run("pg_ctl", "-w", "-m", "fast", "stop")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    with ExitStack() as stack:
        try:
            url = stack.enter_context(postgresql())
        except pytest.skip.Exception:
            url = ""
        yield url


@pytest.fixture(scope="module")
def trial(on_trial: Callable[..., Any], database: str) -> Iterator[Any]:
    with on_trial(**({"PURIFLOW_DATABASE": database} if database else {})) as trial:
        yield trial


def test_a_killed_stage_run_goes_on_in_another_and_a_killed_worker_costs_nothing(trial: Any) -> None:
    up = trial.up
    run = trial.start(1)
    trial.training()
    os.kill(trial.flow_process(), signal.SIGKILL)
    up.eventually(lambda: len(trial.states()) > 1 and up.processes("stages.represent"))
    trial.training()
    (worker,) = up.processes("worker start", "puriflow-gpu")
    os.kill(worker, signal.SIGKILL)
    assert up.end_of(run)["type"] == "COMPLETED"
    assert trial.states() == ["Crashed", "Completed"]


def test_two_runs_share_their_stages_and_cancelling_one_spares_the_other(trial: Any) -> None:
    up, before = trial.up, len(trial.states())
    first, second = trial.start(2), trial.start(2)
    trial.training()
    owner, other = (first, second) if children(up, first) else (second, first)
    up.eventually(lambda: "represent: waiting for its run" in logs(up, other))
    assert trial.states(before) == ["Running"]
    up.cancel(owner)
    assert up.end_of(owner)["type"] == "CANCELLED"
    assert up.end_of(other)["type"] == "COMPLETED"
    assert trial.states(before) == ["Cancelled", "Completed"]


def children(up: Any, run: str) -> list[str]:
    """List the stages whose runs belong to a run, as long as they work."""
    wanted = {"flow_runs": {"parent_flow_run_id": {"any_": [run]}, "state": {"type": {"any_": ["RUNNING"]}}}}
    return [found["name"] for found in up.ask("flow_runs/filter", wanted)]


def logs(up: Any, run: str) -> list[str]:
    """Read the log of a run."""
    return [line["message"] for line in up.ask("logs/filter", {"logs": {"flow_run_id": {"any_": [run]}}})]


def test_the_server_keeps_its_data_in_postgresql_where_it_is_told_to(trial: Any, database: str) -> None:
    if not database:
        pytest.skip(NONE)
    import asyncpg

    async def count() -> int:
        connection = await asyncpg.connect(database.replace("+asyncpg", ""))
        try:
            return int(await connection.fetchval("select count(*) from flow_run"))
        finally:
            await connection.close()

    assert asyncio.run(count()) == len(trial.up.runs()) > 0
    assert not list(Path(trial.up.told["home"]).rglob("prefect.db"))
    password = database.split(":")[2].partition("@")[0]
    assert not [line for line in command_lines() if password in line]


def command_lines() -> Iterator[str]:
    """Read all command lines of this machine."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            yield path.read_bytes().decode(errors="replace")
