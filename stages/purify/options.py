"""Knobs of the purifiers that learn labels through trusted rows: dmlp, mslg, mlc."""

from typing import Literal

from pydantic import Field

from pipeline.config import MethodOptions


class DmlpOptions(MethodOptions):
    """Options of the decoupled meta label purifier."""

    variant: Literal["row_space", "paper"] = Field(
        "row_space", title="Variant",
        description="row_space: plain descent, memory independent of the rows; paper: Adam on every entry, as released",
    )  # fmt: skip
    labels: Literal["predictions", "blended"] = Field(
        "predictions", title="Labels",
        description="predictions: suggest what ridge regression and heads say; blended: what became of the labels",
    )  # fmt: skip
    strength: float = Field(
        0.3, gt=0, le=1e6, title="Ridge strength", description="Ridge penalty, as a multiple of the mean eigenvalue"
    )
    neighbours: int = Field(
        20, ge=0, le=1000, title="Neighbours",
        description="Append the mean of this many nearest rows to the features; 0 uses the features alone",
    )  # fmt: skip
    epochs: int = Field(100, ge=1, le=10_000, title="Epochs", description="Label steps at most")
    patience: int = Field(
        25, ge=1, le=10_000, title="Patience", description="End after so many label steps that helped no held-out row"
    )
    row_rate: float = Field(
        0.5,
        gt=0,
        le=1,
        title="Row-space rate",
        description="Label step, as a share of the largest stable one",
    )
    label_rate: float = Field(
        0.01, gt=0, le=1, title="Label rate", description="Step of Adam on labels (variant paper)"
    )
    period: int = Field(
        20, ge=1, le=10_000, title="Period", description="Label steps between two feedbacks of the heads"
    )
    momentum: float = Field(
        0.7, ge=0, le=1, title="Momentum", description="Share of the labels that a feedback keeps; 1 turns it off"
    )
    head_loss: Literal["cross_entropy", "bounded"] = Field(
        "cross_entropy", title="Loss of the heads",
        description="bounded: cross-entropy of a second softmax, as released: robust where noise is symmetric only",
    )  # fmt: skip
    confidence: float = Field(
        0.1, ge=0, le=100, title="Confidence term", description="How strongly heads are kept from being too sure"
    )
    prior: float = Field(1.0, ge=0, le=10_000, title="Prior term", description="How strongly heads follow class shares")
    head_steps: int = Field(5, ge=1, le=10_000, title="Head steps", description="Steps of each branch for a label step")
    batch_size: int = Field(512, ge=1, le=65_536, title="Batch size", description="Rows of a step of the heads")
    learning_rate: float = Field(
        1.0, gt=0, le=1000, title="Learning rate",
        description="Highest rate of the heads' AdamW, times the width of the features; falls along a cosine",
    )  # fmt: skip
    weight_decay: float = Field(0.01, ge=0, le=10, title="Weight decay", description="Of the heads, decoupled")


class HeadOptions(MethodOptions):
    """Options of heads that learn by gradient steps (mslg, mlc)."""

    hidden: int = Field(
        0, ge=0, le=4096, title="Hidden width", description="Hidden units of the head; 0 = linear, and much faster"
    )
    neighbours: int = Field(
        0, ge=0, le=1000, title="Neighbours",
        description="Append the mean of this many nearest rows to the features; 0 uses the features alone",
    )  # fmt: skip
    warmup_steps: int = Field(
        150, ge=0, le=10**6, title="Warm-up", description="Steps of plain cross-entropy on given labels before all else"
    )
    steps: int = Field(
        300, ge=1, le=10**6, title="Steps", description="Steps with a look ahead; the cost grows with them"
    )
    batch_size: int = Field(512, ge=1, le=65_536, title="Batch size", description="Rows, and trusted rows, of a step")
    learning_rate: float = Field(
        1.0, gt=0, le=1000, title="Learning rate",
        description="Highest rate of AdamW, times the width of the features; falls along a cosine",
    )  # fmt: skip
    weight_decay: float = Field(0.01, ge=0, le=10, title="Weight decay", description="Decoupled, as in AdamW")
    look_ahead: float = Field(
        0.01,
        gt=0,
        le=100,
        title="Look-ahead rate",
        description="Rate of the plain step whose effect on trusted rows counts",
    )
    most_rows: int = Field(
        50_000, ge=100, le=10**9, title="Most rows",
        description="So many rows teach at most, drawn by their hash; all rows are judged",
    )  # fmt: skip


class MslgOptions(HeadOptions):
    """Options of meta soft label generation."""

    sharpness: float = Field(
        10.0, gt=0, le=100, title="Sharpness", description="First logit of the given label; the others start at 0"
    )
    label_rate: float = Field(
        100.0,
        gt=0,
        le=1e9,
        title="Label rate",
        description="How far a meta step moves a row's logits, whatever the batch size",
    )
    entropy: float = Field(
        1.0,
        ge=0,
        le=10,
        title="Entropy",
        description="Weight of the entropy of predictions; at 1 the loss is reverse cross-entropy",
    )


class MlcOptions(HeadOptions):
    """Options of meta loss correction."""

    memory: Literal["persistent", "reset"] = Field(
        "persistent", title="Memory",
        description="persistent: the noise matrix is kept and improved; reset: each step starts anew, as released",
    )  # fmt: skip
    kept: float = Field(0.8, gt=0, lt=1, title="Labels kept", description="Diagonal of the first noise matrix")
    matrix_rate: float = Field(
        0.01,
        gt=0,
        le=10,
        title="Matrix rate",
        description="How far a step moves the logits of the noise matrix at most",
    )
