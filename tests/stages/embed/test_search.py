"""Exact and inexact search: against slow loops, for any number of threads, at the edges."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch

from stages.embed import approximate, cells, search
from stages.embed.approximate import cells_needed, search_cells, true_neighbours
from stages.embed.cells import Cells, build_cells
from stages.embed.search import Found, Tasks, largest

CPU = torch.device("cpu")


class Rows:
    """Directions that are in memory."""

    def __init__(self, vectors: np.ndarray) -> None:
        self.vectors, self.dim = vectors, vectors.shape[1]

    def __len__(self) -> int:
        return len(self.vectors)

    def read(self, rows: np.ndarray) -> np.ndarray:
        return self.vectors[rows]


def unit(count: int = 300, dim: int = 16, seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).normal(size=(count, dim))
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


def clustered(count: int = 3000, dim: int = 16) -> np.ndarray:
    rng = np.random.default_rng(0)
    values = unit(30, dim, 1)[rng.integers(0, 30, count)] + 0.2 * rng.normal(size=(count, dim))
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


def gathered(parts: Iterable[Found]) -> tuple[np.ndarray, np.ndarray]:
    rows, indices, similarity = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(rows)
    assert rows[order].tolist() == list(range(len(rows)))
    return indices[order], similarity[order]


def exact(vectors: np.ndarray, k: int, threads: int = 1) -> tuple[np.ndarray, np.ndarray]:
    base = torch.from_numpy(vectors)
    return gathered(search.search(base, np.arange(len(base)), k, Tasks(CPU, threads)))


def by_cells(
    vectors: np.ndarray, k: int, folder: Path, recall: float, threads: int = 1
) -> tuple[np.ndarray, Cells, int]:
    rows, tasks = Rows(vectors), Tasks(CPU, threads)
    made = build_cells(rows, folder, tasks)
    probes = cells_needed(made, rows, true_neighbours(rows, k, tasks), recall)
    return gathered(search_cells(made, k, probes, tasks))[0], made, probes


def slow_neighbours(vectors: np.ndarray, k: int) -> list[list[int]]:
    """Sort all others by their cosine, row by row."""
    result = []
    for i, row in enumerate(vectors):
        others = [(-float(row @ other), j) for j, other in enumerate(vectors) if j != i]
        result.append([j for _, j in sorted(others)[:k]])
    return result


def test_neighbours_are_those_of_a_slow_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "QUERIES", 70)
    indices, similarity = exact(unit(), 7)
    assert indices.tolist() == slow_neighbours(unit(), 7)
    expected = np.take_along_axis(unit() @ unit().T, indices, axis=1)
    assert np.allclose(similarity, expected, atol=1e-6)


@pytest.mark.parametrize(("columns", "k"), [(1003, 5), (64, 1), (80, 10), (7, 7), (5, 0)])
def test_the_largest_are_those_of_topk(columns: int, k: int) -> None:
    scores = torch.randn(20, columns, generator=torch.Generator().manual_seed(0))
    values, places = largest(scores, k)
    assert torch.equal(values, scores.topk(k, dim=1).values)
    assert torch.equal(scores.gather(1, places), values)


def test_any_number_of_threads_finds_the_same_bits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(search, "QUERIES", 64)
    for one, three in zip(exact(unit(500, 64), 9), exact(unit(500, 64), 9, threads=3), strict=True):
        assert np.array_equal(one, three)
    one, three = (by_cells(clustered(), 9, tmp_path, 0.9, threads)[0] for threads in (1, 3))
    assert np.array_equal(one, three)


def test_a_row_is_never_its_own_neighbour_even_among_twins(tmp_path: Path) -> None:
    vectors = np.repeat(unit(30), 20, axis=0)
    rows = np.arange(600)
    for indices in (exact(vectors, 5)[0], by_cells(vectors, 5, tmp_path, 1.0)[0]):
        assert (indices != rows[:, None]).all()
        assert (indices // 20 == rows[:, None] // 20).all()


def test_cells_hold_every_row_once_and_like_rows_together(tmp_path: Path) -> None:
    made = build_cells(Rows(clustered()), tmp_path, Tasks(CPU, 1))
    assert sorted(made.rows.tolist()) == list(range(3000))
    assert made.largest <= cells.largest_cell(3000)
    assert np.allclose(made.vectors.float().numpy(), clustered()[made.rows], atol=1e-3)
    home = np.repeat(np.arange(len(made)), np.diff(made.starts))
    assert float((made.vectors.float() * made.centres[home]).sum(dim=1).mean()) > 0.7
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("recall", [0.6, 0.9])
def test_the_wanted_share_of_true_neighbours_is_found_without_looking_everywhere(recall: float, tmp_path: Path) -> None:
    indices, made, probes = by_cells(clustered(), 10, tmp_path, recall)
    true = exact(clustered(), 10)[0]
    found = np.mean([len(np.intersect1d(a, b)) / 10 for a, b in zip(indices, true, strict=True)])
    assert found >= recall - 0.02
    assert probes < len(made) / 2


def test_all_cells_give_the_true_neighbours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(approximate, "BLOCK", 100)
    made = build_cells(Rows(unit(700)), tmp_path, Tasks(CPU, 1))
    indices, similarity = gathered(search_cells(made, 6, len(made), Tasks(CPU, 1)))
    true, alike = exact(unit(700), 6)
    assert np.allclose(similarity, alike, atol=1e-3)
    assert (indices == true).mean() > 0.95  # float16 swaps what is nearly equal


@pytest.mark.parametrize("vectors", [np.zeros((1000, 8), np.float32), np.repeat(unit(1, 8), 1000, axis=0)])
def test_rows_that_nothing_tells_apart_are_cut_anywhere(vectors: np.ndarray, tmp_path: Path) -> None:
    indices, made, _ = by_cells(vectors, 5, tmp_path, 0.9)
    assert made.largest <= 128
    assert ((indices >= 0) & (indices < 1000)).all()
    assert (np.sort(indices, axis=1)[:, 1:] != np.sort(indices, axis=1)[:, :-1]).all()


def test_the_truth_is_that_of_a_slow_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "CHUNK_ROWS", 64)
    monkeypatch.setattr(approximate, "SAMPLED", 40)
    truth = true_neighbours(Rows(unit()), 7, Tasks(CPU, 2))
    expected = np.array(slow_neighbours(unit(), 7))[truth.rows]
    assert len(truth.rows) == 40
    assert np.array_equal(truth.indices, expected)
    assert truth.recall(expected[:, ::-1]) == 1.0
    assert truth.recall(np.where(expected == expected[:, :1], -1, expected)) == pytest.approx(6 / 7)


@pytest.mark.gpu
def test_a_gpu_finds_what_a_cpu_finds(tmp_path: Path) -> None:
    tasks = Tasks(torch.device("cuda"), 1)
    vectors = clustered()
    base = torch.from_numpy(vectors).cuda()
    indices, similarity = gathered(search.search(base, np.arange(len(base)), 9, tasks))
    true, alike = exact(vectors, 9)
    assert np.allclose(similarity, alike, atol=1e-5)
    assert (indices == true).mean() > 0.99
    made = build_cells(Rows(vectors), tmp_path, tasks)
    truth = true_neighbours(Rows(vectors), 9, tasks)
    probes = cells_needed(made, Rows(vectors), truth, 0.9)
    assert truth.recall(gathered(search_cells(made, 9, probes, tasks))[0][truth.rows]) >= 0.9
