"""What each method of retrain has for itself: the knobs alone, without torch."""

from pydantic import Field

from pipeline.config import MethodOptions


class NoisyOptions(MethodOptions):
    """What methods share that must know how many labels are wrong."""

    noise_rate: float = Field(
        0.0, ge=0, lt=1, title="Noise rate",
        description="Share of the labels that are wrong; 0: as the label table tells, 1 − the mean confidence in them",
    )  # fmt: skip


class CrossEntropyOptions(MethodOptions):
    """Plain supervised learning, with hard or soft targets."""

    soft: bool = Field(
        False, title="Soft targets",
        description="Learn the purifier's calibrated beliefs instead of its single best label; trusted rows stay hard, "
        "and so do all rows where the gate is closed",
    )  # fmt: skip
    label_smoothing: float = Field(
        0.0, ge=0, lt=1, title="Label smoothing", description="Share of every target that is spread over all classes"
    )
    mixup: float = Field(
        0.0, ge=0, le=32, title="Mixup", description="Parameter of the Beta distribution that mixes two rows; 0 = off"
    )
    cutmix: float = Field(
        0.0, ge=0, le=32, title="CutMix",
        description="Parameter of the Beta distribution of the share of a picture that another one covers; 0 = off. "
        "With mixup too, each step takes one of the two at random",
    )  # fmt: skip


class GceOptions(MethodOptions):
    """Generalised cross-entropy; the paper's values."""

    q: float = Field(0.7, gt=0, le=1, title="q", description="From cross-entropy (near 0) to absolute error (1)")
    truncate: float = Field(
        0.0, ge=0, lt=1, title="Truncate",
        description="Rows whose label is thought less likely than this teach nothing (the paper: 0.5); 0 = off",
    )  # fmt: skip
    truncate_after: float = Field(
        0.3, ge=0, le=1, title="Truncate after", description="Share of the training that goes without truncating"
    )


class SceOptions(MethodOptions):
    """Symmetric cross-entropy; the paper's values for CIFAR-10 (CIFAR-100: alpha 6, beta 0.1)."""

    alpha: float = Field(0.1, ge=0, le=100, title="alpha", description="Weight of the cross-entropy")
    beta: float = Field(1.0, ge=0, le=100, title="beta", description="Weight of the reverse cross-entropy")
    log_zero: float = Field(
        -4.0, ge=-20, lt=0, title="log 0", description="What stands for the logarithm of a target that is 0"
    )


class ElrOptions(MethodOptions):
    """Early-learning regularisation; the paper's values for CIFAR-10 (CIFAR-100: 0.9 and 7)."""

    beta: float = Field(0.7, ge=0, lt=1, title="beta", description="Share of a row's memory that an epoch keeps")
    weight: float = Field(
        3.0, ge=0, le=1000, title="lambda", description="Weight of the pull towards what was learned early"
    )


class CoTeachingOptions(NoisyOptions):
    """Co-teaching."""

    ramp: float = Field(
        0.1, gt=0, le=1, title="Ramp", description="Share of the training in which ever more rows are set aside"
    )


class CdrOptions(NoisyOptions):
    """CDR."""


class ElrPlusOptions(ElrOptions):
    """ELR+; the paper's values for CIFAR-10."""

    mixup: float = Field(1.0, gt=0, le=32, title="Mixup", description="Parameter of the Beta distribution of blends")
    momentum: float = Field(
        0.997, ge=0, lt=1, title="Momentum", description="Share of the slow copies' weights that a step keeps"
    )


class DivideMixOptions(NoisyOptions):
    """DivideMix; the paper's values for CIFAR-10."""

    warmup: float = Field(0.1, ge=0, lt=1, title="Warm-up", description="Share of the training on all labels")
    penalty: float = Field(
        0.0, ge=0, le=10, title="Penalty",
        description="Weight of a penalty on being sure in the warm-up: 1 where classes are mistaken one way",
    )  # fmt: skip
    threshold: float = Field(
        0.5, ge=0, lt=1, title="Threshold", description="Labels more likely right than this are kept"
    )
    sharpness: float = Field(0.5, gt=0, le=1, title="Temperature", description="The smaller, the surer are guesses")
    mixup: float = Field(4.0, gt=0, le=32, title="Mixup", description="Parameter of the Beta distribution of blends")
    unlabelled: float = Field(
        25.0, ge=0, le=1000, title="Unlabelled",
        description="Weight of rows without labels from 50 % noise on; up to 20 % it is 0, between it rises evenly "
        "(a hundred classes: 150)",
    )  # fmt: skip
    ramp: float = Field(
        0.05, gt=0, le=1, title="Ramp", description="Share of the training in which that weight rises after the warm-up"
    )
    prior: float = Field(
        1.0, ge=0, le=100, title="Prior", description="Weight of having all classes alike; 0 where some are rare"
    )


class TrustingOptions(MethodOptions):
    """What methods share that learn labels from trusted rows."""

    warmup: float = Field(
        0.2, ge=0, lt=1, title="Warm-up", description="Share of the training on the labels as they are"
    )
    trusted_rows: int = Field(
        128,
        ge=1,
        le=65_536,
        title="Trusted rows",
        description="Trusted rows that judge a step, all where there are fewer",
    )


class MlcOptions(TrustingOptions):
    """Meta loss correction."""

    inner_rate: float = Field(0.1, gt=0, le=100, title="Inner rate", description="Learning rate of the step looked at")
    matrix_rate: float = Field(10.0, gt=0, le=1e6, title="Matrix rate", description="Learning rate of the noise matrix")
    remember: bool = Field(
        True, title="Remember", description="Go on with the noise matrix of the last step; no: begin anew each time"
    )


class MslgOptions(TrustingOptions):
    """Meta soft label generation; the paper's values, its label rate of 4000 for batches of 128."""

    inner_rate: float = Field(
        0.5, gt=0, le=100, title="alpha", description="Learning rate of the step looked at, times the number of classes"
    )
    label_rate: float = Field(31.25, gt=0, le=1e6, title="beta", description="Learning rate of the labels, for one row")
    sharpness: float = Field(10.0, gt=0, le=100, title="K", description="Score of a label in its row's soft label")
    entropy: float = Field(1.0, ge=0, le=10, title="gamma", description="Weight of being sure")


class MlntOptions(MethodOptions):
    """MLNT; the paper's values for CIFAR-10, with SGD."""

    sets: int = Field(10, ge=1, le=100, title="Sets", description="Sets of made-up labels in a step")
    share: float = Field(0.5, gt=0, le=1, title="Share", description="Share of the rows whose label is exchanged")
    neighbours: int = Field(
        10, ge=1, le=1000, title="Neighbours", description="Nearest rows of the batch to take a label from"
    )
    inner_rate: float = Field(0.2, gt=0, le=100, title="Inner rate", description="Learning rate of the step looked at")
    meta_rate: float = Field(0.4, ge=0, le=100, title="Meta rate", description="Learning rate of the meta step")
    ramp: float = Field(
        0.17, gt=0, le=1, title="Ramp", description="Share of the training in which the meta rate rises from 0"
    )
    momentum: float = Field(
        0.99, ge=0, lt=1, title="Momentum", description="Share of the teacher's weights that a step keeps"
    )
    second_order: bool = Field(
        True, title="Second order", description="Through the step; no: at its end, for about half the work"
    )


class OutsideOptions(MethodOptions):
    """A trainer that the operator of the worker defined."""

    trainer: str = Field(
        "", pattern=r"^([a-z0-9][a-z0-9._-]{0,63})?$", title="Trainer",
        description="Its name among those that the worker's PURIFLOW_TRAINERS defines",
    )  # fmt: skip
    version: str = Field(
        "",
        max_length=64,
        title="Version",
        description="Free text; another one trains anew, as when the trainer changed",
    )
    settings: dict[str, str] = Field(
        default_factory=dict, title="Settings", description="What the trainer is told: names with values"
    )
