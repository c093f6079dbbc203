"""A table of neighbours that is gone on from: the same result as a fresh search, for less."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pipeline.artifacts import Artifact, Manifest, Ref, list_files
from pipeline.keys import digest
from pipeline.neighbours import CENTRE_FILE, open_neighbours
from pipeline.store import FileStore
from stages.embed import directions, growth
from stages.embed.config import EmbedConfig
from stages.embed.produce import produce

MakeFeatures = Callable[..., Artifact]
RunStage = Callable[..., Artifact]
DIM = 12


def rows_of(count: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(count, DIM)).astype(np.float32)


@pytest.fixture
def centre(store: FileStore) -> Artifact:
    """Publish what embed takes from an encoder here."""
    ref = Ref(kind="encoders", key=digest("centre"))
    with store.staging(ref.kind, ref.key) as folder:
        np.save(folder / CENTRE_FILE, np.full(DIM, 0.01, np.float32))
        return store.publish(folder, Manifest(kind=ref.kind, key=ref.key, files=list_files(folder)))


@pytest.fixture
def embed(run_stage: RunStage, make_features: MakeFeatures, centre: Artifact) -> Callable[..., Artifact]:
    """Embed rows whose ids of content are given, with an earlier table as a hint or without."""

    def run(
        rows: NDArray[np.float32], content: list[str], before: Artifact | None = None, k: int = 7, **more: Any
    ) -> Artifact:
        config = EmbedConfig(k=k, **more)
        features = make_features(rows, content)
        refs = {"features": features.ref, "encoder": centre.ref}
        key = digest([config.identity(), features.key, str(before)])
        hints = {"previous": before.ref} if before else {}
        return run_stage(config, produce, refs, Ref(kind="neighbours", key=key), hints=hints)

    return run


@pytest.fixture
def any_centre(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the encoder's centre even where few rows lie around another mean."""
    monkeypatch.setattr(directions, "CENTRAL", 10.0)


def content_of(count: int, first: int = 0) -> list[str]:
    return [f"c{i}" for i in range(first, first + count)]


def check_same(incremental: Artifact, fresh: Artifact, kept: int, content: list[str] | None = None) -> None:
    """Compare two tables; of rows with the same content any may stand for another."""
    assert (incremental.metrics["kept"], fresh.metrics["kept"]) == (kept, 0)
    one, other = open_neighbours(incremental), open_neighbours(fresh)
    assert np.allclose(one.similarity, other.similarity, atol=1e-6)
    names = np.array([*(content or map(str, range(len(one)))), "none"])
    assert np.array_equal(names[one.indices], names[other.indices])
    assert np.array_equal(one.outlier_score, other.outlier_score, equal_nan=True)
    assert one.duplicate_of.tolist() == other.duplicate_of.tolist()


def test_added_rows_are_merged_wherever_they_stand(embed: Callable[..., Artifact], monkeypatch: Any) -> None:
    monkeypatch.setattr(growth, "QUERIES", 50)
    old, new = rows_of(300), rows_of(40, 1)
    old[7], new[3] = np.nan, np.nan
    rows = np.concatenate([new[:10], old[150:], new[10:], old[:150]])
    content = content_of(10, 300) + content_of(150, 150) + content_of(30, 310) + content_of(150)
    before = embed(old, content_of(300))
    check_same(embed(rows, content, before), embed(rows, content), kept=299)


def test_only_new_rows_and_those_that_lost_a_neighbour_are_searched(
    embed: Callable[..., Artifact], monkeypatch: pytest.MonkeyPatch
) -> None:
    searched: list[int] = []
    search = growth.search

    def count(base: torch.Tensor, rows: NDArray[np.int64], k: int, tasks: Any) -> Any:
        searched.append(len(rows))
        return search(base, rows, k, tasks)

    monkeypatch.setattr(growth, "search", count)
    old, new = rows_of(400), rows_of(4, 1)
    before = embed(old, content_of(400))
    rows, content = np.concatenate([old, new]), content_of(404)
    check_same(embed(rows, content, before), embed(rows, content), kept=400)
    assert searched == [4]
    lost = int((open_neighbours(before).indices == 5).any(axis=1).sum())
    rows, content = np.delete(rows, 5, axis=0), [c for c in content if c != "c5"]
    check_same(embed(rows, content, before), embed(rows, content), kept=399)
    assert searched == [4, 4 + lost]


@pytest.mark.usefixtures("any_centre")
def test_a_table_of_fewer_rows_than_neighbours_grows(embed: Callable[..., Artifact]) -> None:
    rows = rows_of(9)
    before = embed(rows[:5], content_of(5))
    check_same(embed(rows, content_of(9), before), embed(rows, content_of(9)), kept=5)


@pytest.mark.usefixtures("any_centre")
def test_copies_of_one_content_are_counted(embed: Callable[..., Artifact]) -> None:
    rows, content = rows_of(50), content_of(50)
    rows[20:24], content[20:24] = rows[10], [content[10]] * 4
    before = embed(rows, content)
    fewer, less = np.delete(rows, [20, 21], axis=0), content[:20] + content[22:]
    check_same(embed(fewer, less, before, k=6), embed(fewer, less, k=6), kept=48, content=less)


@pytest.mark.usefixtures("any_centre")
def test_rows_whose_numbers_changed_count_as_new(embed: Callable[..., Artifact]) -> None:
    rows = rows_of(60)
    before = embed(rows, content_of(60))
    rows = rows.copy()
    rows[5] += 1
    check_same(embed(rows, content_of(60), before), embed(rows, content_of(60)), kept=59)


@pytest.mark.parametrize("reason", ["longer lists", "inexact", "mostly new", "another centre"])
def test_what_does_not_fit_is_searched_afresh(embed: Callable[..., Artifact], reason: str) -> None:
    rows, content = rows_of(200), content_of(200)
    shifted = rows + 5 if reason == "another centre" else rows
    before = embed(shifted, content, k=7, exact_rows=100 if reason == "inexact" else 1000)
    after = content_of(200, 150) if reason == "mostly new" else content
    now = embed(rows, after, before, k=9 if reason == "longer lists" else 7)
    assert now.metrics["kept"] == 0
