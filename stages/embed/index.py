"""A faiss index for rows of one's own: it answers with row numbers of the dataset."""

from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import ConfigError
from stages.embed.cells import Cells, chunks
from stages.embed.directions import Directions


def load_faiss() -> Any:
    """Import faiss, which only the index needs."""
    try:
        import faiss
    except ImportError as error:
        raise ConfigError(
            "embed.index is true, but faiss is not installed.", "Install faiss-gpu, or set embed.index to false."
        ) from error
    return faiss


def write_flat(directions: Directions, file: Path) -> None:
    """Write all rows as they are: the index compares a query with each of them."""
    faiss = load_faiss()
    index = faiss.IndexIDMap(faiss.IndexFlatIP(directions.dim))
    for places in chunks(len(directions)):
        index.add_with_ids(directions.read(places), directions.rows[places])
    faiss.write_index(index, str(file))


def write_cells(cells: Cells, directions: Directions, probes: int, file: Path) -> None:
    """Write the rows in float16, in the cells that they were searched in, with the number of cells to look into."""
    faiss = load_faiss()
    centres = faiss.IndexFlatIP(directions.dim)
    centres.add(cells.centres.cpu().numpy())
    kind, metric = faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
    index = faiss.IndexIVFScalarQuantizer(centres, directions.dim, len(cells), kind, metric, False)
    index.is_trained, index.nprobe = True, probes
    for cell in range(len(cells)):
        here = slice(int(cells.starts[cell]), int(cells.starts[cell + 1]))
        vectors = cells.vectors[here].float().cpu().numpy()
        ids, names = directions.rows[cells.rows[here]], np.full(len(vectors), cell, np.int64)
        index.add_core(len(vectors), faiss.swig_ptr(vectors), faiss.swig_ptr(ids), faiss.swig_ptr(names))
    faiss.write_index(index, str(file))
