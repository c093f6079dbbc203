"""Which search fills the lists, at the edges too, and what stands beside them."""

import sys
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.artifacts import Artifact, Ref
from pipeline.errors import ConfigError
from pipeline.features import open_features
from pipeline.keys import digest
from pipeline.neighbours import open_neighbours
from stages.embed.config import EmbedConfig
from stages.embed.directions import unit_vectors
from stages.embed.produce import produce

MakeFeatures = Callable[[NDArray[np.float32]], Artifact]
RunStage = Callable[..., Artifact]
CONFIG = EmbedConfig(k=5, batch_size=16)


def values(count: int, dim: int = 6, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)


def embed(run_stage: RunStage, config: EmbedConfig = CONFIG, *, features: Artifact) -> Artifact:
    key = digest([config.identity(), features.key])
    return run_stage(config, produce, {"features": features.ref}, Ref(kind="neighbours", key=key))


@pytest.mark.parametrize("exact_rows", [1, 1000])
@pytest.mark.parametrize(
    "rows", [values(1), np.zeros((300, 4), np.float32), np.ones((300, 4), np.float32), values(300) * [1, 0, 0, 0, 0, 0]]
)
def test_odd_features_have_neighbours_too(
    rows: NDArray[np.float32], exact_rows: int, make_features: MakeFeatures, run_stage: RunStage
) -> None:
    config = CONFIG.model_copy(update={"exact_rows": exact_rows, "k": 8})
    found = open_neighbours(embed(run_stage, config, features=make_features(rows.astype(np.float32))))
    width = min(8, len(rows) - 1)
    assert (found.indices[:, :width] >= 0).all()
    assert (found.indices[:, width:] == -1).all()
    assert (found.indices != np.arange(len(rows))[:, None]).all()
    assert ((found.outlier_score >= 0) & (found.outlier_score <= 1)).all()


def test_many_rows_are_searched_in_cells_and_the_recall_is_told(
    make_features: MakeFeatures, run_stage: RunStage
) -> None:
    rows = np.repeat(values(40), 50, axis=0) + 0.3 * values(2000, seed=1)
    rows[[0, 77]] = np.nan
    features = make_features(rows)
    told = embed(run_stage, CONFIG.model_copy(update={"exact_rows": 1000, "recall": 0.9}), features=features)
    exact = embed(run_stage, features=features)
    assert (told.metrics["search"], exact.metrics["search"], exact.metrics["recall"]) == ("cells", "exact", 1.0)
    pairs = zip(open_neighbours(told).indices, open_neighbours(exact).indices, strict=True)
    recall = np.mean([len(np.intersect1d(a, b)) / 5 for a, b in pairs if (a >= 0).all()])
    assert told.metrics["recall"] >= 0.9
    assert abs(recall - told.metrics["recall"]) < 0.03
    assert told.metrics["probes"] < told.metrics["cells"]
    broken = open_neighbours(told)
    assert (broken.indices[[0, 77]] == -1).all()
    assert not np.isin(broken.indices[1:77], [0, 77]).any()


@pytest.mark.parametrize("exact_rows", [1000, 100])
def test_the_index_answers_with_rows_of_the_dataset(
    exact_rows: int, make_features: MakeFeatures, run_stage: RunStage
) -> None:
    faiss = pytest.importorskip("faiss")
    rows = values(900)
    rows[5] = np.nan
    features = make_features(rows)
    config = CONFIG.model_copy(update={"exact_rows": exact_rows, "index": True})
    artifact = embed(run_stage, config, features=features)
    index = faiss.read_index(str(artifact.path("index.faiss")))
    some = np.arange(10, 800, 10)
    asked = unit_vectors(open_features(features).array()[some], np.load(artifact.path("centre.npy")))
    _, near = index.search(asked, 6)
    listed = open_neighbours(artifact).indices[some]
    assert (
        np.mean([len(np.intersect1d(a[a != row], b)) / 5 for row, a, b in zip(some, near, listed, strict=True)]) > 0.9
    )


def test_without_faiss_all_is_there_but_the_index(
    make_features: MakeFeatures, run_stage: RunStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    features = make_features(values(300))
    for exact_rows in (100, 1000):
        config = CONFIG.model_copy(update={"exact_rows": exact_rows})
        assert embed(run_stage, config, features=features).metrics["recall"] >= 0.95
        with pytest.raises(ConfigError, match="faiss is not installed"):
            embed(run_stage, config.model_copy(update={"index": True}), features=features)
