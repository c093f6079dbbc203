"""Compare a label table with the truth, where the truth is known because we made the noise ourselves."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import DataError


@dataclass(frozen=True)
class Scorecard:
    """How many labels are right, over the train rows whose true label nobody told the machine."""

    rows: int
    right: dict[str, float]  # given, suggested, purified
    baselines: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Describe the scorecard for `--json`."""
        return asdict(self)


def score(labels: pa.Table, candidates: Path, truth: Path) -> Scorecard:
    """Count right labels in the table and in every baseline's candidates."""
    known = {row["sample_id"]: row["true_label"] for row in pq.read_table(truth).to_pylist()}
    ids = labels["sample_id"].to_pylist()
    unknown = [i for i in ids if i not in known]
    if unknown:
        raise DataError(f"{truth} lacks {len(unknown)} of {len(ids)} rows (first: '{unknown[0]}').", "Write it again.")
    true = np.array([known[i] for i in ids])
    judged = np.array(labels["split"].to_pylist()) == "train"
    judged &= ~labels["trusted"].to_numpy()
    columns: Mapping[str, pa.ChunkedArray] = {n: labels[f"{n}_label"] for n in ("given", "suggested", "purified")}
    table = pq.read_table(candidates)
    others = {name: table[name] for name in table.column_names if name != "sample_id"}
    return Scorecard(int(judged.sum()), rights(columns, true, judged), rights(others, true, judged))


def rights(columns: Mapping[str, pa.ChunkedArray], true: np.ndarray, judged: np.ndarray) -> dict[str, float]:
    """Compute the share of judged rows that each column has right."""
    return {name: float(np.mean((column.fill_null(-1).to_numpy() == true)[judged])) for name, column in columns.items()}


def tests_of(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Take the test accuracies of a model trained on both kinds of labels."""
    purified, given = metrics["test"], metrics["given"]["test"]
    return {"given": given["accuracy"], "purified": purified["accuracy"], "rows": purified["rows"]}
