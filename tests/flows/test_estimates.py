"""What a plan says of time and disk: nothing for what is cached, the last cost by rows, else that it is unknown."""

from pathlib import Path

from flows.cli.plan import total
from flows.estimates import estimate
from flows.plan import PlannedStage
from pipeline.artifacts import Manifest, Ref, list_files
from pipeline.store import FileStore


def publish(
    store: FileStore, kind: str, key: str, metrics: dict[str, float], beside: Ref | None = None, content: str = "12345"
) -> Ref:
    stage = {"datasets": "ingest", "features": "embed", "neighbours": "embed"}[kind]
    with store.staging(kind, key) as folder:
        (folder / "content").write_text(content)
        manifest = Manifest(
            kind=kind, key=key, stage=stage, metrics=metrics, files=list_files(folder), created=f"2026-01-0{key[0]}",
            inputs={"beside": beside} if beside else {},
        )  # fmt: skip
        return store.publish(folder, manifest).ref


def test_costs_grow_with_the_rows_and_count_what_lies_beside(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    publish(store, "datasets", "1" * 32, {"rows": 300, "seconds": 2.0})
    features = publish(store, "features", "1" * 32, {})
    publish(store, "neighbours", "1" * 32, {"rows": 1, "seconds": 9.0})
    publish(store, "neighbours", "2" * 32, {"rows": 100, "seconds": 4.0}, features)
    plan = [
        PlannedStage("ingest", "cached", "1" * 32),
        PlannedStage("embed", "run", "3" * 32),
        PlannedStage("purify", "later", ""),
    ]
    ingest, embed, purify = estimate(plan, store)
    assert (ingest.seconds, ingest.bytes) == (0, 0)
    assert (embed.seconds, embed.bytes) == (12.0, 30.0)
    assert (purify.seconds, purify.bytes) == (None, None)
    assert [stage.words(str, stage.seconds) for stage in (ingest, embed, purify)] == ["", "~12.0", "unknown"]


def test_rows_that_are_not_known_yet_scale_nothing(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    publish(store, "neighbours", "1" * 32, {"rows": 100, "seconds": 4.0})
    plan = [PlannedStage("ingest", "run", "9" * 32), PlannedStage("embed", "later", "")]
    assert estimate(plan, store)[1].seconds == 4.0


def test_one_unknown_part_makes_the_sum_unknown() -> None:
    assert total([1.0, 2.0]) == 3.0
    assert total([1.0, None]) is None
