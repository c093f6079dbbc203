"""A small dataset that comes as features: the shortest way through the recipe."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest


@pytest.fixture(scope="session")
def features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("features")
    kinds = [i % 2 for i in range(60)]
    table = {"sample_id": [f"r{i}" for i in range(60)], "given_label": kinds, "trusted_label": kinds}
    pq.write_table(pa.table(table), folder / "rows.parquet")
    noise = np.random.default_rng(0).normal(size=(60, 4))
    np.save(folder / "features.npy", (noise + np.array(kinds)[:, None] * 6).astype(np.float32))
    dataset = "{name: points, kind: features, table: rows.parquet, features: features.npy}"
    (folder / "clean.yaml").write_text(f"dataset: {dataset}\nretrain: {{enabled: false}}\n", encoding="utf-8")
    return folder / "clean.yaml"
