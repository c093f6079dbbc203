"""Directions, neighbours, strangers, duplicates: the mathematics."""

from pathlib import Path

import numpy as np
import pytest
import torch

from stages.embed import search as module
from stages.embed.core import directions, earliest_twins, mean_row, outlier_scores, without_self
from stages.embed.search import search

CPU = torch.device("cpu")


def unit(count: int = 300, dim: int = 16, seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).normal(size=(count, dim))
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


def found(vectors: np.ndarray, k: int, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    parts = [without_self(i, s, start) for start, i, s in search(vectors, k + 1, CPU, 1, folder / "index.faiss")]
    return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])


def slow_neighbours(vectors: np.ndarray, k: int) -> list[list[int]]:
    """Sort all others by their cosine, row by row."""
    result = []
    for i, row in enumerate(vectors):
        others = [(-float(row @ other), j) for j, other in enumerate(vectors) if j != i]
        result.append([j for _, j in sorted(others)[:k]])
    return result


@pytest.mark.parametrize("with_faiss", [True, False])
def test_neighbours_are_those_of_a_slow_loop(with_faiss: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not with_faiss:
        monkeypatch.setattr(module, "load_faiss", lambda: None)
    monkeypatch.setattr(module, "QUERIES", 70)
    indices, similarity = found(unit(), 7, tmp_path)
    assert indices.tolist() == slow_neighbours(unit(), 7)
    expected = np.take_along_axis(unit() @ unit().T, indices, axis=1)
    assert np.allclose(similarity, expected, atol=1e-6)
    assert (tmp_path / "index.faiss").exists() == with_faiss


def test_any_number_of_threads_finds_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("faiss")
    monkeypatch.setattr(module, "QUERIES", 64)
    one, three = (list(search(unit(500, 64), 9, CPU, threads, tmp_path / "i")) for threads in (1, 3))
    for (start, indices, similarity), (again, same, alike) in zip(one, three, strict=True):
        assert start == again
        assert np.array_equal(indices, same)
        assert np.array_equal(similarity, alike)


def test_the_index_on_disk_answers_like_the_table(tmp_path: Path) -> None:
    faiss = pytest.importorskip("faiss")
    indices, _ = found(unit(), 5, tmp_path)
    _, again = faiss.read_index(str(tmp_path / "index.faiss")).search(unit(), 6)
    assert np.array_equal(again[:, 1:], indices)


@pytest.mark.parametrize("with_faiss", [True, False])
def test_a_row_is_never_its_own_neighbour_even_among_twins(
    with_faiss: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not with_faiss:
        monkeypatch.setattr(module, "load_faiss", lambda: None)
    indices, _ = found(np.repeat(unit(3), 20, axis=0), 5, tmp_path)
    rows = np.arange(60)
    assert (indices != rows[:, None]).all()
    assert (indices // 20 == rows[:, None] // 20).all()


def test_directions_are_unit_vectors_seen_from_the_mean() -> None:
    values = np.random.default_rng(0).normal(5.0, 1.0, size=(50, 4))
    (result,) = directions([values], mean_row([values[:20], values[20:]]))
    centred = values - values.mean(axis=0)
    assert np.allclose(result, centred / np.linalg.norm(centred, axis=1, keepdims=True), atol=1e-6)
    assert result.dtype == np.float32


@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1.0, 1e30])
def test_directions_do_not_depend_on_the_scale_of_the_features(scale: float) -> None:
    values = np.random.default_rng(0).normal(size=(50, 4))
    (expected,), (result,) = (directions([v], mean_row([v])) for v in (values, (values * scale).astype(np.float32)))
    assert np.allclose(result, expected, atol=1e-5)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e20])
def test_constant_features_have_no_direction(value: float) -> None:
    values = np.full((30, 4), value, np.float32)
    (result,) = directions([values], mean_row([values]))
    assert (result == 0).all()


def test_outlier_scores_rank_from_the_most_typical_to_the_strangest() -> None:
    similarity = np.array([[0.9, 0.9], [0.1, 0.2], [0.75, 0.5], [0.625, 0.625]], np.float32)
    assert outlier_scores(similarity).tolist() == pytest.approx([0.0, 1.0, 0.5, 0.5])
    assert outlier_scores(np.zeros((5, 3), np.float32)).tolist() == [0.5] * 5
    assert outlier_scores(np.zeros((1, 0), np.float32)).tolist() == [0.0]


def test_twins_are_told_the_earliest_of_their_group() -> None:
    indices = np.array([[1], [2], [1], [4], [3], [0]])
    similarity = np.array([[0.99], [1.0], [1.0], [0.5], [0.5], [0.995]], np.float32)
    content = np.array(["a", "b", "c", "d", "d", "e"], dtype=object)
    assert earliest_twins(indices, similarity, content, 0.999).tolist() == [0, 1, 1, 3, 3, 5]
    assert earliest_twins(indices, similarity, content, 0.99).tolist() == [0, 0, 0, 3, 3, 0]
    assert earliest_twins(indices, similarity, np.array(["x"] * 6, dtype=object), 1.1).tolist() == [0] * 6
