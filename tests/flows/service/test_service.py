"""The service as a team uses it: one server, its workers, a run from the form's parameters, the same again, the end."""

import json
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import pytest

from pipeline.labels import read_labels
from pipeline.store import open_store
from pipeline.store.published import versions
from pipeline.store.runs import newest_run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]


class Letterbox(ThreadingHTTPServer):
    """Keep what is posted to a webhook."""

    def __init__(self) -> None:
        self.letters = list[dict[str, str]]()
        super().__init__(("127.0.0.1", 0), Slot)
        self.url = f"http://127.0.0.1:{self.server_port}/hook"

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class Slot(BaseHTTPRequestHandler):
    """Take one letter."""

    server: Letterbox

    def do_POST(self) -> None:
        self.server.letters.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def letterbox() -> Iterator[Letterbox]:
    with Letterbox() as box:
        yield box


@pytest.fixture(scope="module")
def up(
    serve: Callable[..., Any], features: Path, letterbox: Letterbox, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    with serve(tmp_path_factory.mktemp("service"), features.parent, {"PURIFLOW_WEBHOOK": letterbox.url}) as service:
        (retrain,) = [
            a for a in service.ask("automations/filter", {}) if a["name"] == "puriflow: retrain on new labels"
        ]
        assert retrain["enabled"] is False
        service.ask(f"automations/{retrain['id']}", {"enabled": True}, "PATCH")  # as its switch does
        yield service


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    dataset = {"name": "points", "kind": "features", "table": ["rows.parquet"], "features": ["features.npy"]}
    return {"dataset": dataset, "retrain": {"enabled": False}}


FORM = """window.property = (...titles) => titles.reduce((box, title) =>
    [...box.querySelectorAll('.schema-form-property')].find(property =>
        property.querySelector('.schema-form-property__label').textContent.split(' (')[0] === title), document)"""


class Form:
    """The page on which a person starts a run."""

    def __init__(self, browser: Any, up: Any, deployment: str) -> None:
        self.browser = browser
        number = up.ask(f"deployments/name/{deployment}")["id"]
        browser.open(f"{up.told['url']}/deployments/deployment/{number}/run")
        browser.wait("document.querySelectorAll('.schema-form-property').length > 9")
        browser.run(FORM)

    def write(self, text: str, *titles: str, item: bool = False) -> None:
        """Write into a field, or into a new item of a list."""
        field = f"property({', '.join(map(json.dumps, titles))})"
        if item:
            self.browser.run(f"{field}.querySelector('.p-draggable-list__create-button').click()")
        self.browser.wait(f"{field}.querySelectorAll('textarea').length > 0")
        self.browser.run(f"[...{field}.querySelectorAll('textarea')].at(-1).focus()")
        self.browser.call("Input.insertText", text=text)

    def submit(self) -> str:
        """Start the run and go to its page; return its id."""
        submit, view = with_text("Submit"), with_text("View run")
        for _ in range(10):  # on a busy machine the page may not hear the server, and a person presses again
            self.browser.run(f"{submit}.forEach(button => button.click())")
            with suppress(AssertionError):
                self.browser.wait(f"{view}.length > 0", 20)
                break
        click(self.browser, "View run")
        self.browser.wait("location.pathname.startsWith('/runs/flow-run/')")
        self.browser.wait(f"{submit}.length === 0")  # the form, which has a "Cancel" too, is gone
        return str(self.browser.run("location.pathname.split('/').at(-1)"))


def with_text(text: str) -> str:
    """Write the script that finds what can be clicked and has this text."""
    return (
        "[...document.querySelectorAll('button, a, li')]"
        f".filter(thing => thing.textContent.trim() === {json.dumps(text)} && !thing.disabled)"
    )


def click(browser: Any, text: str) -> None:
    """Click what has this text, as soon as it is there."""
    browser.wait(f"(found => found && (found.click(), true))({with_text(text)}[0])")  # the page may change in between


def fill(browser: Any, up: Any, name: str) -> Form:
    """Fill in what a dataset of features needs, and no more."""
    form = Form(browser, up, "clean-dataset/quick")
    form.write(name, "Dataset", "Name")
    kind = "property('Dataset', 'Kind').querySelector('select')"
    browser.run(f"{kind}.value = 'features'; {kind}.dispatchEvent(new Event('change', {{bubbles: true}}))")
    form.write("rows.parquet", "Dataset", "Table", item=True)
    form.write("features.npy", "Dataset", "Features", item=True)
    browser.run("property('Retrain', 'Train a model').querySelector('[role=switch]').click()")
    return form


@pytest.mark.browser
def test_a_person_starts_a_run_watches_it_reads_its_summary_and_cancels_another(browser: Any, up: Any) -> None:
    first = fill(browser, up, "points").submit()
    browser.wait("document.body.innerText.includes('Running')")
    page = browser.run("location.href")
    browser.call("Page.navigate", url="about:blank")  # drawing the run's timeline would take a core from the run
    assert up.end_of(first)["name"] == "Completed"
    browser.open(page)
    browser.wait("document.body.innerText.includes('Completed')")
    click(browser, "Artifacts")
    summary = "[...document.querySelectorAll('a')].find(link => link.textContent.includes('points-summary'))"
    browser.wait(f"!!{summary}")
    browser.run(f"{summary}.click()")
    browser.wait("document.body.innerText.includes('Where it lies')")
    assert "version 1" in browser.run("document.body.innerText")

    second = fill(browser, up, "others").submit()
    up.eventually(lambda: up.state(second)["type"] == "RUNNING")  # earlier, Prefect would not tell its process
    click(browser, "Cancel")
    click(browser, "Confirm")
    browser.wait("document.body.innerText.includes('Cancelled')")
    assert up.end_of(second)["type"] == "CANCELLED"
    assert [said for said in browser.complaints if said.startswith("request: ")] == []  # nothing outside was asked


def test_a_run_from_the_form_publishes_labels_and_the_same_again_is_cached(up: Any, document: dict[str, Any]) -> None:
    first = up.end_of(up.start("clean-dataset/quick", document))
    assert first["type"] == "COMPLETED", first
    table = read_labels(Path(up.told["store"], "published", "points", "labels.parquet"))
    assert table.num_rows == 60
    stages = ("ingest", "embed", "purify", "report")
    children = [up.runs(name=f"points · {stage} ·") for stage in stages]
    assert [[run["state"]["name"] for run in made] for made in children] == [["Completed"]] * 4
    kinds = {(a["key"], a["type"]) for a in up.ask("artifacts/filter", {})}
    assert {("points-summary", "markdown"), ("points-purify-progress", "markdown")} <= kinds
    assert "image" in {kind for _, kind in kinds}

    again = up.end_of(up.start("clean-dataset/quick", document))
    assert (again["type"], again["name"]) == ("COMPLETED", "Cached"), again
    assert [len(up.runs(name=f"points · {stage} ·")) for stage in stages] == [1] * 4
    store = open_store(up.told["store"])
    assert len(versions(store, "points")) == 1  # nothing new for readers
    last = newest_run(store, "points", "completed")
    assert last is not None
    alone = up.end_of(up.start("purify/purify", {"run": last.id}))
    assert (alone["type"], alone["name"]) == ("COMPLETED", "Cached"), alone


def test_a_schedule_starts_runs_by_itself(up: Any, document: dict[str, Any]) -> None:
    nightly, quick = [up.ask(f"deployments/name/clean-dataset/{name}") for name in ("nightly", "quick")]
    soon = (datetime.now(UTC) + timedelta(seconds=15)).isoformat()
    often = {"schedule": {"interval": 60, "anchor_date": soon}, "active": True}
    often["parameters"] = {**quick["parameters"], **document}  # as the runs before, so that all is there
    (made,) = up.ask(f"deployments/{nightly['id']}/schedules", [often])
    started = up.eventually(lambda: [run for run in up.runs() if run["auto_scheduled"] and run["start_time"]])
    up.ask(f"deployments/{nightly['id']}/schedules/{made['id']}", method="DELETE")
    ended = up.end_of(started[0]["id"])
    assert (ended["type"], ended["name"]) == ("COMPLETED", "Cached"), ended


def test_published_labels_train_a_model_where_that_is_switched_on(up: Any) -> None:
    def trained() -> list[dict[str, Any]]:
        return [run for run in up.runs(name="· retrain ·") if run["state"]["type"] == "COMPLETED"]

    up.eventually(trained, 900)
    assert len(trained()) == 1  # for the one version that was published
    assert len(list(Path(up.told["store"], "models").iterdir())) == 1


def test_what_the_form_cannot_see_is_refused_before_any_stage_and_told_once(
    up: Any, document: dict[str, Any], letterbox: Letterbox
) -> None:
    outside = {**document, "dataset": {**document["dataset"], "table": ["/etc/passwd"]}}
    run = up.start("clean-dataset/quick", outside)
    ended = up.end_of(run)
    assert ended["type"] == "FAILED"
    assert "is outside the folders that this service may read" in ended["message"]
    assert "Name a file below them" in ended["message"]
    up.eventually(lambda: letterbox.letters, 300)
    (letter,) = letterbox.letters
    assert "is outside the folders that this service may read" in letter["text"]
    assert letter["text"].endswith(f"{up.told['url']}/runs/flow-run/{run}")


def test_a_second_up_finds_the_first(up: Any) -> None:
    second = subprocess.run(up.command, capture_output=True, text=True, check=False, timeout=120)
    assert second.returncode == 0, second.stderr
    told = json.loads(second.stdout)
    assert (told["url"], told["first"]) == (up.told["url"], False)


def test_ctrl_c_stops_all_that_was_started(up: Any) -> None:
    up.process.send_signal(signal.SIGINT)
    assert up.process.wait(120) == 0
    assert up.processes() == []
