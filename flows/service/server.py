"""A Prefect server of our own: how it is told to keep to itself, and how it is found again."""

import fcntl
import ipaddress
import json
import os
import re
import socket
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from pipeline.errors import ConfigError, UnsafeError
from pipeline.keys import read_json_file

HOME_ENV = "PURIFLOW_HOME"
AUTH_ENV = "PREFECT_SERVER_API_AUTH_STRING"
DATABASE_ENV = "PREFECT_SERVER_DATABASE_CONNECTION_URL"
STATE_FILE = "up.json"
LOCK_FILE = "up.lock"
PUBLIC = re.compile(r"https?://[^/@\s]+")
DRIVERS = ("postgresql+asyncpg", "sqlite+aiosqlite")

QUIET = {  # no calls outside, nothing to sell; the other UI calls an analytics host whatever it is told
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_SERVER_UI_V2_ENABLED": "false",
    "PREFECT_SERVER_API_CSRF_PROTECTION_ENABLED": "true",
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
    # slots survive a restart of the server
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
    "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
    "PREFECT_SERVER_DATABASE_TIMEOUT": "60",  # SQLite on a busy machine
    "PREFECT_SERVER_SERVICES_CANCELLATION_CLEANUP_CANCELLING_TIMEOUT_SECONDS": "120",  # more than a checkpoint takes
    "PREFECT_WORKER_QUERY_SECONDS": "3",
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
    "PREFECT_LOGGING_LEVEL": "INFO",
}


@dataclass(frozen=True)
class Server:
    """Where a server listens, what it keeps where, and who may ask it."""

    home: Path
    host: str = "127.0.0.1"
    port: int = 4200
    database: str = ""
    auth: str = ""
    public: str = ""  # where browsers find it, if a proxy stands before it

    @property
    def url(self) -> str:
        """Return the address to open in a browser."""
        local = "127.0.0.1" if self.host == "0.0.0.0" else "[::1]" if self.host == "::" else self.host
        return f"http://{f'[{local}]' if ':' in local and not local.startswith('[') else local}:{self.port}"

    @property
    def api(self) -> str:
        """Return the address for programs."""
        return f"{self.url}/api"

    def check(self) -> None:
        """Refuse a server that others could use without a password, and a database that it cannot use."""
        if not is_loopback(self.host) and not self.auth:
            raise UnsafeError(
                f"host {self.host} can be reached by others, who could run anything here.",
                f"Set {AUTH_ENV}=user:password in the environment (never on a command line), or leave --host out.",
            )
        if self.public and not PUBLIC.fullmatch(self.public):
            raise ConfigError("--url does not fit.", "Write https://name, without a path and a password.")
        scheme = urlsplit(self.database).scheme
        if self.database and scheme not in DRIVERS:
            raise ConfigError(
                f"a database URL that starts with '{scheme}' does not fit.",
                "Write postgresql+asyncpg://user:password@host/name, or leave it out for SQLite.",
            )

    def environment(self) -> dict[str, str]:
        """Tell the server, its workers and us how to find and trust each other."""
        told = {
            **QUIET,
            "PREFECT_HOME": str(self.home / "prefect"),
            "PREFECT_API_URL": self.api,
            "PREFECT_UI_URL": self.public or self.url,
            "PREFECT_UI_API_URL": f"{self.public}/api" if self.public else "/api",  # of whatever host a page is from
            "PREFECT_SERVER_API_HOST": self.host,
            "PREFECT_SERVER_API_PORT": str(self.port),
            "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS": self.public or self.url,
        }
        if self.database:
            told[DATABASE_ENV] = self.database
        if self.auth:
            told |= {AUTH_ENV: self.auth, "PREFECT_API_AUTH_STRING": self.auth}
        return told


def is_loopback(host: str) -> bool:
    """Tell whether only this machine reaches a host."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def default_home(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of the server's database and logs."""
    return Path(environment.get(HOME_ENV) or Path.home() / ".puriflow")


def is_healthy(api: str, seconds: float = 3.0) -> bool:
    """Ask a server whether it works; `/health` needs no password."""
    with suppress(OSError, ValueError), urllib.request.urlopen(f"{api}/health", timeout=seconds) as answer:
        return bool(answer.status == 200)
    return False


def is_free(host: str, port: int) -> bool:
    """Tell whether nobody listens at a port yet."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


@contextmanager
def only_one(home: Path) -> Iterator[bool]:
    """Hold a home for as long as this process lives; False where another process holds it."""
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (home / LOCK_FILE).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True


def write_state(server: Server, told: Mapping[str, str]) -> None:
    """Write down for other commands where the server is; no secret is in it."""
    record = {"url": server.url, "api": server.api, "pid": os.getpid(), **told}
    path = server.home / STATE_FILE
    path.with_suffix(".new").write_text(json.dumps(record, indent=1), encoding="utf-8")
    path.with_suffix(".new").replace(path)


def read_state(home: Path) -> dict[str, str] | None:
    """Find the server that `puriflow up` started."""
    return read_json_file(home / STATE_FILE)
