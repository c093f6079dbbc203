"""Every knob of embed: features of all samples, their neighbours, strangers and duplicates."""

from typing import Final

from pydantic import Field

from pipeline.config import StageConfig

STAGE: Final = "embed"
KIND: Final = "neighbours"
VERSIONS: Final[dict[str, int]] = {"": 2}
FEATURES_VERSION: Final = 1
GPU_TIMES: Final = 25  # a GPU searches as many times more rows exactly in like time


class EmbedConfig(StageConfig):
    """How samples become features and which of them are neighbours."""

    k: int = Field(50, ge=1, le=1000, title="Neighbours", description="Neighbours listed for each sample")
    exact_rows: int = Field(
        200_000,
        ge=1,
        title="Exact up to",
        description="Up to so many rows every row is compared with every other on a CPU, up to 25 times as many on a "
        "GPU; above that with those of the nearest cells only, as far as `recall` asks for",
    )
    recall: float = Field(
        0.95,
        ge=0.5,
        le=1,
        title="Recall",
        description="Share of the true neighbours that an inexact search must find, measured on 1,000 rows",
    )
    index: bool = Field(
        False,
        title="faiss index",
        description="Also write `index.faiss`, to ask for the neighbours of rows of your own (nothing here reads it)",
    )
    duplicate_similarity: float = Field(
        0.999,
        gt=0,
        le=1,
        title="Near duplicates",
        description="Cosine of the centred features from which rows count as the same; byte-identical ones always do",
    )
    flip_average: bool = Field(
        False, title="Mirror average", description="Average the features of an image and its mirror image"
    )
    batch_size: int = Field(
        256,
        ge=1,
        le=65_536,
        title="Batch",
        description="Images in a step; lower it where memory runs out",
        json_schema_extra={"key": False},
    )
