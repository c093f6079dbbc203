"""The program `python -m stages.retrain REQUEST`."""

from stages.retrain.config import RetrainConfig
from stages.retrain.produce import produce
from stages.shell import run

if __name__ == "__main__":
    run(RetrainConfig, produce, shared=True)
