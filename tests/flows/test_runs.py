"""Whole runs on a small real data set: cached, changed, grown, twice at once, and as a child of a user's odd folder."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from flows.document import load_document
from flows.inline import run_clean
from flows.outcome import CleanResult
from flows.plan import plan_clean
from flows.recipe import StageOutcome
from pipeline.artifacts import Ref
from pipeline.errors import ConfigError, MissingArtifactError
from pipeline.labels import read_labels
from pipeline.progress import ProgressLine
from pipeline.requests import Resources
from pipeline.store import FileStore
from pipeline.store.lineage import lineage
from pipeline.store.published import latest
from pipeline.store.verify import verify

WriteTiny = Callable[..., Path]
Tree = Callable[[Path], dict[str, str]]
PURIFLOW = Path(sys.executable).with_name("puriflow")

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("inside")]
STAGES = ["ingest", "represent", "embed", "purify", "retrain", "report"]


class Watcher:
    def __init__(self) -> None:
        self.seen: list[tuple[str, bool]] = []

    def started(self, stage: str, total_stages: int) -> None:
        assert total_stages in (5, 6)

    def progress(self, stage: str, line: ProgressLine) -> None:
        assert line.step <= line.total or not line.total

    def finished(self, outcome: StageOutcome) -> None:
        self.seen.append((outcome.stage, outcome.cached))


def clean(document: Path, store: Path, *settings: str) -> tuple[CleanResult, dict[str, bool]]:
    watcher = Watcher()
    result = run_clean(load_document(document, settings), FileStore(store), watcher, Resources(workers=1))
    return result, dict(watcher.seen)


@pytest.fixture(scope="module")
def first(tiny: Path, inside: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, CleanResult]:
    store = tmp_path_factory.mktemp("run") / "mein store"
    result, seen = clean(tiny, store)
    assert seen == dict.fromkeys(STAGES, False)
    return store, result


def test_a_run_makes_a_table_a_page_and_a_model(first: tuple[Path, CleanResult]) -> None:
    _, result = first
    table = read_labels(Path(result.label_table))
    assert table.num_rows == 120
    assert table["purified_label"].null_count == 0
    assert "<html" in Path(result.report).read_text(encoding="utf-8")
    assert result.model
    assert Path(result.model).stat().st_size > 1000
    json.dumps(result.to_dict(), allow_nan=False)


def test_a_second_run_is_cached_and_quick(first: tuple[Path, CleanResult], tiny: Path) -> None:
    started = time.monotonic()
    result, seen = clean(tiny, first[0])
    assert seen == dict.fromkeys(STAGES, True)
    assert result.cached
    assert time.monotonic() - started < 5


def test_a_changed_purify_option_redoes_purify_and_later_stages_only(
    first: tuple[Path, CleanResult], tiny: Path
) -> None:
    _, seen = clean(tiny, first[0], "purify.method=knn")
    assert [s for s in STAGES if not seen[s]] == ["purify", "retrain", "report"]


def test_a_changed_device_or_worker_count_redoes_nothing(first: tuple[Path, CleanResult], tiny: Path) -> None:
    watcher = Watcher()
    run_clean(load_document(tiny), FileStore(first[0]), watcher, Resources(workers=2, device="cpu"))
    assert all(cached for _, cached in watcher.seen)


def test_a_new_trusted_row_touches_neither_images_nor_features(
    first: tuple[Path, CleanResult], tmp_path: Path, write_tiny: WriteTiny
) -> None:
    store, before = first
    result, seen = clean(write_tiny(tmp_path, trusted=25), store)
    assert [s for s in STAGES if not seen[s]] == ["ingest", "purify", "retrain", "report"]
    assert result.artifacts["neighbours"]["key"] == before.artifacts["neighbours"]["key"]


def test_a_relabelled_row_does_not_touch_images(
    first: tuple[Path, CleanResult], tmp_path: Path, write_tiny: WriteTiny
) -> None:
    _, seen = clean(write_tiny(tmp_path, relabel=78), first[0])
    assert seen["represent"]
    assert seen["embed"]
    assert not seen["purify"]


def test_a_grown_dataset_keeps_its_encoder_and_embeds_only_what_is_new(
    first: tuple[Path, CleanResult], tmp_path: Path, tiny: Path, write_tiny: WriteTiny
) -> None:
    store, before = first
    clean(tiny, store)  # the dataset's last completed run
    result, seen = clean(write_tiny(tmp_path, rows=126), store)
    assert seen["represent"]
    features = features_metrics(store, result)
    assert (features["rows"], features["computed"]) == (126, 6)
    refreshed, seen = clean(tmp_path / "clean.yaml", store, "represent.encoder=new")
    assert not seen["represent"]
    assert refreshed.artifacts["encoders"]["key"] != before.artifacts["encoders"]["key"]


def features_metrics(store: Path, result: CleanResult) -> dict[str, int]:
    opened = FileStore(store)
    near = opened.find("neighbours", result.artifacts["neighbours"]["key"])
    assert near is not None
    return dict(opened.get(near.manifest.inputs["features"]).metrics)


def test_a_dataset_that_grew_by_much_gets_a_new_encoder(tmp_path: Path, write_tiny: WriteTiny) -> None:
    store = tmp_path / "store"
    clean(write_tiny(tmp_path / "a", rows=48), store, "retrain.enabled=false")
    _, seen = clean(write_tiny(tmp_path / "b", rows=96), store)
    assert not seen["represent"]


def test_a_grown_dataset_may_train_on_from_its_encoder_and_the_lineage_says_so(
    first: tuple[Path, CleanResult], tmp_path: Path, write_tiny: WriteTiny
) -> None:
    store = FileStore(first[0])
    before = first[1].artifacts["encoders"]["key"]
    clean(write_tiny(tmp_path / "a"), first[0])  # the dataset's last completed run
    grown, on = write_tiny(tmp_path / "b", rows=200), ("represent.start=latest", "retrain.enabled=false")
    result, seen = clean(grown, first[0], *on)
    key = result.artifacts["encoders"]["key"]
    assert not seen["represent"]
    assert key != before
    made = lineage(store, Ref(kind="encoders", key=key))
    assert made.inputs["start"].ref.key == before
    again, seen = clean(grown, first[0], *on)
    assert seen["represent"]
    assert again.artifacts["encoders"]["key"] == key
    _, seen = clean(grown, first[0], "retrain.enabled=false")  # one that began anew is another encoder
    assert not seen["represent"]


def test_the_latest_encoder_must_exist(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingArtifactError, match="no completed run"):
        clean(tiny, tmp_path / "store", "represent.encoder=latest")


def test_the_plan_says_what_will_run(first: tuple[Path, CleanResult], tiny: Path, tmp_path: Path) -> None:
    request = load_document(tiny, ["purify.seed=1"])
    states = {p.stage: p.state for p in plan_clean(request, FileStore(first[0]))}
    assert [states[s] for s in STAGES] == ["cached", "cached", "cached", "run", "later", "later"]
    assert {p.state for p in plan_clean(request, FileStore(tmp_path))} == {"run", "later"}


def test_publishing_gives_readers_a_version(first: tuple[Path, CleanResult], tiny: Path) -> None:
    result, _ = clean(tiny, first[0], "publish.enabled=true")
    version = latest(FileStore(first[0]), "tiny")
    assert version is not None
    assert result.published is not None
    assert result.published["n"] == version.n
    table = pq.read_table(first[0] / "published" / "tiny" / "labels.parquet")
    assert table.num_rows == 120


def test_two_runs_at_once_end_with_one_result(
    tiny: Path, first: tuple[Path, CleanResult], tmp_path: Path, tree: Tree
) -> None:
    store = tmp_path / "store"
    command = [PURIFLOW, "clean", str(tiny), "--store", str(store), "--workers", "1", "--json"]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    answers = [p.communicate(timeout=240) for p in both]
    assert [p.returncode for p in both] == [0, 0], answers
    tables = {json.loads(out)["label_table"] for out, _ in answers}
    assert len(tables) == 1
    assert all(not verdict.faults for verdict in verify(FileStore(store)))
    wanted = tree(first[0])
    assert all(wanted.get(name) == sha for name, sha in tree(store).items())


def test_a_users_own_folder_called_stages_is_never_run(tiny: Path, tmp_path: Path) -> None:
    trap = tmp_path / "stages"
    trap.mkdir()
    (trap / "__init__.py").write_text("raise SystemExit('the user's folder was run')")
    done = subprocess.run(
        [PURIFLOW, "clean", tiny, "--store", "here", "--set", "retrain.enabled=false", "--json"],
        cwd=tmp_path, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONSAFEPATH": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["label_table"].startswith(str(tmp_path / "here"))


def test_an_empty_dataset_is_the_users_mistake(tmp_path: Path, write_tiny: WriteTiny) -> None:
    document = write_tiny(tmp_path)
    with pytest.raises(ConfigError, match="path"):
        load_document(document, ["dataset.path=[]"])
