"""The program `python -m stages.represent REQUEST`."""

from stages.represent.config import RepresentConfig
from stages.represent.produce import produce
from stages.shell import run

if __name__ == "__main__":
    run(RepresentConfig, produce, shared=True)
