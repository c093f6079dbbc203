"""The demo's data: scikit-learn's digits, 40 % of the training labels wrong, ten trusted rows a class, a clean test."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from PIL import Image
from sklearn.datasets import load_digits

from pipeline.errors import ConfigError
from pipeline.noise import inject

DATA = "digits.parquet"
CHECKED = "checked.csv"
TRUTH = "truth.parquet"
DOCUMENT = "clean.yaml"
WRONG = 0.4
TRUSTED_A_CLASS = 10
TEST_SHARE = 0.2
SIDE = 32  # the digits are 8 × 8; smoothed to four times that, people can read them in the report
SEED = 0

YAML = """\
# The demo of puriflow. `puriflow demo` writes this file again: copy the folder before you change something.
title: Handwritten digits with 40 % wrong labels
seed: 0

dataset:
  name: digits-demo
  kind: parquet
  path: digits.parquet
  columns: {sample_id: id, image: image, given_label: label, split: split}
  trusted: {path: checked.csv, columns: {sample_id: id, trusted_label: label}}

represent:              # small and short, for two cores; on a GPU take resnet18 and hundreds of epochs
  method: simclr
  backbone: small_cnn
  width: 32
  image_size: 8
  epochs: 40
  batch_size: 128
  optimizer: adamw
  learning_rate: 0.006
  augmentation: {crop_scale: 0.5, rotation: 10, shift: 0.1, flip: false, colour: 0.5, grey: 0}

purify:
  method: fusion
  gate: strict

retrain:
  method: cross_entropy
  labels: both          # a model on the purified labels, and one on the given labels to compare
"""


def write_demo(folder: Path) -> Path:
    """Write the demo's data and configuration; files that are as they should be keep their time stamps."""
    if folder.exists() and any(folder.iterdir()) and not (folder / DATA).exists():
        raise ConfigError(f"{folder} is not empty and holds no demo.", "Name a new folder: puriflow demo FOLDER.")
    folder.mkdir(parents=True, exist_ok=True)
    rows, checked, truth = demo_tables()
    for name, table in ((DATA, rows), (TRUTH, truth)):
        write_if_changed(folder / name, parquet_bytes(table))
    write_if_changed(folder / CHECKED, csv_bytes(checked))
    write_if_changed(folder / DOCUMENT, YAML.encode())
    return folder / DOCUMENT


def demo_tables() -> tuple[pa.Table, pa.Table, pa.Table]:
    """Make the rows with their noisy labels, the trusted labels, and the truth that no stage may see."""
    digits = load_digits()
    true = digits.target.astype(np.int32)
    generator = np.random.default_rng(SEED)
    test = stratified(true, np.ones(len(true), bool), generator, share=TEST_SHARE)
    trusted = stratified(true, ~test, generator, number=TRUSTED_A_CLASS)
    given = true.copy()
    given[~test] = inject(true[~test], "symmetric", WRONG, classes=10, seed=SEED)
    ids = pa.array([f"digit-{i:04d}" for i in range(len(true))])
    rows = pa.table(
        {
            "id": ids,
            "image": pa.array([png(image) for image in digits.images], pa.binary()),
            "label": pa.array(given),
            "split": pa.array(np.where(test, "test", "train")),
        }
    )
    checked = pa.table({"id": ids.filter(pa.array(trusted)), "label": pa.array(true[trusted])})
    return rows, checked, pa.table({"sample_id": ids, "true_label": pa.array(true)})


def stratified(
    classes: np.ndarray, allowed: np.ndarray, generator: np.random.Generator, share: float = 0.0, number: int = 0
) -> np.ndarray:
    """Draw a share, or a number, of the allowed rows of every class; return a mask."""
    drawn = np.zeros(len(classes), bool)
    for value in np.unique(classes):
        rows = np.flatnonzero(allowed & (classes == value))
        drawn[generator.choice(rows, number or round(share * len(rows)), replace=False)] = True
    return drawn


def png(image: np.ndarray) -> bytes:
    """Encode one digit (8 × 8, values 0 to 16) as a PNG that people can read."""
    small = Image.fromarray((image * 255 / 16).round().astype(np.uint8))
    buffer = io.BytesIO()
    small.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(buffer, format="PNG")
    return buffer.getvalue()


def parquet_bytes(table: pa.Table) -> bytes:
    """Write a table as Parquet."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def csv_bytes(table: pa.Table) -> bytes:
    """Write a table as CSV."""
    buffer = io.BytesIO()
    pyarrow.csv.write_csv(table, buffer)
    return buffer.getvalue()


def write_if_changed(path: Path, content: bytes) -> None:
    """Write a file unless it has this content already."""
    if not path.exists() or path.read_bytes() != content:
        path.write_bytes(content)
