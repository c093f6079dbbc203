"""The neighbours artifact: for each sample its nearest others, how strange it is, and what it repeats."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.arrays import reserved_array
from pipeline.artifacts import Artifact
from pipeline.errors import ContractError

KIND = "neighbours"
INDICES_FILE = "neighbours.npy"
SIMILARITY_FILE = "similarity.npy"
EVIDENCE_FILE = "evidence.parquet"
CENTRE_FILE = "centre.npy"  # what cosines are seen from
INDEX_FILE = "index.faiss"
EVIDENCE_SCHEMA = pa.schema(
    [("sample_id", pa.string()), ("outlier_score", pa.float32()), ("duplicate_of", pa.string())]
)

Indices = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Neighbours:
    """The neighbours of N samples, in the order of the features' rows."""

    indices: Indices  # [N, k], nearest first, the row itself left out, -1 where there is none
    similarity: Floats  # [N, k], cosine of the centred features, 0 where there is no neighbour
    outlier_score: Floats  # [N], 0..1, higher is stranger; NaN for broken rows (null on disk)
    duplicate_of: npt.NDArray[np.object_]  # [N], the id of the earliest row that this one repeats, or None

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def k(self) -> int:
        """Return the number of neighbours listed for each sample."""
        return int(self.indices.shape[1])


def create_lists(folder: Path, rows: int, k: int) -> tuple[Indices, Floats]:
    """Create the two tables of the artifact, still without any neighbour, to be filled in place."""
    indices = reserved_array(folder / INDICES_FILE, (rows, k), np.int32)
    similarity = reserved_array(folder / SIMILARITY_FILE, (rows, k), np.float32)
    indices[:] = -1
    return indices, similarity


def write_evidence(
    folder: Path, sample_ids: npt.NDArray[np.object_], score: Floats, duplicate_of: npt.NDArray[np.object_]
) -> None:
    """Write what the lists tell of each row."""
    columns = [
        pa.array(sample_ids, pa.string()),
        pa.array(score, pa.float32(), mask=np.isnan(score)),
        pa.array(duplicate_of, pa.string()),
    ]
    pq.write_table(pa.table(columns, schema=EVIDENCE_SCHEMA), folder / EVIDENCE_FILE, compression="zstd")


def write_neighbours(folder: Path, sample_ids: npt.NDArray[np.object_], neighbours: Neighbours) -> None:
    """Write lists and evidence that are in memory."""
    np.save(folder / INDICES_FILE, neighbours.indices.astype(np.int32), allow_pickle=False)
    np.save(folder / SIMILARITY_FILE, neighbours.similarity.astype(np.float32), allow_pickle=False)
    write_evidence(folder, sample_ids, neighbours.outlier_score, neighbours.duplicate_of)


def open_neighbours(artifact: Artifact) -> Neighbours:
    """Open the neighbours of an artifact; the two tables are memory maps."""
    indices = np.load(artifact.path(INDICES_FILE), mmap_mode="r", allow_pickle=False)
    similarity = np.load(artifact.path(SIMILARITY_FILE), mmap_mode="r", allow_pickle=False)
    evidence = pq.read_table(artifact.path(EVIDENCE_FILE), schema=EVIDENCE_SCHEMA)
    if not len(indices) == len(similarity) == evidence.num_rows:
        raise ContractError(
            f"{artifact.ref} lists {len(indices)} rows of neighbours, {len(similarity)} of similarities and "
            f"{evidence.num_rows} of evidence.",
            "Run embed again.",
        )
    score = evidence["outlier_score"].to_numpy(zero_copy_only=False)
    duplicates = evidence["duplicate_of"].to_numpy(zero_copy_only=False)
    return Neighbours(indices, similarity, np.asarray(score, np.float32), np.asarray(duplicates, dtype=object))
