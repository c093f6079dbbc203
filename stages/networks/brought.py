"""What a user says about weights that were trained elsewhere: the knobs alone, without torch."""

from pathlib import Path
from typing import Final, Literal, Self

from pydantic import Field, model_validator

from pipeline.config import MethodOptions
from pipeline.datasets.config import OnePath, absolute

LEARNED_SIZE: Final = 32  # pixels a side of what a small network learns from

Channels = tuple[float, ...]


class WeightsOptions(MethodOptions):
    """An encoder that was trained elsewhere, and how it wants to see images."""

    path: OnePath = Field(
        "",
        title="File",
        description="Weights in .safetensors, .pth or .pt; relative to the YAML's folder",
        json_schema_extra={"key": False},
    )
    sha256: str = Field(
        "",
        pattern=r"^([0-9a-f]{64})?$",
        title="Checksum",
        description="The file must have it where it is given; a run fills it in",
    )
    prefix: str = Field(
        "",
        max_length=200,
        title="Prefix",
        description="Take the tensors whose names begin so, such as encoder_k.; empty: the prefix that fits the most",
    )
    match: Literal["names", "order"] = Field(
        "names", title="Match", description="order: the same network under other names, its tensors in the same order"
    )
    normalise: Literal["own", "imagenet", "half", "none", "custom"] = Field(
        "own",
        title="Normalisation",
        description="own: as timm or torchvision say for the backbone; imagenet: ImageNet's mean and spread; half: to "
        "-1..1; none: 0..1 as it is; custom: mean and std",
    )
    mean: Channels = Field((), title="Mean", description="custom: of red, green, blue in 0..1")
    std: Channels = Field((), title="Spread", description="custom: of red, green, blue in 0..1")
    crop: float = Field(
        0.0,
        ge=0,
        le=1,
        title="Crop",
        description="Share of the shorter side that the centre square keeps, such as 0.875; 0: the backbone's own",
    )
    interpolation: Literal["own", "bilinear", "bicubic"] = Field(
        "own", title="Interpolation", description="How images are scaled; own: as the backbone's were"
    )

    @model_validator(mode="after")
    def _has_its_numbers(self) -> Self:
        counts = len(self.mean), len(self.std)
        if self.normalise == "custom" and (counts != (3, 3) or min(self.std) <= 0):
            raise ValueError("normalise custom needs mean and std of three numbers each, std above 0.")
        if self.normalise != "custom" and counts != (0, 0):
            raise ValueError("mean and std count only with normalise: custom.")
        return self

    def resolved(self, folder: Path) -> Self:
        """Make a relative path absolute from a folder."""
        return self.model_copy(update={"path": absolute(self.path, folder)}) if self.path else self
