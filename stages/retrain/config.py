"""Every knob of the stage retrain."""

from pathlib import Path
from typing import Any, Final, Literal, Self

from pydantic import Field, model_validator

from pipeline.config import StageConfig, counted
from stages.networks.brought import WeightsOptions
from stages.retrain.options import (
    CdrOptions,
    CoTeachingOptions,
    CrossEntropyOptions,
    DivideMixOptions,
    ElrOptions,
    ElrPlusOptions,
    GceOptions,
    MlcOptions,
    MlntOptions,
    MslgOptions,
    OutsideOptions,
    SceOptions,
)

STAGE: Final = "retrain"
KIND: Final = "models"
VERSIONS: Final[dict[str, int]] = {
    "cross_entropy": 3, "gce": 2, "sce": 2, "elr": 2, "elr_plus": 1, "co_teaching": 2, "cdr": 2, "divide_mix": 1,
    "mlnt": 1, "mlc": 1, "mslg": 1, "outside": 1,
}  # fmt: skip

Method = Literal[
    "cross_entropy", "gce", "sce", "elr", "elr_plus", "co_teaching", "cdr", "divide_mix", "mlnt", "mlc", "mslg",
    "outside",
]  # fmt: skip
TRUSTING: Final = ("mlc", "mslg")  # these cannot do without trusted rows
LOOKING_AHEAD: Final = ("mlnt", "mlc", "mslg")  # functions of their weights: neither compiled nor shared by processes


class RetrainConfig(StageConfig):
    """Train the model that the user deploys, on purified or on given labels."""

    enabled: bool = Field(
        True, title="Train a model", description="Off: stop at the label table", json_schema_extra={"key": False}
    )
    method: Method = Field("cross_entropy", title="Method", description="How to learn from the labels")
    labels: Literal["purified", "given", "both"] = Field(
        "purified", title="Labels",
        description="Labels to learn from; both = one model on each, to compare: the one on purified labels is kept, "
        "the other's figures stand beside it. The given labels are taken as they came, rows without one left out",
    )  # fmt: skip
    start_from: Literal["encoder", "scratch", "weights"] = Field(
        "encoder", title="Start from",
        description="Weights that an image network starts with: the encoder's, random ones, or those of a file "
        "(retrain.weights, retrain.backbone)",
    )  # fmt: skip
    backbone: str = Field(
        "", pattern=r"^([a-z0-9_]+|timm/[A-Za-z0-9_.]+)?$", title="Backbone",
        description="For weights, and if wanted for scratch: the architecture, as in represent; empty: the encoder's",
        json_schema_extra={"key": "changed"},
    )  # fmt: skip
    image_size: int = Field(
        0, ge=0, le=1024, multiple_of=2, title="Image size",
        description="For scratch and weights: pixels per side that the network sees; 0: with weights what the backbone "
        "was made for, else the encoder's",
        json_schema_extra={"key": "changed"},
    )  # fmt: skip
    weights: WeightsOptions = Field(
        default_factory=WeightsOptions, title="Weights",
        description="For start_from weights: a file, and how its network sees images",
    )  # fmt: skip
    freeze: bool = Field(False, title="Freeze", description="Train the head only and leave the image network as it is")
    hidden: int = Field(
        0, ge=0, le=16384, title="Hidden width", description="Hidden units of the head on features; 0 = linear"
    )
    epochs: int = Field(30, ge=1, le=10_000, title="Epochs", description="Passes over the training rows")
    batch_size: int = Field(128, ge=1, le=65_536, title="Batch size", description="Rows per step")
    optimizer: Literal["adamw", "sgd"] = Field(
        "adamw", title="Optimiser",
        description="adamw; or sgd with momentum, as in most papers, which takes another learning rate (0.02) and "
        "weight decay (0.0005)",
        json_schema_extra={"key": "changed"},
    )  # fmt: skip
    learning_rate: float = Field(
        0.002, gt=0, le=100, title="Learning rate", description="The highest; it falls along a cosine to 0"
    )
    layer_decay: float = Field(
        1.0, gt=0, le=1, title="Layer decay",
        description="For an image network: each layer below the head learns at so much of the rate of the one above; "
        "1: all alike. 0.7 keeps most of what a good encoder knows",
        json_schema_extra={"key": "changed"},
    )  # fmt: skip
    head_first: int = Field(
        0, ge=0, le=10_000, title="Head first",
        description="Epochs at the start in which the head alone learns, on an image network that rests",
        json_schema_extra={"key": "changed"},
    )  # fmt: skip
    weight_decay: float = Field(
        0.01, ge=0, le=10, title="Weight decay", description="Pull of the weights to zero; adamw's is decoupled"
    )
    shift: float = Field(
        0.1, ge=0, le=0.5, title="Shift", description="Share of its size by which a picture is moved at random; 0 = off"
    )
    flip: bool = Field(
        False, title="Mirror", description="Mirror pictures at random; leave off where left and right differ (digits)"
    )
    review_rows: Literal["drop", "downweight", "keep"] = Field(
        "downweight", title="Rows to review",
        description="What to do with purified rows that wait for a review: leave them out, count each by its "
        "confidence, or take them as they are",
    )  # fmt: skip
    weigh_by_confidence: bool = Field(
        False, title="Weigh by confidence", description="Count every purified row by its calibrated confidence"
    )
    balance: float = Field(
        0.0, ge=0, le=1, title="Balance classes",
        description="How far rare classes count more: 0 every row alike, 1 every class alike, 0.5 between",
        json_schema_extra={"key": "changed"},
    )  # fmt: skip
    precision: Literal["mixed", "full"] = Field(
        "mixed", title="Precision", description="mixed: bfloat16 where the device is faster with it; full: float32"
    )
    compile: bool = Field(
        False, title="Compile",
        description="Compile the networks by torch.compile: a minute at the start, faster steps on a GPU; the same "
        "result but for rounding. mlnt, mlc and mslg go without",
        json_schema_extra={"key": False},
    )  # fmt: skip
    embeddings: bool = Field(
        False, title="Embeddings",
        description="Write what the last layer of the model sees of every row into the predictions",
        json_schema_extra={"key": "changed"},
    )  # fmt: skip
    onnx: bool = Field(
        False, title="ONNX", description="Write the model as ONNX too, checked against torch (needs puriflow[onnx])",
        json_schema_extra={"key": "changed"},
    )  # fmt: skip
    seed: int = Field(0, ge=0, lt=2**63, title="Seed", description="Decides start weights, order and augmentation")
    cross_entropy: CrossEntropyOptions = Field(
        default_factory=CrossEntropyOptions, title="cross_entropy", description="Options of cross_entropy"
    )
    gce: GceOptions = Field(default_factory=GceOptions, title="gce", description="Options of gce")
    sce: SceOptions = Field(default_factory=SceOptions, title="sce", description="Options of sce")
    elr: ElrOptions = Field(default_factory=ElrOptions, title="elr", description="Options of elr")
    co_teaching: CoTeachingOptions = Field(
        default_factory=CoTeachingOptions, title="co_teaching", description="Options of co_teaching"
    )
    cdr: CdrOptions = Field(default_factory=CdrOptions, title="cdr", description="Options of cdr")
    elr_plus: ElrPlusOptions = Field(
        default_factory=ElrPlusOptions, title="elr_plus", description="Options of elr_plus"
    )
    divide_mix: DivideMixOptions = Field(
        default_factory=DivideMixOptions, title="divide_mix", description="Options of divide_mix"
    )
    mlnt: MlntOptions = Field(default_factory=MlntOptions, title="mlnt", description="Options of mlnt")
    mlc: MlcOptions = Field(default_factory=MlcOptions, title="mlc", description="Options of mlc")
    mslg: MslgOptions = Field(default_factory=MslgOptions, title="mslg", description="Options of mslg")
    outside: OutsideOptions = Field(
        default_factory=OutsideOptions, title="outside", description="Options of outside: a trainer of the operator's"
    )

    @model_validator(mode="after")
    def _fits_its_start(self) -> Self:
        if self.start_from == "weights" and not self.weights.path:
            raise ValueError("retrain.weights.path is missing; start_from weights needs a file")
        if self.start_from == "weights" and not self.backbone:
            raise ValueError("retrain.backbone must name the network of the weights, such as resnet50 or timm/NAME")
        if self.start_from == "encoder" and (self.backbone or self.image_size):
            raise ValueError("backbone and image_size count with start_from scratch or weights only")
        if self.freeze and (self.head_first or self.layer_decay < 1):
            raise ValueError("freeze trains the head alone, so head_first and layer_decay mean nothing")
        if self.method == "outside" and not self.outside.trainer:
            raise ValueError("retrain.outside.trainer is missing; name a trainer that the operator defined")
        return self

    def identity(self) -> dict[str, Any]:
        """Return what decides the output: the file of weights too, where the training starts from it."""
        counts = super().identity()
        return {**counts, "weights": counted(self.weights)} if self.start_from == "weights" else counts

    def resolved(self, folder: Path) -> Self:
        """Make relative paths absolute from a folder."""
        return self.model_copy(update={"weights": self.weights.resolved(folder)})
