"""Every knob of represent: training an encoder without labels."""

from typing import Final, Literal

from pydantic import Field

from pipeline.config import MethodOptions, StageConfig
from stages.images.augmentation import Augmentation

STAGE: Final = "represent"
KIND: Final = "encoders"
VERSIONS: Final[dict[str, int]] = {"simclr": 1}


class SimclrOptions(MethodOptions):
    """SimCLR's own knobs; the defaults are the paper's for CIFAR-10."""

    temperature: float = Field(0.5, gt=0, le=10, title="Temperature", description="Scale of the similarities")
    hidden_dim: int = Field(512, ge=8, le=8192, title="Hidden width", description="Width of the projection head")
    projection_dim: int = Field(128, ge=8, le=4096, title="Projection", description="Numbers that the loss compares")


class RepresentConfig(StageConfig):
    """How an encoder is learned from images alone, or which one is taken."""

    method: Literal["simclr"] = Field("simclr", title="Method", description="The self-supervised method")
    backbone: str = Field(
        "small_cnn",
        pattern=r"^[a-z0-9_]+$",
        title="Backbone",
        description="small_cnn (for CPUs and small images), resnet18, or another torchvision ResNet",
    )
    width: int = Field(
        64,
        ge=8,
        le=512,
        multiple_of=8,
        title="Width",
        description="Channels of small_cnn's first block; others ignore it",
    )
    image_size: int = Field(
        32,
        ge=8,
        le=1024,
        multiple_of=4,
        title="Image size",
        description="Pixels per side that the network sees; images of any size are scaled and centre-cropped to it",
    )
    epochs: int = Field(100, ge=1, le=10_000, title="Epochs", description="Passes over all images")
    batch_size: int = Field(256, ge=2, le=65_536, title="Batch", description="Images in a step")
    optimizer: Literal["sgd", "adamw", "lars"] = Field(
        "sgd", title="Optimiser", description="sgd with momentum, adamw, or lars for batches above 1,024"
    )
    learning_rate: float = Field(
        0.06, gt=0, le=100, title="Learning rate", description="At 256 images a step; it grows with the batch size"
    )
    weight_decay: float = Field(5e-4, ge=0, le=1, title="Weight decay", description="Pull of the weights to zero")
    warmup: float = Field(
        0.05, ge=0, le=0.5, title="Warm-up", description="Share of the steps in which the learning rate rises"
    )
    precision: Literal["mixed", "full"] = Field(
        "mixed", title="Precision", description="mixed: bfloat16 where the device is faster with it; full: float32"
    )
    seed: int = Field(0, ge=0, le=2**63 - 1, title="Seed", description="Same seed, same encoder (on one device)")
    augmentation: Augmentation = Field(
        default_factory=Augmentation, title="Augmentation", description="How two views of an image may differ"
    )
    encoder: str = Field(
        "",
        pattern=r"^(|latest|new|[0-9a-f]{4,64})$",
        title="Encoder",
        description="'' follows refresh_when_grown; latest, new, or the key of an encoder override it",
        json_schema_extra={"key": False},
    )
    refresh_when_grown: float = Field(
        0.2,
        ge=0,
        le=1,
        title="Refresh",
        description="Train a new encoder once more than this share of the images is new to the last one",
        json_schema_extra={"key": False},
    )
    simclr: SimclrOptions = Field(default_factory=SimclrOptions, title="SimCLR", description="Options of simclr")
