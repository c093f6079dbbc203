"""Kind torchvision: a class of torchvision.datasets, read from local files; its images are encoded again as PNG."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.datasets.config import DatasetConfig
from pipeline.datasets.faults import nearest
from pipeline.datasets.sources import groups, source_files
from pipeline.errors import ConfigError, DataError
from stages.ingest.readers.table import numbered
from stages.ingest.samples import Blobs, Pack, Samples

BATCH_ROWS = 256
TRIALS: tuple[tuple[str, dict[str, Any]], ...] = (  # how torchvision's classes name their halves
    ("train", {"train": True}), ("test", {"train": False}),
    ("train", {"split": "train"}), ("validation", {"split": "val"}), ("test", {"split": "test"}),
)  # fmt: skip


def read_torchvision(config: DatasetConfig, roots: list[str]) -> Samples:
    """Open every split that the local files hold."""
    files = list(source_files(config, roots))
    size = sum(int(f.size.sum()) for f in files)
    time = max((int(f.mtime.max()) for f in files if len(f)), default=0)
    halves = open_halves(config, groups(config)[0].paths[0])
    packs, sources, labels, splits = [], [], [], []
    for split, data in halves.items():
        uri = f"{config.torchvision}/{split}"
        packs.append(Pack(uri, size, time, len(data), lambda data=data: encoded(data)))  # type: ignore[misc]
        sources.append(numbered(uri, len(data)))
        labels += [str(label) for label in targets_of(data)]
        splits += [split] * len(data)
    ids = pa.concat_arrays(sources)
    roles = {"sample_id": ids, "given_label_1": pa.array(labels, pa.string()), "split": pa.array(splits, pa.string())}
    classes = [list(getattr(data, "classes", ())) for data in halves.values()]
    return Samples(pa.table(roles), ids, packs, class_names=[str(c) for c in classes[0]] or None)


def open_halves(config: DatasetConfig, root: Path) -> dict[str, Any]:
    """Open train, validation and test as far as the class and the files know them."""
    from torchvision import datasets

    kind = getattr(datasets, config.torchvision or "", None)
    if kind is None or config.torchvision not in datasets.__all__:
        raise ConfigError(
            f"torchvision has no dataset '{config.torchvision}'.", nearest(config.torchvision or "", datasets.__all__)
        )
    found: dict[str, Any] = {}
    faults = []
    for split, arguments in TRIALS:
        if split in found:
            continue
        try:
            found[split] = kind(str(root), **arguments)
        except (TypeError, ValueError):  # the class names its halves otherwise, or has no such half
            continue
        except (RuntimeError, FileNotFoundError) as error:
            faults.append(str(error).strip().split("\n")[0])
    if not found:
        why = faults[0] if faults else "it has neither train=True/False nor split='train'"
        raise DataError(
            f"torchvision.datasets.{config.torchvision} finds no data in {root}: {why}.",
            "Put its files there; nothing is downloaded.",
        )
    return found


def targets_of(data: Any) -> list[int]:
    """Read the labels without decoding images where the class allows it."""
    for name in ("targets", "labels", "_labels"):
        values = getattr(data, name, None)
        if values is not None and len(values) == len(data):
            return [int(v) for v in np.asarray(values)]
    return [int(data[i][1]) for i in range(len(data))]


def encoded(data: Any) -> Iterator[Blobs]:
    """Encode the images as PNG, batch by batch."""
    for start in range(0, len(data), BATCH_ROWS):
        yield [png(data[i][0]) for i in range(start, min(start + BATCH_ROWS, len(data)))]


def png(image: Any) -> bytes:
    """Encode one image without loss."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
