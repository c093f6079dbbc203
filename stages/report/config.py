"""Every knob of the stage report."""

from typing import Literal

from pydantic import Field

from pipeline.config import StageConfig

STAGE = "report"
KIND = "reports"
VERSIONS: dict[str, int] = {"": 4}


class ReportConfig(StageConfig):
    """How much the page shows; it never says less than it knows without saying so."""

    title: str = Field("", max_length=300, title="Title", description="Heading; empty = the title of the document")
    groups: int = Field(
        24, ge=1, le=500, title="Groups", description="Groups 'given → purified' that get a gallery, the largest first"
    )
    per_group: int = Field(8, ge=1, le=100, title="Rows per group", description="Rows shown in each gallery")
    review_rows: int = Field(24, ge=0, le=1000, title="Review queue", description="Rows of the review queue shown")
    oddities: int = Field(
        12, ge=0, le=1000, title="Oddities", description="Rows shown of each of duplicates, outliers and broken files"
    )
    thumbnail: int = Field(72, ge=16, le=256, title="Thumbnail", description="Longer side of a thumbnail in pixels")
    columns: tuple[str, ...] = Field(
        (), max_length=20, title="Columns", description="Own columns to show with a row; empty = the first three"
    )
    max_megabytes: float = Field(
        4.0, ge=0.5, le=50, title="Largest page", description="Size in MB beyond which pictures are left out, saying so"
    )
    map_points: int = Field(
        1200,
        ge=0,
        le=5000,
        title="Points of the map",
        description="Rows sampled for the map; 0: no map",
    )
    projection: Literal["tsne", "pca"] = Field(
        "tsne", title="Projection", description="How the map is made: tsne keeps like rows together, pca is faster"
    )
    times: bool = Field(
        True, title="Seconds per stage",
        description="Show how long each stage took; off: the same data always gives the same page, byte for byte",
    )  # fmt: skip
