"""Every knob of embed: features of all samples, their neighbours, strangers and duplicates."""

from typing import Final

from pydantic import Field

from pipeline.config import StageConfig

STAGE: Final = "embed"
KIND: Final = "neighbours"
VERSIONS: Final[dict[str, int]] = {"": 1}
FEATURES_VERSION: Final = 1


class EmbedConfig(StageConfig):
    """How samples become features and which of them are neighbours."""

    k: int = Field(50, ge=1, le=1000, title="Neighbours", description="Neighbours listed for each sample")
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
