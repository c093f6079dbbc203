"""What may happen to an image without changing what it shows: the knobs alone, without torch."""

from pydantic import Field

from pipeline.config import Config


class Augmentation(Config):
    """How strongly, and in which ways, views of one image may differ."""

    crop_scale: float = Field(
        0.2, gt=0, le=1, title="Smallest crop", description="Smallest share of the area that a crop keeps; 1 = no crop"
    )
    crop_ratio: float = Field(
        0.75, gt=0, le=1, title="Crop aspect", description="Smallest width to height of a crop; 1 = square crops"
    )
    flip: bool = Field(True, title="Mirror", description="Mirror left to right; no for digits, letters and the like")
    rotation: float = Field(0.0, ge=0, le=180, title="Rotation", description="Largest rotation in degrees, either way")
    shift: float = Field(
        0.0, ge=0, le=0.5, title="Shift", description="Largest shift as a share of the size; black comes in"
    )
    colour: float = Field(
        0.5, ge=0, le=1, title="Colour", description="Strength of changes of brightness, contrast, saturation and hue"
    )
    grey: float = Field(0.2, ge=0, le=1, title="Grey", description="Probability of losing the colours")
    blur: float = Field(0.0, ge=0, le=1, title="Blur", description="Probability of a blur; for images above 64 pixels")
