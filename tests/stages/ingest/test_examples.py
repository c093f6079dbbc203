"""The examples of data/README.md run as they stand, on small files of the same layout."""

import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from pipeline.datasets.config import DatasetConfig

PAGE = Path(__file__).parents[3] / "data/README.md"
SECTIONS = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE))


def folders(desk: Any) -> None:
    desk.pictures(["photos/train/shirt/1.jpg", "photos/train/coat/2.jpg", "photos/test/shirt/9.jpg"])


def nothing(desk: Any) -> None:
    assert desk.folder.exists()


def cifar(desk: Any) -> None:
    home = desk.folder / "cifar10/cifar-10-batches-py"
    home.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (20, 3072), dtype=np.uint8)
    names = [f"class{i}" for i in range(10)]
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        (home / name).write_bytes(pickle.dumps({"data": pixels, "labels": list(range(10)) * 2}))
    (home / "batches.meta").write_bytes(pickle.dumps({"label_names": names}))
    clean = np.tile(np.arange(10), 10)
    human = {"clean_label": clean, "worse_label": (clean + 1) % 10} | {f"random_label{i}": clean for i in (1, 2, 3)}
    np.save(desk.folder / "CIFAR-10_human.npy", np.array(human, dtype=object), allow_pickle=True)


def fashion(desk: Any) -> None:
    for name, rows in (("train", 120), ("test", 10)):
        image = pa.array([{"bytes": desk.picture(i), "path": None} for i in range(rows)])
        pq.write_table(
            pa.table({"image": image, "label": [i % 10 for i in range(rows)]}), desk.folder / f"{name}.parquet"
        )


def tweets(desk: Any) -> None:
    draw = np.random.default_rng(0)
    words = ["I", "predict", "won't", "win", "single", "game", "@me", ":)", "ikr", "fb", "yo", "last", "name", "so"]
    for name in ("train", "dev", "test"):
        lines = [[f"{words[i]}{i * 7}\t{'NV!@'[i % 4]}" for i in draw.integers(0, len(words), 9)] for _ in range(12)]
        desk.write(f"oct27.{name}", "\n\n".join("\n".join(tweet) for tweet in lines) + "\n\n")


def catalogue(desk: Any) -> None:
    desk.pictures(["photos/1.png", "photos/2.png"])
    desk.csv(
        "rows.csv",
        ["image", "label", "annotator_2", "checked", "price"],
        [["1.png", "a", "b", "a", 1], ["2.png", "b", "", "", 2]],
    )


CASES: list[tuple[str, Callable[[Any], None], dict[str, Any]]] = [
    ("A folder per class", folders, {"rows": 3, "classes": 2, "trusted": 2}),
    ("Embeddings or any other numbers", nothing, {"rows": 300, "classes": 3, "trusted": 30}),
    ("CIFAR-10 with the human labels of CIFAR-N", cifar, {"rows": 120, "classes": 10, "trusted": 100}),
    ("Fashion-MNIST from Parquet", fashion, {"rows": 130, "classes": 10, "trusted": 100}),
    ("Twitter part of speech", tweets, {"rows": 324, "classes": 4, "trusted": 40}),
    ("Image paths in a table", catalogue, {"rows": 2, "classes": 2, "trusted": 1, "annotators": 2}),
]


SLOW = "Twitter part of speech"


@pytest.mark.parametrize(
    ("title", "prepare", "counts"),
    [pytest.param(*case, id=case[0], marks=pytest.mark.slow if case[0] == SLOW else ()) for case in CASES],
)
def test_the_example_runs_as_it_stands(
    desk: Any, title: str, prepare: Callable[[Any], None], counts: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    if title.startswith("CIFAR"):  # torchvision asks for the real files' checksums
        from torchvision.datasets import CIFAR10

        monkeypatch.setattr(CIFAR10, "_check_integrity", lambda _: True)
        monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *_: True)
    prepare(desk)
    for code in re.findall(r"```python\n(.*?)```", SECTIONS[title], re.DOTALL):
        subprocess.run([sys.executable, "-c", code], cwd=desk.folder, check=True)
    dataset = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", SECTIONS[title], re.DOTALL)[0])["dataset"]
    config = DatasetConfig.model_validate(dataset)
    made = desk.run(**config.model_dump())
    assert {name: made.metrics[name] for name in counts} == counts


def test_every_section_with_a_configuration_is_tried() -> None:
    assert [title for title, text in SECTIONS.items() if "```yaml" in text] == [title for title, _, _ in CASES]
