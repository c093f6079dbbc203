"""Every knob of the stage purify."""

from typing import Annotated, Literal

from pydantic import Field

from pipeline.config import MethodOptions, StageConfig

STAGE = "purify"
KIND = "labels"
VERSIONS: dict[str, int] = {"keep": 2, "knn": 2, "linear_probe": 2}
Method = Literal["keep", "knn", "linear_probe"]
Gating = Literal["strict", "mild", "off"]
BASELINES: tuple[Method, ...] = ("keep", "knn", "linear_probe")


class KnnOptions(MethodOptions):
    """Options of the vote among the nearest neighbours."""

    neighbours: int = Field(
        50, ge=1, le=1000, title="Neighbours", description="How many nearest rows vote (at most those that embed kept)"
    )


class LinearProbeOptions(MethodOptions):
    """Options of the leave-one-out ridge regression."""

    strengths: tuple[Annotated[float, Field(gt=0, le=1e6)], ...] = Field(
        (0.03, 0.3, 3.0),
        min_length=1,
        max_length=8,
        title="Ridge strengths",
        description="Ridge penalties, as multiples of the mean eigenvalue; none is selected, all are weighted",
    )
    neighbours: int = Field(
        20,
        ge=0,
        le=1000,
        title="Neighbours",
        description="Append the mean of this many nearest rows to the features; 0 uses the features alone",
    )


class PurifyConfig(StageConfig):
    """Turn given labels into purified ones, and say how sure that is."""

    method: Method = Field(
        "linear_probe", title="Method", description="How labels are suggested; every method has the same last step"
    )
    seed: int = Field(0, ge=0, le=2**63 - 1, title="Seed", description="Draws the audit folds and the held-out share")
    gate: Gating = Field(
        "strict",
        title="Gate",
        description="strict: change labels only if trusted rows prove a gain; mild: if they show one; off: always",
    )
    audit_share: float = Field(
        0.0,
        ge=0.0,
        le=0.9,
        title="Audit share",
        description="Share of the trusted rows held out as a yardstick only; 0 audits every trusted row by folds",
    )
    folds: int = Field(10, ge=2, le=50, title="Folds", description="Folds of the cross-fitted audit")
    calibration_ridge: float = Field(
        2.0, ge=0.0, le=1e6, title="Calibration ridge", description="Pull of the three calibration weights to (1, 1, 0)"
    )
    relabel_cost: float = Field(
        0.2,
        ge=0.0,
        le=1.0,
        title="Cost of relabelling",
        description="Price of changing a label, where a wrong one costs 1: close calls leave the given label",
    )
    review_cost: float = Field(
        0.5,
        ge=0.0,
        le=1.0,
        title="Cost of a review",
        description="Price of dropping a row or looking at it; a wrong label costs 1",
    )
    knn: KnnOptions = Field(default_factory=KnnOptions, title="k-NN", description="Options of knn")
    linear_probe: LinearProbeOptions = Field(
        default_factory=LinearProbeOptions, title="Linear probe", description="Options of linear_probe"
    )
