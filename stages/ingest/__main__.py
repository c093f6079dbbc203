"""The program `python -m stages.ingest REQUEST`."""

from stages.ingest.config import DatasetConfig
from stages.ingest.produce import produce
from stages.shell import run

if __name__ == "__main__":
    run(DatasetConfig, produce)
