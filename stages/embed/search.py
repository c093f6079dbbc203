"""Exact nearest neighbours by inner product: faiss on a CPU, plain torch on a GPU and where faiss is absent."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

QUERIES = 1024
SCORES = 2**26  # similarities held at a time by torch

Vectors = NDArray[np.float32]
Found = tuple[int, NDArray[np.int64], NDArray[np.float32]]  # first row, indices [n, k], similarities [n, k]


def load_faiss() -> Any:
    """Import faiss, None where it is not installed."""
    try:
        import faiss
    except ImportError:
        return None
    return faiss


def search(vectors: Vectors, k: int, device: torch.device, threads: int, index_file: Path) -> Iterator[Found]:
    """Find the k nearest rows of every row, itself included, chunk by chunk; where faiss is there, write its index."""
    faiss = load_faiss()
    if faiss is not None:
        faiss.omp_set_num_threads(threads)
        index = faiss.IndexFlatIP(vectors.shape[1])
        index.add(vectors)
        faiss.write_index(index, str(index_file))
    if faiss is not None and device.type == "cpu":
        return in_chunks(vectors, QUERIES, lambda queries: index.search(queries, k))
    base = torch.from_numpy(vectors).to(device)
    chunk = min(QUERIES, max(1, SCORES // max(len(vectors), 1)))
    return in_chunks(vectors, chunk, lambda queries: search_by_torch(base, queries, k))


def in_chunks(
    vectors: Vectors, size: int, find: Callable[[Vectors], tuple[NDArray[np.float32], NDArray[np.int64]]]
) -> Iterator[Found]:
    """Ask for the neighbours of a few rows at a time."""
    for start in range(0, len(vectors), size):
        similarity, indices = find(vectors[start : start + size])
        yield start, indices, similarity


def search_by_torch(base: torch.Tensor, queries: Vectors, k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Multiply and take the largest; exact, as `IndexFlatIP` is."""
    scores = torch.from_numpy(queries).to(base.device) @ base.T
    similarity, indices = scores.topk(k, dim=1)
    return similarity.cpu().numpy(), indices.cpu().numpy()
