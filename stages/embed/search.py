"""Exact nearest neighbours by inner product: faiss on a CPU, plain torch on a GPU and where faiss is absent."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stages.shell.ahead import run_ahead

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
        index = faiss.IndexFlatIP(vectors.shape[1])
        index.add(vectors)
        faiss.write_index(index, str(index_file))
        if device.type == "cpu":
            return search_by_faiss(faiss, index, vectors, k, threads)
    base = torch.from_numpy(vectors).to(device)
    size = min(QUERIES, max(1, SCORES // max(len(vectors), 1)))
    return (search_by_torch(base, vectors, k, start, size) for start in range(0, len(vectors), size))


def search_by_faiss(faiss: Any, index: Any, vectors: Vectors, k: int, threads: int) -> Iterator[Found]:
    """Search in chunks of one thread each: the same bits for any number of threads, and no thread waits for another."""

    def find(start: int) -> Found:
        similarity, indices = index.search(vectors[start : start + QUERIES], k)
        return start, indices, similarity

    starts = range(0, len(vectors), QUERIES)
    with ThreadPoolExecutor(threads, initializer=faiss.omp_set_num_threads, initargs=(1,)) as pool:
        yield from run_ahead(pool, find, starts, 2 * threads)


def search_by_torch(base: torch.Tensor, vectors: Vectors, k: int, start: int, size: int) -> Found:
    """Multiply and take the largest; exact, as `IndexFlatIP` is."""
    scores = torch.from_numpy(vectors[start : start + size]).to(base.device) @ base.T
    similarity, indices = scores.topk(k, dim=1)
    return start, indices.cpu().numpy(), similarity.cpu().numpy()
