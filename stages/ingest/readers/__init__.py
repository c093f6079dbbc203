"""Readers: one file for each way that samples can be laid out."""

from typing import assert_never

from pipeline.datasets.config import DatasetConfig
from stages.ingest.readers.features import read_features
from stages.ingest.readers.image_folder import read_image_folder
from stages.ingest.readers.table import read_rows
from stages.ingest.readers.torchvision import read_torchvision
from stages.ingest.samples import Samples


def read_samples(config: DatasetConfig, roots: list[str]) -> Samples:
    """Read all rows of a dataset, its images and features not yet."""
    match config.kind:
        case "image_folder":
            return read_image_folder(config, roots)
        case "table" | "parquet":
            return read_rows(config, roots)
        case "features":
            return read_features(config)
        case "torchvision":
            return read_torchvision(config, roots)
        case _:
            assert_never(config.kind)
