"""The surroundings of every test: one thread, no network, no settings of the person who runs them."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

S3_SERVER = Path(__file__).parent / "pipeline" / "store" / "s3_server.py"

# Before torch, numpy or Prefect are first imported, here and in the child processes that tests start.
os.environ |= {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MPLBACKEND": "Agg",
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "NO_COLOR": "1",
}


def pytest_configure(config: pytest.Config) -> None:
    """Give the session a home of its own: no settings are read from the person's, nothing is left in it."""
    home = tempfile.TemporaryDirectory(prefix="puriflow-tests-", ignore_cleanup_errors=True)
    config.add_cleanup(home.cleanup)
    for name in [n for n in os.environ if n.startswith(("PREFECT_", "PURIFLOW_", "AWS_"))]:
        if name not in ("PREFECT_SERVER_ANALYTICS_ENABLED", "PURIFLOW_TRIALS", "PURIFLOW_KILLS"):
            del os.environ[name]
    os.environ |= {
        "HOME": home.name,
        "PREFECT_HOME": str(Path(home.name, ".prefect")),
        "XDG_CACHE_HOME": str(Path(home.name, ".cache")),
        "XDG_CONFIG_HOME": str(Path(home.name, ".config")),
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(Path(home.name, "aws")),
    }


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that hold slow tests: no worker is left alone with one at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


class Page:
    """A page in a headless Chromium, driven by its DevTools protocol; everything it complains about is kept."""

    def __init__(self, socket: Any) -> None:
        self._socket, self._number, self.complaints = socket, 0, list[str]()
        self._home = "file:"  # where it may fetch from, besides what stands in the page itself
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": params}))
        while (said := json.loads(self._socket.recv(timeout=300))).get("id") != self._number:
            self._hear(said)
        assert "error" not in said, said
        return dict(said["result"])

    def _hear(self, said: dict[str, Any]) -> None:
        if "method" not in said:
            return
        params = said.get("params", {})
        if said["method"] in ("Runtime.exceptionThrown", "Log.entryAdded"):
            self.complaints.append(json.dumps(params))
        if said["method"] == "Page.javascriptDialogOpening":  # a page with unsaved work asks before it goes
            answer = {"id": 0, "method": "Page.handleJavaScriptDialog", "params": {"accept": True}}
            self._socket.send(json.dumps(answer))
        url = params.get("request", {}).get("url", "")
        if said["method"] == "Network.requestWillBeSent" and not url.startswith((self._home, "data:", "blob:")):
            self.complaints.append(f"request: {url}")

    def open(self, place: Path | str, width: int = 1280, height: int = 900) -> None:
        """Open a file, or an address whose host it may ask then."""
        url = place if isinstance(place, str) else place.as_uri()
        self._home = "file:" if isinstance(place, Path) else "/".join(url.split("/", 3)[:3])
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        self.call("Page.navigate", url=url)
        self.wait(f"document.readyState === 'complete' && location.href.startsWith({json.dumps(self._home)})")

    def wait(self, script: str, seconds: float = 240) -> Any:
        """Wait until a script finds something."""
        deadline = time.monotonic() + seconds
        while not (found := self.run(script)):
            assert time.monotonic() < deadline, f"it never came: {script}"
            time.sleep(0.1)
        return found

    def run(self, script: str) -> Any:
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def press(self, *keys: str) -> None:
        for key in keys:
            text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
            self.call("Input.dispatchKeyEvent", type="keyDown", key=key, text=text)
            self.call("Input.dispatchKeyEvent", type="keyUp", key=key)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Page]:
    """Start a Chromium that reaches nothing; what pages save lands in `tmp_path / "saved"`."""
    from websockets.sync.client import connect

    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium here")
    profile, log = tmp_path / "profile", tmp_path / "chromium.log"
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [program, *options, "--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"],
            stdout=output, stderr=output,
        )  # fmt: skip
    try:
        port = profile / "DevToolsActivePort"
        for _ in range(600):
            if port.exists() and len(port.read_text().splitlines()) == 2:
                break
            time.sleep(0.1)
        number = port.read_text().splitlines()[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{number}/json") as answer:
            target = next(t for t in json.load(answer) if t["type"] == "page")
        with connect(target["webSocketDebuggerUrl"], max_size=None, ping_interval=None) as socket:
            page = Page(socket)
            page.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path / "saved"))
            yield page
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """Run an S3 service on this machine, with a bucket called `bucket`."""
    process = subprocess.Popen([sys.executable, S3_SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        address = f"http://127.0.0.1:{process.stdout.readline().strip()}"
        with urllib.request.urlopen(urllib.request.Request(f"{address}/bucket", method="PUT")):
            yield address
    finally:
        process.stdin.close()
        process.wait(20)
        process.stdout.close()
