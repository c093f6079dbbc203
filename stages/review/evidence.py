"""Read from the artifacts of a run what picking and showing rows needs."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.artifacts import Artifact
from pipeline.datasets.annotations import Annotations, open_annotations
from pipeline.datasets.decisions import read_ledger
from pipeline.labels import LABELS_FILE, read_labels
from pipeline.neighbours import Neighbours, open_neighbours
from pipeline.store import Store
from stages.review.pool import Floats, Ints, Pool, disagreement_of, places_in_pool

CANDIDATES_FILE = "candidates.parquet"
NEAREST = 10


@dataclass(frozen=True)
class Evidence:
    """Annotations and neighbours, and a label table where there is one already."""

    annotations: Annotations
    neighbours: Neighbours
    table: pa.Table | None
    candidates: Ints  # [N, m], what the baselines say

    @property
    def suggested(self) -> Ints:
        """Return the machine's best answers [N], the given labels where there are none."""
        if self.table is None:
            return self.annotations.given.astype(np.int64)
        return np.asarray(self.table["suggested_label"].to_numpy(), dtype=np.int64)

    @property
    def wrong(self) -> Floats:
        """Return the probability [N] that the label we stand for is wrong: where nothing is known, one for all."""
        if self.table is None:
            return np.full(len(self.annotations), 0.5)
        return np.asarray(1 - self.table["confidence"].to_numpy(), dtype=np.float64)


def read_evidence(annotations: Artifact, neighbours: Artifact, labels: Artifact | None) -> Evidence:
    """Read the inputs."""
    read = open_annotations(annotations)
    if labels is None:
        return Evidence(read, open_neighbours(neighbours), None, np.empty((len(read), 0), np.int64))
    said = pq.read_table(labels.path(CANDIDATES_FILE)) if labels.has(CANDIDATES_FILE) else pa.table({})
    columns = [said[name].to_numpy() for name in said.column_names if name != "sample_id"]
    candidates = np.stack(columns, axis=1).astype(np.int64) if columns else np.empty((len(read), 0), np.int64)
    return Evidence(read, open_neighbours(neighbours), read_labels(labels.path(LABELS_FILE)), candidates)


def pool_of(evidence: Evidence, store: Store, decided: int) -> Pool:
    """Lay out the rows that may be picked: train rows that nobody has decided about."""
    annotations, near = evidence.annotations, evidence.neighbours
    ledger = read_ledger(store, annotations.dataset, decided)
    seen = set(ledger["sample_id"].to_pylist())
    known = np.fromiter((sample in seen for sample in annotations.sample_ids), bool, len(annotations))
    train = annotations.split == "train"
    readable = np.isfinite(near.outlier_score)
    rows = np.flatnonzero(train & (annotations.trusted < 0) & ~known & readable)
    given, suggested = annotations.given.astype(np.int64), evidence.suggested
    answers = np.concatenate([given[:, None], suggested[:, None], evidence.candidates], axis=1)[rows]
    trusted = annotations.trusted[train & (annotations.trusted >= 0)]
    return Pool(
        rows=rows, given=given[rows], suggested=suggested[rows], wrong=evidence.wrong[rows],
        disagreement=disagreement_of(answers),
        density=np.clip(np.asarray(near.similarity[:, :NEAREST])[rows].mean(axis=1), 0, 1).astype(np.float64),
        near=places_in_pool(np.asarray(near.indices)[rows], rows, len(annotations)),
        trusted=np.bincount(trusted, minlength=len(annotations.class_names)),
    )  # fmt: skip
