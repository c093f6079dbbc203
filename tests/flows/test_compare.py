"""Comparing methods: the grid, what is run, the table and the plot."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.cli import main
from flows.compare import Figure, grid_of, lines_of
from flows.comparison import markdown, write_comparison
from pipeline.errors import ConfigError
from pipeline.store import FileStore
from pipeline.store.runs import newest_run


def figure(method: str, labels: str, seed: int, accuracy: float) -> Figure:
    return Figure(method, labels, seed, "test", accuracy, 200, "given", 0.05, f"key{seed}", 2.0)


FIGURES = [
    figure("cross_entropy", "given", 0, 0.70), figure("cross_entropy", "given", 1, 0.80),
    figure("elr", "given", 0, 0.90), figure("elr", "given", 1, 0.90),
]  # fmt: skip


def test_the_grid_has_every_cell_once_and_seeds_count_from_the_documents() -> None:
    grid = grid_of(["elr", "cross_entropy", "elr"], ["given", "purified"], seeds=2, first=5)
    assert len(grid) == len(set(grid)) == 8
    assert {cell.seed for cell in grid} == {5, 6}


@pytest.mark.parametrize(
    ("methods", "labels", "message"),
    [
        (["nothing"], ["given"], r"there is no method 'nothing'\. Choose of: cross_entropy"),
        (["elr"], ["true"], r"there is no kind of labels 'true'\. Choose of: given, purified"),
        ([], ["given"], "there is no method ''"),
    ],
)
def test_names_that_nobody_knows_are_refused(methods: list[str], labels: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        grid_of(methods, labels, 1, 0)


def test_lines_hold_mean_and_spread_over_the_seeds() -> None:
    first, second = lines_of(FIGURES)
    assert (first.mean, first.spread) == (pytest.approx(0.75), pytest.approx(0.0707, abs=1e-4))
    assert (second.method, second.mean, second.spread, second.seeds) == ("elr", pytest.approx(0.9), 0.0, 2)


def test_the_table_says_what_was_measured() -> None:
    text = markdown("Toys", FIGURES)
    assert "Accuracy on 200 test rows, judged by given labels, in per cent" in text
    assert "| `cross_entropy` | 75.0 ± 7.1 |" in text
    assert "| `elr` | 90.0 ± 0.0 |" in text


def test_everything_lies_in_one_folder(tmp_path: Path) -> None:
    files = write_comparison(tmp_path / "new" / "folder", "Toys", FIGURES)
    assert pq.read_table(files["compare.parquet"]).num_rows == 4
    assert len(json.loads(Path(files["compare.json"]).read_text(encoding="utf-8"))["lines"]) == 2
    assert Path(files["compare.png"]).read_bytes().startswith(b"\x89PNG")


def write_features(folder: Path) -> Path:
    """Write a data set of two clusters as features, a fifth of its labels wrong, and the YAML that cleans it."""
    rng = np.random.default_rng(0)
    kinds = np.arange(120) % 2
    table = {
        "id": [f"row {i:03d}" for i in range(120)],
        "label": [["a", "b"][1 - k if i % 5 == 2 else k] for i, k in enumerate(kinds)],
        "checked": [["a", "b"][k] if i < 24 else None for i, k in enumerate(kinds)],
        "split": ["test" if i % 6 == 5 else "train" for i in range(120)],
    }
    pq.write_table(pa.table(table), folder / "rows.parquet")
    np.save(folder / "features.npy", (4 * kinds[:, None] + rng.normal(size=(120, 6))).astype(np.float32))
    (folder / "clean.yaml").write_text(
        "dataset: {name: toys, kind: features, table: rows.parquet, features: features.npy, "
        "columns: {sample_id: id, given_label: label, trusted_label: checked, split: split}}\n"
        "embed: {k: 8}\nretrain: {epochs: 3, batch_size: 32}\n",
        encoding="utf-8",
    )
    return folder / "clean.yaml"


@pytest.mark.slow
def test_a_comparison_runs_through_the_cache_and_its_models_are_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = write_features(tmp_path)
    command = [
        "compare",
        str(document),
        "--methods",
        "cross_entropy,gce",
        "--labels",
        "given",
        "--seeds",
        "1",
        "--workers",
        "1",
        "--json",
    ]
    assert main(command) == 0
    said = json.loads(capsys.readouterr().out)
    assert [(x["method"], x["labels"], x["seeds"]) for x in said["lines"]] == [
        ("cross_entropy", "given", 1), ("gce", "given", 1),
    ]  # fmt: skip
    store = FileStore(tmp_path / "puriflow-store")
    models = {a.key for a in store.artifacts("models")}
    record = newest_run(store, "toys", "completed")
    assert record is not None
    assert {made.ref.key for made in record.artifacts.values() if made.ref.kind == "models"} == models
    assert len(models) == 2
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out)["lines"] == said["lines"]
    assert {a.key for a in store.artifacts("models")} == models
