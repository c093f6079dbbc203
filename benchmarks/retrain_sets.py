"""The data sets of retrain.py: rows with true and given labels, what they look like, and the document beside them."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from simple_features import fashion as fashion_features
from simple_features import trec as trec_features
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from flows.demo import write_demo
from pipeline.noise import inject
from stages.retrain.config import VERSIONS

WHO = {"sample_id": "id", "given_label": "label", "split": "split"}
HEAD = {"hidden": 128, "epochs": 20, "batch_size": 256, "mlnt": {"sets": 3}}
ALL = ",".join(name for name in VERSIONS if name != "outside")


@dataclass(frozen=True)
class Rows:
    """Rows with true and given labels, and the features or the encoded images that go with them."""

    table: pd.DataFrame  # id, truth, label (as given), split
    features: np.ndarray | None = None
    images: pd.Series | None = None


@dataclass(frozen=True)
class Set:
    """A data set with the sections of its document."""

    rows: Callable[[Path], Rows]
    sections: dict[str, Any]
    methods: str = ALL
    trusted: int = 10  # a class


def features(data: Path) -> Rows:
    labels = pd.read_parquet(data / "cifar10n-labels.parquet")
    chosen = np.sort(np.random.default_rng(0).permutation(len(labels))[:8000])
    test = pd.read_parquet(data / "cifar10-test.parquet", columns=["id", "label"])[:5000]
    train, taught = labels.iloc[chosen], np.load(data / "cifar10-features-patch.npy", mmap_mode="r")[chosen]
    table = pd.DataFrame({
        "id": [*train["id"], *test["id"]], "truth": [*train["clean"], *test["label"]],
        "label": [*train["worse"], *test["label"]], "split": ["train"] * len(train) + ["test"] * len(test),
    })  # fmt: skip
    return Rows(table, np.concatenate([taught, np.load(data / "cifar10-features-patch-test.npy")[:5000]]))


def images(data: Path) -> Rows:
    labels = pd.read_parquet(data / "cifar10n-labels.parquet").set_index("id")
    train = pd.read_parquet(data / "cifar10-train-0.parquet").iloc[:4000]
    test = pd.read_parquet(data / "cifar10-test.parquet").iloc[:2000]
    table = pd.DataFrame({
        "id": [*train["id"], *test["id"]], "truth": [*train["label"], *test["label"]],
        "label": [*labels.loc[train["id"], "worse"], *test["label"]],
        "split": ["train"] * len(train) + ["test"] * len(test),
    })  # fmt: skip
    return Rows(table, images=pd.concat([train["image"], test["image"]]).map(lambda image: image["bytes"]))


def words(data: Path) -> Rows:
    table = pd.read_parquet(data / "twitter-pos.parquet")
    table["split"] = table["split"].map({"train": "train", "dev": "train", "test": "test"})
    seen = table["token"].str.lower().str.replace(r"^@.+", "<who>", regex=True)
    seen = seen.str.replace(r"^(http|www).*", "<where>", regex=True).str.replace(r"\d", "0", regex=True)
    tweets = table["id"].str.rsplit("/", n=1).str[0].to_numpy()
    vectors = np.vstack([np.zeros(50), word_vectors(seen, tweets)])  # row 0: before and after a tweet
    own = 1 + np.arange(len(table))
    before = np.where(tweets == np.roll(tweets, 1), own - 1, 0)
    after = np.where(tweets == np.roll(tweets, -1), np.minimum(own + 1, len(table)), 0)
    letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 4), min_df=3, sublinear_tf=True)
    spelled = TruncatedSVD(50, random_state=0).fit_transform(letters.fit_transform(table["token"]))
    values = np.hstack([vectors[before], vectors[own], vectors[after], spelled]).astype(np.float32)
    keep = table["split"].notna().to_numpy().copy()
    keep[np.flatnonzero(table["split"] == "train")[8000:]] = False
    return with_noise(table[keep].reset_index(drop=True), values[keep])


def word_vectors(seen: pd.Series, tweets: np.ndarray) -> np.ndarray:
    """Factor how often words stand within two places of each other, beyond chance (PPMI), [rows, 50]."""
    from scipy.sparse import coo_matrix

    counts = seen.value_counts()
    codes = seen.where(seen.map(counts) > 1, "<rare>").astype("category").cat.codes.to_numpy().astype(np.int64)
    pairs = []
    for away in (1, 2):
        same = tweets[away:] == tweets[:-away]
        pairs += [(codes[away:][same], codes[:-away][same]), (codes[:-away][same], codes[away:][same])]
    left, right = (np.concatenate(side) for side in zip(*pairs, strict=True))
    size = codes.max() + 1
    near = coo_matrix((np.ones(len(left)), (left, right)), shape=(size, size)).tocsr().tocoo()
    each = np.bincount(left, minlength=size)
    beyond = np.log(near.data * each.sum() / (each[near.row] * each[near.col].astype(float)))
    matrix = coo_matrix((np.maximum(beyond, 0), (near.row, near.col)), shape=(size, size)).tocsr()
    return TruncatedSVD(50, random_state=0).fit_transform(matrix)[codes]


def with_noise(table: pd.DataFrame, values: np.ndarray, rate: float = 0.4) -> Rows:
    truth, train = table["label"].to_numpy(), (table["split"] == "train").to_numpy()
    given = truth.copy()
    given[train] = inject(truth[train], "symmetric", rate, int(truth.max()) + 1, seed=0)
    columns = {"id": table["id"], "truth": truth, "label": given, "split": table["split"]}
    return Rows(pd.DataFrame(columns), values)


def to_choose_by(made: tuple[np.ndarray, pd.DataFrame], count: int) -> Rows:
    """Take some rows, every fourth to validate on and none to test."""
    values, table = made
    rows = np.sort(np.random.default_rng(0).permutation(len(table))[:count])
    chosen = table.iloc[rows].reset_index(drop=True)
    chosen["split"] = np.where(np.arange(len(rows)) % 4 == 3, "validation", "train")
    return with_noise(chosen, values[rows])


SETS = {
    "features": Set(features, {"retrain": HEAD}),
    "words": Set(words, {"retrain": HEAD}, "cross_entropy,gce,elr,co_teaching,mlc,mslg"),
    "images": Set(
        images,
        {
            "represent": {"backbone": "small_cnn", "width": 32, "epochs": 40, "batch_size": 256, "optimizer": "adamw",
                          "learning_rate": 0.003},
            "retrain": {"epochs": 20, "batch_size": 128, "flip": True},
        },
        "cross_entropy,elr,co_teaching",
    ),
    "fashion": Set(lambda data: to_choose_by(fashion_features(data), 8000), {"retrain": HEAD}, "cross_entropy,mlc"),
    "trec": Set(lambda data: to_choose_by(trec_features(data), 5952), {"retrain": HEAD}, "cross_entropy,mlc"),
}  # fmt: skip


def write_set(name: str, folder: Path, data: Path) -> tuple[Path, dict[str, int]]:
    """Write data and document; return the document, and the true labels by id."""
    folder.mkdir(parents=True, exist_ok=True)
    if name == "digits":
        document = write_demo(folder)
        truth = pd.read_parquet(folder / "truth.parquet")
        return document, dict(zip(truth["sample_id"], truth["true_label"], strict=True))
    chosen = SETS[name]
    made = chosen.rows(data)
    table, truth = made.table, made.table["truth"].to_numpy()
    checked = table.loc[draw_trusted(truth, (table["split"] == "train").to_numpy(), chosen.trusted), ["id", "truth"]]
    checked = checked.rename(columns={"truth": "label"})
    write(folder / "checked.csv", checked.to_csv(index=False).encode())
    dataset: dict[str, Any] = {"name": name, "columns": WHO, "trusted": {
        "path": "checked.csv", "columns": {"sample_id": "id", "trusted_label": "label"}}}  # fmt: skip
    rows = table.drop(columns="truth")
    if made.images is None:
        held = io.BytesIO()
        np.save(held, made.features, allow_pickle=False)
        write(folder / "features.npy", held.getvalue())
        dataset |= {"kind": "features", "table": "rows.parquet", "features": "features.npy"}
    else:
        rows["image"] = made.images.to_numpy()
        dataset |= {"kind": "parquet", "path": "rows.parquet", "columns": {**WHO, "image": "image"}}
    write(folder / "rows.parquet", rows.to_parquet())
    write(folder / "clean.yaml", yaml.safe_dump({"dataset": dataset, **chosen.sections}, sort_keys=False).encode())
    return folder / "clean.yaml", dict(zip(table["id"], truth.tolist(), strict=True))


def draw_trusted(truth: np.ndarray, allowed: np.ndarray, number: int) -> np.ndarray:
    """Draw some rows of every class, all where there are fewer."""
    generator = np.random.default_rng(0)
    of = [np.flatnonzero(allowed & (truth == label)) for label in np.unique(truth)]
    return np.sort(np.concatenate([generator.choice(rows, min(number, len(rows)), replace=False) for rows in of]))


def write(path: Path, content: bytes) -> None:
    """Write a file unless it is as it should be: time stamps are part of what a source is known by."""
    if not path.exists() or path.read_bytes() != content:
        path.write_bytes(content)
