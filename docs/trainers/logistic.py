"""A trainer for `retrain.method: outside`: logistic regression on features, or on pictures of 16 by 16 pixels.

An example to start from. It is called as `python logistic.py TASK.json` in the folder of the task, reads what is to be
learned, says how far it is, and leaves predictions and a model in the folder `output`.
"""

import io
import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

SIDE = 16


def inputs_of(folder: Path, task: dict) -> np.ndarray:
    """Read one vector for each row of rows.parquet."""
    if task["features"]:
        return np.load(folder / task["features"]).astype(np.float32)
    rows = []
    for batch in pq.ParquetFile(folder / task["images"]).iter_batches(1024, columns=["image"]):
        for image in batch["image"].to_pylist():
            small = Image.open(io.BytesIO(image["bytes"])).convert("RGB").resize((SIDE, SIDE))
            rows.append(np.asarray(small, dtype=np.float32).ravel() / 255)
    return np.stack(rows)


def main(path: Path) -> None:
    """Train, predict every row, write both."""
    task, folder = json.loads(path.read_text(encoding="utf-8")), path.parent
    rows = pq.read_table(folder / task["rows"]).to_pandas()
    values = StandardScaler().fit_transform(inputs_of(folder, task))
    teaching = rows["weight"] > 0
    model = LogisticRegression(C=float(task["settings"].get("C", "0.1")), max_iter=200, random_state=task["seed"])
    model.fit(values[teaching], rows["label"][teaching], sample_weight=rows["weight"][teaching])
    print(json.dumps({"done": 1, "of": 1, "rows": int(teaching.sum())}), flush=True)  # noqa: T201 (how far it is)
    probs = np.zeros((len(rows), len(task["classes"])), np.float32)
    probs[:, model.classes_] = model.predict_proba(values)
    said = pa.table({"sample_id": rows["sample_id"], "probs": list(probs)})
    pq.write_table(said, folder / task["output"] / "predictions.parquet")
    np.savez(folder / task["output"] / "model.npz", coefficients=model.coef_, intercepts=model.intercept_)


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
