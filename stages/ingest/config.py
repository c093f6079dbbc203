"""Every knob of ingest is the dataset itself."""

from pipeline.datasets.config import Columns, DatasetConfig, SideTable

STAGE = "ingest"
KIND = "datasets"
VERSIONS = {"": 1}

__all__ = ["KIND", "STAGE", "VERSIONS", "Columns", "DatasetConfig", "SideTable"]
