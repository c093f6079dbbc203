"""Every knob of the stage review."""

from typing import Literal

from pydantic import Field

from pipeline.config import StageConfig

STAGE = "review"
KIND = "reviews"
Method = Literal["expected_gain", "uncertainty", "disagreement", "random", "cover"]
VERSIONS: dict[str, int] = {"expected_gain": 1, "uncertainty": 1, "disagreement": 1, "random": 1, "cover": 1}


class ReviewConfig(StageConfig):
    """Pick rows that a person should look at, and write the page to do it on."""

    method: Method = Field(
        "expected_gain",
        title="Method",
        description="How rows are picked, the random share aside; cover needs no labels",
    )
    seed: int = Field(0, ge=0, le=2**63 - 1, title="Seed", description="Draws the random share and the order")
    rows: int = Field(100, ge=1, le=2000, title="Rows", description="How many rows to show")
    random_share: float = Field(
        0.25, ge=0.0, le=1.0, title="Random share",
        description="Share of the rows that is drawn evenly instead of picked: only such rows can measure",
    )  # fmt: skip
    decided: int = Field(
        0, ge=0, title="Ledger", description="Leave out what the ledger of decisions held up to this of its files"
    )
    thumbnail: int = Field(256, ge=32, le=1024, title="Picture", description="Longer side of a picture in pixels")
    neighbours: int = Field(8, ge=0, le=24, title="Neighbours", description="Nearest rows shown beside each row")
    columns: tuple[str, ...] = Field(
        (), max_length=20, title="Columns", description="Own columns to show with a row; empty = the first six"
    )
