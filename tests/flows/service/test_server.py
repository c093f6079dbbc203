"""A server that keeps to itself, and processes that are always there and leave nothing behind."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flows.service.processes import Service, marked
from flows.service.server import Server, default_home, is_free, is_healthy, only_one, read_state, write_state
from pipeline.errors import ConfigError, UnsafeError


def test_another_host_needs_a_password(tmp_path: Path) -> None:
    with pytest.raises(UnsafeError, match=r"host 0\.0\.0\.0 can be reached by others.*PREFECT_SERVER_API_AUTH_STRING"):
        Server(tmp_path, host="0.0.0.0").check()
    Server(tmp_path, host="0.0.0.0", auth="user:word").check()
    for host in ("127.0.0.1", "localhost", "::1"):
        Server(tmp_path, host=host).check()


def test_a_database_that_does_not_fit_is_refused_without_repeating_its_password(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="starts with 'postgresql' does not fit") as caught:
        Server(tmp_path, database="postgresql://me:secret@host/name").check()
    assert "secret" not in str(caught.value)
    Server(tmp_path, database="postgresql+asyncpg://me:secret@host/name").check()


def test_nothing_calls_outside_and_forms_are_protected(tmp_path: Path) -> None:
    told = Server(tmp_path).environment()
    assert told["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    assert told["PREFECT_SERVER_UI_V2_ENABLED"] == "false"
    assert told["PREFECT_SERVER_API_CSRF_PROTECTION_ENABLED"] == "true"
    assert told["PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS"] == "http://127.0.0.1:4200"
    assert "PREFECT_API_AUTH_STRING" not in told


def test_server_and_workers_share_the_password(tmp_path: Path) -> None:
    told = Server(tmp_path, auth="user:word").environment()
    assert told["PREFECT_SERVER_API_AUTH_STRING"] == told["PREFECT_API_AUTH_STRING"] == "user:word"


@pytest.mark.parametrize(
    ("host", "url"),
    [("127.0.0.1", "http://127.0.0.1:4200"), ("0.0.0.0", "http://127.0.0.1:4200"), ("::1", "http://[::1]:4200")],
)
def test_the_address_can_be_opened(tmp_path: Path, host: str, url: str) -> None:
    assert Server(tmp_path, host=host).url == url


def test_behind_a_proxy_pages_links_and_origins_are_those_of_the_proxy(tmp_path: Path) -> None:
    told = Server(tmp_path, public="https://puriflow.example.org").environment()
    assert told["PREFECT_UI_URL"] == told["PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS"] == "https://puriflow.example.org"
    assert told["PREFECT_UI_API_URL"] == "https://puriflow.example.org/api"
    assert told["PREFECT_API_URL"] == "http://127.0.0.1:4200/api"  # workers beside it need no proxy
    for unfit in ("puriflow.example.org", "https://me:secret@x.org", "https://x.org/prefect"):
        with pytest.raises(ConfigError, match="without a path and a password"):
            Server(tmp_path, public=unfit).check()


def test_what_is_written_down_holds_no_secret(tmp_path: Path) -> None:
    server = Server(tmp_path, auth="user:word", database="sqlite+aiosqlite:///x")
    write_state(server, {"store": "/store"})
    state = read_state(tmp_path)
    assert state is not None
    assert (state["url"], state["store"]) == (server.url, "/store")
    assert "word" not in (tmp_path / "up.json").read_text()


def test_a_home_is_held_by_one(tmp_path: Path) -> None:
    with only_one(tmp_path / "home") as first, only_one(tmp_path / "home") as second:
        assert (first, second) == (True, False)
    assert default_home({"PURIFLOW_HOME": "/x"}) == Path("/x")


def test_a_port_without_a_server_is_not_healthy() -> None:
    assert not is_healthy("http://127.0.0.1:9/api", 0.5)
    assert is_free("127.0.0.1", 0)


def test_a_process_that_died_starts_again_after_a_pause(tmp_path: Path) -> None:
    service = Service(f"test-{os.getpid()}-{time.time_ns()}")
    process = service.add("short", [sys.executable, "-c", "print('here')"], {}, tmp_path / "short.log")
    assert process.running is not None
    process.running.wait()
    assert process.revive()
    assert process.running is None
    assert process.pause > 0
    assert not process.revive()  # not before its time
    process.due = 0
    process.revive()
    assert process.running is not None
    service.stop()
    assert process.tail().startswith("here")


def test_stopping_ends_what_the_processes_began(tmp_path: Path) -> None:
    code = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'],"
    code += " start_new_session=True); time.sleep(600)"
    service = Service(f"test-{os.getpid()}-{time.time_ns()}")
    service.add("parent", [sys.executable, "-c", code], {}, tmp_path / "parent.log")
    deadline = time.monotonic() + 60
    while len(list(marked(service.mark))) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert len(service.alive()) == 2
    service.stop()
    assert list(marked(service.mark)) == []


def test_another_programs_processes_are_left_alone(tmp_path: Path) -> None:
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Service("test-nobody").stop()
    assert other.poll() is None
    other.kill()
    other.wait()
