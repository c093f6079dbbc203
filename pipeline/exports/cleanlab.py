"""cleanlab: `labels.npy` and `pred_probs.npy` for its functions, and `issues.csv` with the columns of a Datalab report.

Every row's probabilities were made without its own label, which is what cleanlab asks of them.
"""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv

from pipeline.errors import ConfigError
from pipeline.labelled import Labelled


def write(labelled: Labelled, folder: Path) -> list[str]:
    """Write the rows that came with a label."""
    has = labelled.labels("given_label") >= 0
    rows = labelled.take(has)
    if not len(rows):
        raise ConfigError("cleanlab needs given labels, and none of these rows has one.", "Choose other rows.")
    folder.mkdir(parents=True)
    np.save(folder / "labels.npy", rows.labels("given_label").astype(np.int64), allow_pickle=False)
    np.save(folder / "pred_probs.npy", rows.beliefs(), allow_pickle=False)
    (folder / "class_names.json").write_text(json.dumps(rows.classes, ensure_ascii=False), encoding="utf-8")
    differs = rows.labels("given_label") != rows.labels("suggested_label")
    issues = {
        "sample_id": rows.table["sample_id"],
        "is_label_issue": pa.array(differs),
        "label_score": rows.table["given_confidence"],
        "given_label": pa.array(rows.words("given_name")),
        "predicted_label": pa.array(rows.words("suggested_name")),
    }
    pyarrow.csv.write_csv(pa.table(issues), folder / "issues.csv")
    left = len(labelled) - len(rows)
    return [f"{left} rows without a given label are left out."] if left else []
