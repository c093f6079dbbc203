"""Every knob of represent: training an encoder without labels."""

from pathlib import Path
from typing import Any, Final, Literal, Self

from pydantic import Field, model_validator

from pipeline.config import StageConfig
from stages.images.augmentation import Augmentation
from stages.networks.brought import LEARNED_SIZE, WeightsOptions
from stages.represent.options import (
    BarlowTwinsOptions,
    ByolOptions,
    DinoOptions,
    MocoOptions,
    PatchesOptions,
    SimclrOptions,
    SimsiamOptions,
    VicregOptions,
)

STAGE: Final = "represent"
KIND: Final = "encoders"
VERSIONS: Final[dict[str, int]] = {
    "simclr": 1, "moco": 1, "simsiam": 1, "byol": 1, "barlow_twins": 1, "vicreg": 1, "dino": 1, "patches": 3,
    "weights": 1,
}  # fmt: skip

Method = Literal["simclr", "moco", "simsiam", "byol", "barlow_twins", "vicreg", "dino", "patches", "weights"]
DECIDING: Final = {  # where nothing is trained by steps, nothing else changes the encoder
    "weights": ("method", "backbone", "width", "image_size", "weights"),
    "patches": ("method", "image_size", "seed", "augmentation", "precision", "patches"),
}
UNTRAINED: Final[tuple[Method, ...]] = ("patches", "weights")  # made in another way than by steps


class RepresentConfig(StageConfig):
    """How an encoder is learned from images alone, or which one is taken."""

    method: Method = Field(
        "simclr", title="Method", description="The self-supervised method, or weights: an encoder from a file"
    )
    backbone: str = Field(
        "small_cnn",
        pattern=r"^([a-z0-9_]+|timm/[A-Za-z0-9_.]+)$",
        title="Backbone",
        description="small_cnn (for CPUs and small images), resnet18 or any classifier of torchvision, or timm/NAME; "
        "patches has a network of its own",
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
        0,
        ge=0,
        le=1024,
        multiple_of=2,
        title="Image size",
        description="Pixels per side that the network sees; images of any size are scaled and centre-cropped to it; "
        "0: 32 where an encoder is learned, what the backbone was made for with weights",
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
    accumulate: int = Field(
        1,
        ge=1,
        le=1024,
        title="Parts of a batch",
        description="Parts in which the encoder sees a batch that memory does not hold, each computed twice: the loss "
        "compares the whole batch all the same, batch norm sees one part",
        json_schema_extra={"key": "changed"},
    )
    recompute: bool = Field(
        False,
        title="Recompute",
        description="Compute what layers keep anew on the way back: less memory, a third more time, the same result",
        json_schema_extra={"key": False},
    )
    compile: bool = Field(
        False,
        title="Compile",
        description="Compile encoder and head by torch.compile: a minute at the start, faster steps on a GPU; the same "
        "result but for rounding. Not together with recompute",
        json_schema_extra={"key": False},
    )
    patience: int = Field(
        0,
        ge=0,
        le=10_000,
        title="Patience",
        description="End once so many epochs brought neither the loss nor the effective rank forward; 0: never. The "
        "learning rate is planned for all epochs, so an early end goes without its last, slow steps",
        json_schema_extra={"key": "changed"},
    )
    plateau: float = Field(
        0.01,
        ge=0,
        le=1,
        title="Plateau",
        description="For patience: by which share mean loss or effective rank must get better, seen against as many "
        "epochs before",
        json_schema_extra={"key": "changed"},
    )
    probe: bool = Field(
        False,
        title="Probe",
        description="Show while training how well trusted labels can be read off the features; it changes nothing",
        json_schema_extra={"key": False},
    )
    checkpoint_epochs: int = Field(
        0,
        ge=0,
        le=10_000,
        title="Checkpoint epochs",
        description="Write a checkpoint after every so many epochs, beside those by time; 0: by time only",
        json_schema_extra={"key": False},
    )
    precision: Literal["mixed", "full"] = Field(
        "mixed", title="Precision", description="mixed: bfloat16 where the device is faster with it; full: float32"
    )
    seed: int = Field(0, ge=0, le=2**63 - 1, title="Seed", description="Same seed, same encoder (on one device)")
    augmentation: Augmentation = Field(
        default_factory=Augmentation, title="Augmentation", description="How two views of an image may differ"
    )
    start: str = Field(
        "",
        pattern=r"^(|latest|[0-9a-f]{32})$",
        title="Start",
        description="Train on from the weights of an earlier encoder: latest (of this dataset, where there is one) or "
        "a key; '': from new ones. The encoder becomes an input of the new one",
        json_schema_extra={"key": False},  # what it names is an input, which every key holds
    )
    encoder: str = Field(
        "",
        pattern=r"^(|latest|new|[0-9a-f]{32})$",
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
    moco: MocoOptions = Field(default_factory=MocoOptions, title="MoCo", description="Options of moco")
    simsiam: SimsiamOptions = Field(default_factory=SimsiamOptions, title="SimSiam", description="Options of simsiam")
    byol: ByolOptions = Field(default_factory=ByolOptions, title="BYOL", description="Options of byol")
    barlow_twins: BarlowTwinsOptions = Field(
        default_factory=BarlowTwinsOptions, title="Barlow Twins", description="Options of barlow_twins"
    )
    vicreg: VicregOptions = Field(default_factory=VicregOptions, title="VICReg", description="Options of vicreg")
    dino: DinoOptions = Field(default_factory=DinoOptions, title="DINO", description="Options of dino")
    patches: PatchesOptions = Field(default_factory=PatchesOptions, title="Patches", description="Options of patches")
    weights: WeightsOptions = Field(
        default_factory=WeightsOptions, title="Weights", description="Options of weights: an encoder from a file"
    )

    @model_validator(mode="after")
    def start_what_trains(self) -> Self:
        """Refuse a start where there is no training that could go on."""
        if self.start and self.method in UNTRAINED:
            raise ValueError(f"method {self.method} trains no network, so it cannot start from an earlier one")
        return self

    @model_validator(mode="before")
    @classmethod
    def _size_of_its_own(cls, fields: Any) -> Any:
        learned = isinstance(fields, dict) and fields.get("method", "simclr") != "weights"
        return {**fields, "image_size": LEARNED_SIZE} if learned and not fields.get("image_size") else fields

    @model_validator(mode="after")
    def _names_what_it_takes(self) -> Self:
        if 0 < self.image_size < 8:
            raise ValueError("image_size must be at least 8, or 0.")
        if self.method == "weights" and not self.weights.path:
            raise ValueError("represent.weights.path is missing; method weights needs a file.")
        if self.method == "weights" and self.backbone == "small_cnn" and self.weights.normalise == "own":
            raise ValueError("represent.backbone must name the network of the weights, such as resnet50 or timm/NAME.")
        return self

    def identity(self) -> dict[str, Any]:
        """Return what decides the output: nothing that is said about training where nothing is trained."""
        counts = super().identity()
        return {name: counts[name] for name in DECIDING.get(self.method, counts)}

    def resolved(self, folder: Path) -> Self:
        """Make relative paths absolute from a folder."""
        return self.model_copy(update={"weights": self.weights.resolved(folder)})

    @model_validator(mode="after")
    def _check_compile(self) -> Self:
        if self.compile and self.recompute:
            raise ValueError("compile and recompute exclude each other. Choose speed or memory")
        return self
