"""The whole loop: a run, rows to look at, a reviewer's file, and a run that redoes only what follows from it."""

import importlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from flows.catalogue import STAGES
from flows.child import Children
from flows.cli import main
from pipeline.datasets.decisions import read_decisions
from pipeline.labels import read_labels
from pipeline.requests import StageRequest
from pipeline.store import FileStore
from stages.shell.run import attempt
from stages.shell.stop import StopFlag

WriteTiny = Callable[..., Path]
Said = dict[str, Any]
TRUTH = ["across", "down"]


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run stages without a process of their own: what is tested here is what they hand to each other."""

    def run(_children: Children, request: StageRequest, _on_progress: Any) -> None:
        stage = importlib.import_module(f"stages.{request.stage}.produce")
        attempt(request, STAGES[request.stage].config_type, stage.produce, StopFlag())

    monkeypatch.setattr(Children, "run", run)


def puriflow(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> Said:
    assert main([*map(str, arguments), "--json"]) == 0
    return dict(json.loads(capsys.readouterr().out))


def table(result: Said) -> dict[str, Said]:
    return {row["sample_id"]: row for row in read_labels(Path(result["label_table"])).to_pylist()}


def fresh(result: Said) -> set[str]:
    return {kind for kind, made in result["artifacts"].items() if not made["cached"]}


@pytest.mark.slow
def test_decisions_win_and_redo_only_purify_and_what_follows(
    write_tiny: WriteTiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = write_tiny(tmp_path)
    first = puriflow(capsys, "clean", document, "--workers", "1")
    offered = puriflow(capsys, "review", "next", document, "--n", "12", "--out", tmp_path / "r.html")
    assert (offered["rows"], offered["drawn"]) == (12, 3)
    store = FileStore(tmp_path / "puriflow-store")
    rows = pq.read_table(store.root / "reviews" / offered["review"] / "rows.parquet").to_pylist()
    before = table(first)
    assert not any(before[row["sample_id"]]["trusted"] for row in rows)
    wrong = {r["sample_id"]: TRUTH[1 - int(r["sample_id"][4:]) % 2] for r in rows}
    answers = [{"sample_id": r["sample_id"], "label": wrong[r["sample_id"]],
                "drawn": "random" if r["drawn"] else "selected"} for r in rows]  # fmt: skip
    content = {"format": "puriflow-review", "version": 1, "dataset": "tiny", "who": "Ann", "review": offered["review"]}
    (tmp_path / "r.json").write_text(json.dumps({**content, "decisions": answers}))
    assert puriflow(capsys, "review", "import", document, tmp_path / "r.json")["decided"] == 12
    again = puriflow(capsys, "clean", document, "--workers", "1")
    assert fresh(again) == {"datasets", "labels", "models", "reports"}
    after = table(again)
    assert {name: after[name]["purified_name"] for name in wrong} == wrong
    assert all(after[name]["action"] == "trusted" for name in wrong)
    origins = {row["sample_id"]: after[row["sample_id"]]["trusted_origin"] for row in rows}
    assert origins == {row["sample_id"]: "random" if row["drawn"] else "selected" for row in rows}
    offered = puriflow(capsys, "review", "next", document, "--n", "12", "--out", tmp_path / "r2.html")
    shown = pq.read_table(store.root / "reviews" / offered["review"] / "rows.parquet")["sample_id"].to_pylist()
    assert not set(shown) & set(wrong)
    assert puriflow(capsys, "review", "export", document, tmp_path / "d.csv")["rows"] == 12
    assert "Ann" in (tmp_path / "d.csv").read_text()


@pytest.mark.browser
def test_a_person_reviews_in_a_browser_and_the_next_run_knows(
    browser: Any, write_tiny: WriteTiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = write_tiny(tmp_path / "data", trusted=0)
    none = ("--set", "purify.method=confident_learning")
    first = puriflow(capsys, "clean", document, "--workers", "1", "--set", "retrain.enabled=false", *none)
    assert first["gate"]["open"] is False
    page = tmp_path / "page.html"
    puriflow(capsys, "review", "start", document, "--n", "8", "--out", page)
    browser.open(page, 390, 800)
    assert browser.run("document.documentElement.scrollWidth <= innerWidth")
    data = json.loads(browser.run("document.getElementById('data').textContent"))
    assert browser.run("document.getElementById('picture').naturalWidth") == 16
    browser.run("document.getElementById('who').value = 'Bo'")
    first_id = data["rows"][0]["id"]
    browser.press("k", "s", "u", "/")  # keep the first, skip the second, nothing to take back on the third
    assert browser.run("document.activeElement.id") == "choose"
    browser.press("d", "o", "Enter")  # 'down', by how it begins
    browser.press("ArrowLeft", "ArrowLeft", "u")  # takes back the skip of the second
    assert browser.run("document.getElementById('count').textContent") == "2 of 8"
    browser.press("k")
    browser.run("location.reload()")
    time.sleep(1)
    assert browser.run("document.getElementById('count').textContent") == "3 of 8"  # kept by the browser
    browser.press("s")
    browser.run("document.getElementById('save').click()")
    saved = next(iter(wait_for(tmp_path / "saved", "*.json")))
    decisions = json.loads(saved.read_text())["decisions"]
    names = [row["sample_id"] for row in decisions]
    assert names == [row["id"] for row in data["rows"][:4]]
    assert [row["choice"] for row in decisions] == ["keep", "keep", decisions[2]["choice"], "skip"]
    assert decisions[2]["label"] == "down"
    assert browser.complaints == []
    assert puriflow(capsys, "review", "import", document, saved)["skipped"] == 1
    store = FileStore(tmp_path / "data" / "puriflow-store")
    found = read_decisions(store, "tiny").to_pylist()
    assert [row["sample_id"] for row in found] == names[:3]
    assert {row["who"] for row in found} == {"Bo"}
    again = puriflow(capsys, "clean", document, "--workers", "1", "--set", "retrain.enabled=false")
    assert fresh(again) == {"datasets", "labels", "reports"}
    assert table(again)[first_id]["action"] == "trusted"


def wait_for(folder: Path, pattern: str) -> list[Path]:
    for _ in range(300):
        if found := [path for path in folder.glob(pattern) if path.stat().st_size]:
            return found
        time.sleep(0.1)
    pytest.fail(f"nothing like {pattern} was saved")
