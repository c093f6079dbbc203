"""The program `python -m stages.review REQUEST`."""

from stages.review.config import ReviewConfig
from stages.review.produce import produce
from stages.shell import run

if __name__ == "__main__":
    run(ReviewConfig, produce)
