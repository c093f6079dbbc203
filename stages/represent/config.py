"""Every knob of represent: training an encoder without labels."""

from typing import Final, Literal, Self

from pydantic import Field, model_validator

from pipeline.config import MethodOptions, StageConfig
from stages.images.augmentation import Augmentation

STAGE: Final = "represent"
KIND: Final = "encoders"
VERSIONS: Final[dict[str, int]] = {
    "simclr": 1, "moco": 1, "simsiam": 1, "byol": 1, "barlow_twins": 1, "vicreg": 1, "dino": 1, "patches": 1,
}  # fmt: skip

Method = Literal["simclr", "moco", "simsiam", "byol", "barlow_twins", "vicreg", "dino", "patches"]


UNTRAINED: Final[tuple[Method, ...]] = ("patches",)  # made in another way than by steps


class SimclrOptions(MethodOptions):
    """SimCLR's own knobs; the defaults are the paper's for CIFAR-10."""

    temperature: float = Field(0.5, gt=0, le=10, title="Temperature", description="Scale of the similarities")
    hidden_dim: int = Field(512, ge=8, le=8192, title="Hidden width", description="Width of the projection head")
    projection_dim: int = Field(128, ge=8, le=4096, title="Projection", description="Numbers that the loss compares")


class MocoOptions(MethodOptions):
    """MoCo's own knobs; the defaults are the authors' for CIFAR-10 (ImageNet: temperature 0.2, momentum 0.999)."""

    temperature: float = Field(0.1, gt=0, le=10, title="Temperature", description="Scale of the similarities")
    hidden_dim: int = Field(512, ge=8, le=8192, title="Hidden width", description="Width of the projection head")
    projection_dim: int = Field(128, ge=8, le=4096, title="Projection", description="Numbers that the loss compares")
    queue: int = Field(4096, ge=2, le=1_048_576, title="Queue", description="Earlier images to tell a view from")
    momentum: float = Field(0.99, ge=0, lt=1, title="Momentum", description="Share of the teacher that a step keeps")
    symmetric: bool = Field(True, title="Both ways", description="Let both views ask; no halves the work of a step")
    splits: int = Field(
        8, ge=1, le=256, title="Parts", description="Parts in which the teacher sees a batch, for its batch norm"
    )


class SimsiamOptions(MethodOptions):
    """SimSiam's own knobs; the defaults are the paper's for CIFAR-10 (ImageNet: 3 layers)."""

    layers: int = Field(2, ge=2, le=5, title="Layers", description="Layers of the projection head")
    hidden_dim: int = Field(2048, ge=8, le=8192, title="Hidden width", description="Width of the projection head")
    projection_dim: int = Field(2048, ge=8, le=8192, title="Projection", description="Numbers that the loss compares")
    predictor_dim: int = Field(
        512, ge=4, le=8192, title="Predictor", description="Width of the predictor: a bottleneck"
    )


class ByolOptions(MethodOptions):
    """BYOL's own knobs; the defaults suit small images (the paper on ImageNet: hidden_dim 4096, momentum 0.996)."""

    hidden_dim: int = Field(1024, ge=8, le=8192, title="Hidden width", description="Width of head and predictor")
    projection_dim: int = Field(256, ge=8, le=4096, title="Projection", description="Numbers that the loss compares")
    momentum: float = Field(
        0.99, ge=0, lt=1, title="Momentum", description="Share of the teacher that the first step keeps; it rises to 1"
    )


class BarlowTwinsOptions(MethodOptions):
    """Barlow Twins' own knobs; a head for small images (the paper on ImageNet: 3 layers, 8192 numbers)."""

    layers: int = Field(2, ge=2, le=5, title="Layers", description="Layers of the projection head")
    hidden_dim: int = Field(2048, ge=8, le=16_384, title="Hidden width", description="Width of the projection head")
    projection_dim: int = Field(2048, ge=8, le=16_384, title="Projection", description="Numbers that the loss compares")
    redundancy: float = Field(
        5e-3, gt=0, le=10, title="Redundancy", description="Weight of what different numbers have in common"
    )


class VicregOptions(MethodOptions):
    """VICReg's own knobs; the paper's weights, a head for small images (the paper on ImageNet: 8192 numbers)."""

    layers: int = Field(3, ge=2, le=5, title="Layers", description="Layers of the projection head")
    hidden_dim: int = Field(2048, ge=8, le=16_384, title="Hidden width", description="Width of the projection head")
    projection_dim: int = Field(2048, ge=8, le=16_384, title="Projection", description="Numbers that the loss compares")
    invariance: float = Field(25.0, ge=0, le=1e4, title="Invariance", description="Weight of the views' agreement")
    variance: float = Field(25.0, ge=0, le=1e4, title="Variance", description="Weight of keeping every number alive")
    covariance: float = Field(1.0, ge=0, le=1e4, title="Covariance", description="Weight of keeping numbers different")


class DinoOptions(MethodOptions):
    """DINO's own knobs; small images (the paper on ImageNet: 65,536 groups, 8 local views, momentum 0.996)."""

    hidden_dim: int = Field(2048, ge=8, le=8192, title="Hidden width", description="Width of the projection head")
    bottleneck_dim: int = Field(256, ge=4, le=4096, title="Bottleneck", description="Numbers before the groups")
    groups: int = Field(2048, ge=8, le=262_144, title="Groups", description="Soft groups that views are sorted into")
    student_temperature: float = Field(0.1, gt=0, le=10, title="Student's temperature", description="Its softness")
    teacher_temperature: float = Field(
        0.04, gt=0, le=10, title="Teacher's temperature", description="Its softness: below the student's"
    )
    centre_momentum: float = Field(
        0.9, ge=0, lt=1, title="Centre's momentum", description="Share of the centre that a step keeps"
    )
    momentum: float = Field(
        0.99, ge=0, lt=1, title="Momentum", description="Share of the teacher that the first step keeps; it rises to 1"
    )
    freeze_groups: float = Field(
        0.01, ge=0, le=1, title="Frozen groups", description="Share of the training in which the groups stay as drawn"
    )
    local_views: int = Field(
        0, ge=0, le=16, title="Local views", description="Small pieces of each image that the student sees as well"
    )
    local_scale: float = Field(
        0.4, ge=0.05, le=1, title="Local size", description="Largest share of the area that a local view shows"
    )


class PatchesOptions(MethodOptions):
    """What an encoder of patches is made of; learning rates, epochs, batches and backbones mean nothing to it."""

    atoms: int = Field(1024, ge=8, le=8192, title="Atoms", description="Patches that all patches are compared with")
    patch_size: int = Field(
        6, ge=2, le=32, title="Patch", description="Pixels per side of a patch; half of image_size at most"
    )
    stride: int = Field(
        1, ge=1, le=8, title="Stride", description="Pixels between patches at 32 pixels a side; 2 is four times faster"
    )
    grid: int = Field(2, ge=1, le=4, title="Grid", description="Cells per side in which the answers are averaged")
    dim: int = Field(512, ge=1, le=4096, title="Features", description="Numbers that stand for an image, at most")
    images: int = Field(10_000, ge=2, le=1_000_000, title="Images", description="Images to fit on, at most")
    views: int = Field(3, ge=2, le=32, title="Views", description="Augmented views of each of them")


class RepresentConfig(StageConfig):
    """How an encoder is learned from images alone, or which one is taken."""

    method: Method = Field("simclr", title="Method", description="The self-supervised method")
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

    @model_validator(mode="after")
    def start_what_trains(self) -> Self:
        """Refuse a start where there is no training that could go on."""
        if self.start and self.method in UNTRAINED:
            raise ValueError(f"method {self.method} trains no network, so it cannot start from an earlier one")
        return self
