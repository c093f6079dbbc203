"""Write simple features of small data sets for benchmarks/purifiers.py: FOLDER/NAME.npy and FOLDER/NAME.parquet.

`python benchmarks/simple_features.py digits fashion trec twitter-pos`: digits by their pixels, Fashion-MNIST
by 100 principal components of them, TREC questions and tweets' words by character n-grams (TF-IDF, 200 components). No
label is read to make a feature.
"""

import argparse
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer


def digits(_data: Path) -> tuple[np.ndarray, pd.DataFrame]:
    pixels, labels = load_digits(return_X_y=True)
    return pixels.astype(np.float16), pd.DataFrame({"id": [f"d{i:04d}" for i in range(len(labels))], "label": labels})


def fashion(data: Path) -> tuple[np.ndarray, pd.DataFrame]:
    table = pd.read_parquet(data / "fashion-mnist-train.parquet")
    pixels = np.stack([np.asarray(Image.open(io.BytesIO(i["bytes"])).convert("L")).ravel() for i in table["image"]])
    return PCA(100, random_state=0).fit_transform(pixels.astype(np.float32) / 255).astype(np.float16), table[
        ["id", "label"]
    ]


def words(texts: pd.Series) -> np.ndarray:
    counts = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 4), min_df=3, sublinear_tf=True).fit_transform(texts)
    return TruncatedSVD(200, random_state=0).fit_transform(counts).astype(np.float16)


def trec(data: Path) -> tuple[np.ndarray, pd.DataFrame]:
    table = pd.read_parquet(data / "trec.parquet")
    return words(table["text"]), table[["id", "label"]]


def twitter_pos(data: Path) -> tuple[np.ndarray, pd.DataFrame]:
    table = pd.read_parquet(data / "twitter-pos.parquet")
    return np.hstack([words(table["token"]), words(table["text"])]), table[["id", "label"]]


SETS: dict[str, Callable[[Path], tuple[np.ndarray, pd.DataFrame]]] = {
    "digits": digits, "fashion": fashion, "trec": trec, "twitter-pos": twitter_pos,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("simple-features"))
    parser.add_argument("names", nargs="*", default=list(SETS), metavar="NAME")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for name in options.names:
        features, table = SETS[name](options.data)
        np.save(options.folder / f"{name}.npy", features, allow_pickle=False)
        table.to_parquet(options.folder / f"{name}.parquet")
        print(f"{name}: {features.shape[0]:,} x {features.shape[1]}, {table['label'].nunique()} classes")


if __name__ == "__main__":
    main()
