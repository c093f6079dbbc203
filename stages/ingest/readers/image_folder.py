"""Kind image_folder: `[split/]class/anything.png`; the class is the first folder, the sample id the relative path."""

import os

import numpy as np
import pyarrow as pa

from pipeline.datasets.config import DatasetConfig
from pipeline.datasets.faults import naming
from pipeline.datasets.files import Files, walk
from pipeline.datasets.sources import base_folder, groups
from pipeline.errors import DataError
from stages.ingest.samples import Samples
from stages.ingest.splits import split_of

SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .png .webp .gif .bmp .dib .tif .tiff .ppm .pgm .pbm .pnm".split()  # noqa: SIM905
)


def read_image_folder(config: DatasetConfig, roots: list[str]) -> Samples:
    """List the images of all folders, with class and split by their place."""
    base, found, labels, splits, strangers = base_folder(config), Files(""), [], [], []
    sizes, times = [], []
    for group in groups(config):
        for folder in group.paths:
            if not folder.is_dir():
                raise DataError(f"{folder} is a file; kind image_folder needs a folder.", "Use kind table or parquet.")
            files = walk(folder, base, roots)
            images = [i for i, uri in enumerate(files.uri) if os.path.splitext(uri)[1].lower() in SUFFIXES]  # noqa: PTH122
            strangers += [uri for uri in files.uri if os.path.splitext(uri)[1].lower() not in SUFFIXES]  # noqa: PTH122
            uris = [files.uri[i] for i in images]
            top = os.path.relpath(os.path.realpath(folder), base)
            label, split = places([u if top == "." else u[len(top) + 1 :] for u in uris], group.split)
            found.uri += uris
            labels += label
            splits += split
            sizes.append(files.size[images])
            times.append(files.mtime[images])
    pictures = Files(base, found.uri, np.concatenate(sizes), np.concatenate(times))
    names = pa.array(pictures.uri, pa.string())
    roles = {"sample_id": names, "given_label_1": pa.array(labels, pa.string()), "split": pa.array(splits, pa.string())}
    left = [f"{len(strangers)} files without an image's extension were left aside: {naming(strangers)}"]
    return Samples(pa.table(roles), names, pictures, warnings=left if strangers else [])


def places(uris: list[str], split: str) -> tuple[list[str | None], list[str | None]]:
    """Read class and split off the paths; split folders count only where all top folders are some."""
    tops = {uri.split("/", 1)[0] for uri in uris if "/" in uri}
    in_splits = not split and bool(tops) and all(split_of(top) for top in tops)
    labels: list[str | None] = []
    splits: list[str | None] = []
    for uri in uris:
        parts = uri.split("/")
        splits.append(split_of(parts.pop(0)) if in_splits and len(parts) > 1 else split or None)
        labels.append(parts[0] if len(parts) > 1 else None)
    return labels, splits
