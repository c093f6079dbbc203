"""The program `python -m stages.purify REQUEST`."""

from stages.purify.config import PurifyConfig
from stages.purify.produce import produce
from stages.shell import run

if __name__ == "__main__":
    run(PurifyConfig, produce)
