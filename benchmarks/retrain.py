"""Compare training methods on given and on purified labels by `puriflow compare`, on data whose truth is known here.

`python benchmarks/retrain.py digits features words images`: for each set it writes data and document into FOLDER/SET,
lets `puriflow compare` purify the labels once and train every cell, and writes benchmarks/results/retrain-SET.json:
accuracy on test rows with true labels (mean and spread over the seeds of the training), and which share of the train
labels is right before and after purifying. What is in the store already is not computed again. digits: the demo's
document. features: 8,000 of CIFAR-10's weak label-free features with the human labels `worse`. words: Twitter parts
of speech, 40 % wrong, words by vectors from their neighbours and their letters. images: 4,000 CIFAR-10 images. fashion,
trec: validation rows only, to choose options by. No label is read to make a feature; truth goes into the record alone.
"""

import argparse
import importlib
import io
import json
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml
from machine import describe_machine
from simple_features import fashion as fashion_features
from simple_features import trec as trec_features
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from flows import inline
from flows.catalogue import STAGES
from flows.child import Children, OnProgress
from flows.cli import main as puriflow
from flows.demo import write_demo
from pipeline.artifacts import Ref
from pipeline.labels import LABELS_FILE, read_labels
from pipeline.noise import inject
from pipeline.requests import StageRequest
from pipeline.store import FileStore
from stages.retrain.config import VERSIONS
from stages.shell.run import attempt
from stages.shell.stop import StopFlag

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


def labels_right(store: Path, model: str, truth: dict[str, int]) -> dict[str, float]:
    """Count right labels among the train rows whose label nobody told."""
    opened = FileStore(store)
    labels = opened.get(opened.get(Ref(kind="models", key=model)).manifest.inputs["labels"])
    table = read_labels(labels.path(LABELS_FILE)).to_pandas()
    rows = table[(table["split"] == "train") & ~table["trusted"]]
    true = rows["sample_id"].map(truth)
    shares = {name: float((rows[f"{name}_label"] == true).mean()) for name in ("given", "purified")}
    return {**shares, "rows": len(rows), "gate": labels.metrics["gate"]["verdict"]}


class Inside(Children):
    """Stages in this process: the same programs, without loading torch anew for each cell."""

    def __init__(self) -> None:
        super().__init__()
        self.flag = StopFlag()

    def run(self, request: StageRequest, on_progress: OnProgress) -> None:
        self._stop_if_asked()
        produce = importlib.import_module(f"stages.{request.stage}.produce").produce
        attempt(request, STAGES[request.stage].config_type, produce, self.flag)

    def ask_to_stop(self, number: int = signal.SIGTERM) -> None:
        self.flag.request(number)
        self._signal = number


def compare(name: str, options: argparse.Namespace) -> None:
    folder = options.folder / name
    document, truth = write_set(name, folder, options.data)
    methods = options.methods or (ALL if name == "digits" else SETS[name].methods)
    settings = [word for setting in options.set for word in ("--set", setting)]
    words = ["compare", str(document), "--methods", methods, "--labels", options.labels, "--seeds", str(options.seeds),
             "--workers", str(options.workers), "--out", str(folder / "compare"), *settings]  # fmt: skip
    inline.Children = Inside  # type: ignore[misc]
    if code := puriflow(words):
        sys.exit(code)
    found = json.loads((folder / "compare" / "compare.json").read_text(encoding="utf-8"))
    record = {
        **describe_machine(torch.device("cpu"), options.workers), "set": name, "settings": options.set,
        "document": document.read_text(encoding="utf-8"), "train_labels_right":
        labels_right(folder / "puriflow-store", found["cells"][0]["key"], truth), **found,
    }  # fmt: skip
    options.out.mkdir(parents=True, exist_ok=True)
    ending = f"-{options.name}" if options.name else ""
    target = options.out / f"retrain-{name}{ending}.json"
    target.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{target}: {record['train_labels_right']}")
    print((folder / "compare" / "compare.md").read_text(encoding="utf-8"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", choices=["digits", *SETS])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--folder", type=Path, default=Path("retrain-benchmark"), help="data, documents, stores")
    parser.add_argument("--methods", default="", help="default: those of the set")
    parser.add_argument("--labels", default="given,purified")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=0, help="threads; 0: all cores")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="passed on")
    parser.add_argument("--name", default="", help="ending of the record's name, where --set makes another one")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    for name in options.sets:
        if name != "digits" and not options.data.exists():
            sys.exit(f"there is no {options.data}: name the folder of the data with --data")
        compare(name, options)


if __name__ == "__main__":
    main()
