"""Every knob of the stage purify."""

from typing import Annotated, Literal

from pydantic import Field

from pipeline.config import MethodOptions, StageConfig
from pipeline.errors import DataError
from stages.purify.options import DmlpOptions, MlcOptions, MslgOptions

STAGE = "purify"
KIND = "labels"
VERSIONS: dict[str, int] = {
    "fusion": 6, "keep": 4, "knn": 4, "linear_probe": 4, "trusted_only": 2, "confident_learning": 2,
    "gold_correction": 2, "dmlp": 2, "mslg": 2, "mlc": 2,
}  # fmt: skip
Method = Literal[
    "fusion", "keep", "knn", "linear_probe", "trusted_only", "confident_learning", "gold_correction", "dmlp", "mslg",
    "mlc",
]  # fmt: skip
Gating = Literal["strict", "mild", "off"]
BASELINES: tuple[Method, ...] = (
    "keep", "knn", "linear_probe", "trusted_only", "confident_learning", "gold_correction",
)  # fmt: skip
NEEDS_TRUSTED: frozenset[Method] = frozenset({"fusion", "trusted_only", "gold_correction"})


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


class TrustedOnlyOptions(MethodOptions):
    """Options of the kernel ridge regression on the trusted rows."""

    strength: float = Field(
        1.0, gt=0, le=1e6, title="Ridge strength", description="Penalty added to the kernel's diagonal, which is 1"
    )
    rows: int = Field(
        2000, ge=10, le=20_000, title="Rows", description="Most trusted rows that teach; the cost grows with them"
    )


class GoldCorrectionOptions(MethodOptions):
    """Options of the gold loss correction."""

    pseudo_rows: float = Field(
        1.0,
        gt=0,
        le=1e6,
        title="Pseudo-rows",
        description="How many rows the assumption of symmetric noise is worth beside a class's trusted rows",
    )


class FusionOptions(MethodOptions):
    """Options of the fused kernel regressions."""

    landmarks: int = Field(
        2000,
        ge=16,
        le=8000,
        title="Landmarks",
        description="Width of each kernel basis; fewer are taken where the two bases would pass 2 GB",
    )
    strengths: tuple[Annotated[float, Field(gt=0, le=1e6)], ...] = Field(
        (0.1, 1.0, 10.0, 100.0),
        min_length=1,
        max_length=8,
        title="Ridge strengths",
        description="Ridge penalties, as multiples of the mean eigenvalue; none is selected, all are weighted",
    )
    folds: int = Field(
        5, ge=2, le=20, title="Folds of rows", description="A row is scored by regressions that left out its fold"
    )
    neighbours: int = Field(
        50, ge=1, le=1000, title="Neighbours", description="How many nearest rows vote (at most those that embed kept)"
    )
    rounds: int = Field(7, ge=1, le=50, title="Rounds", description="At most so often beliefs become targets")
    settled: float = Field(
        0.002, ge=0, le=1, title="Settled", description="Stop once a round moves less than this share of all belief"
    )
    stiffness: tuple[Annotated[float, Field(gt=0, le=1e9)], ...] = Field(
        (50.0, 500.0, 5000.0),
        min_length=1,
        max_length=8,
        title="Stiffness",
        description="Precisions that hold the stack's weights near multiples of the backward correction; that which "
        "makes held-out given labels likeliest is taken",
    )
    rival_ridge: float = Field(
        2.0,
        ge=0,
        le=1e6,
        title="Pull of the rival",
        description="How strongly the weight of what trusted rows alone say is pulled to none",
    )
    trust: float = Field(
        10.0, ge=0, le=1000, title="Weight of a trusted pair", description="Rows that a trusted pair is worth in T"
    )


class PurifyConfig(StageConfig):
    """Turn given labels into purified ones, and say how sure that is."""

    method: Method = Field(
        "fusion", title="Method", description="How labels are suggested; every method has the same last step"
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
        0.05,
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
    fusion: FusionOptions = Field(default_factory=FusionOptions, title="Fusion", description="Options of fusion")
    linear_probe: LinearProbeOptions = Field(
        default_factory=LinearProbeOptions, title="Linear probe", description="Options of linear_probe"
    )
    trusted_only: TrustedOnlyOptions = Field(
        default_factory=TrustedOnlyOptions, title="Trusted only", description="Options of trusted_only"
    )
    gold_correction: GoldCorrectionOptions = Field(
        default_factory=GoldCorrectionOptions, title="Gold correction", description="Options of gold_correction"
    )
    dmlp: DmlpOptions = Field(default_factory=DmlpOptions, title="dmlp", description="Options of dmlp")
    mslg: MslgOptions = Field(default_factory=MslgOptions, title="mslg", description="Options of mslg")
    mlc: MlcOptions = Field(default_factory=MlcOptions, title="mlc", description="Options of mlc")

    def refuse_without(self, trusted: int, found: str) -> None:
        """Refuse a method that learns from trusted rows where there are none, in words that say what was found."""
        if self.method in NEEDS_TRUSTED and trusted == 0:
            raise DataError(
                f"{found}; {self.method} learns from trusted rows.",
                "Mark some randomly drawn rows as trusted, or choose purify.method 'confident_learning', "
                "which needs none.",
            )

    def keyed(self) -> "PurifyConfig":
        """Return what the key holds: the options of methods that were not chosen are the defaults."""
        told = {name: getattr(self, name) for name in type(self).model_fields}
        others = {n: type(v)() for n, v in told.items() if isinstance(v, MethodOptions) and n != self.method}
        return self.model_copy(update=others)
