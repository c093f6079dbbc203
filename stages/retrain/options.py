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
