"""The sections of the page as plain values; the template only sets them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.models import ModelMetrics, Outcome
from pipeline.neighbours import Neighbours
from stages.images.thumbnails import Pictures
from stages.report.core import Reliability
from stages.report.figures import MOST_IN_HEAT_MAP, Draw, Errors, bars, calibration, heat_map
from stages.report.map import FeatureMap
from stages.report.rows import LabelRows
from stages.report.steps import Step
from stages.report.words import Verdict, number, percent, verdict


@dataclass(frozen=True)
class Findings:
    """All that the page is made from."""

    title: str
    rows: LabelRows
    summary: Mapping[str, Any]
    own: pa.Table | None = None
    pictures: Pictures | None = None
    broken: Sequence[tuple[str, str]] = ()
    reliability: Sequence[Reliability] = ()
    model: ModelMetrics | None = None
    steps: Sequence[Step] = ()
    encoder_warnings: Sequence[str] = ()
    software: Mapping[str, str | int] = field(default_factory=dict)
    neighbours: Neighbours | None = None
    map: FeatureMap | None = None

    @property
    def applied(self) -> bool:
        """Tell whether the gate let the changes through."""
        return self.rows.applied

    def verdict(self) -> Verdict:
        """Say what came out."""
        return verdict(self.summary, int(self.rows.changed.sum()), int(self.rows.review.sum()))


@dataclass(frozen=True)
class Bar:
    """A named share with a bar, its words, and whether it is the line that counts."""

    name: str
    share: float | None
    words: str
    note: str = ""
    strong: bool = False


def tiles(found: Findings) -> list[tuple[str, str, str]]:
    """Say the four numbers that matter: what, how much, and beside it."""
    quality = found.summary.get("quality") or {}
    train = int(found.rows.train.sum())
    changed, review = int(found.rows.changed.sum()), int(found.rows.review.sum())
    of_train = f"of {number(train)} train rows"
    second = ("Purified labels right", percent(quality.get("purified_right")), _interval(quality))
    if not found.applied:
        audit = found.summary.get("audit") or {}
        second = ("Suggestions right", percent(audit.get("suggested_right")), "on trusted rows")
    return [
        ("Given labels right", percent(quality.get("given_right")), "estimated"),
        second,
        ("Relabelled" if found.applied else "Suggestions that differ", number(changed), of_train),
        ("To review", number(review), of_train),
    ]


def _interval(quality: Mapping[str, Any]) -> str:
    low, high = quality.get("low"), quality.get("high")
    return "" if low is None or high is None else f"{percent(low)} to {percent(high)}"


ACTION_WORDS = {
    "keep": "kept", "relabel": "relabelled", "review": "to review", "trusted": "trusted", "none": "not train rows",
}  # fmt: skip


def actions(found: Findings) -> list[tuple[str, str, int, float]]:
    """List the actions with their counts and shares of all rows."""
    counts = found.rows.action_counts()
    return [
        (name, words, counts[name], counts[name] / max(len(found.rows), 1))
        for name, words in ACTION_WORDS.items()
        if counts.get(name)
    ]


def comparison(found: Findings) -> list[Bar]:
    """Set the method beside the given labels and the baselines, as the trusted rows judge them."""
    audit = found.summary.get("audit") or {}
    if not audit.get("rows"):
        return []
    method = found.summary.get("method") or "the chosen method"
    baselines = {n: b for n, b in (found.summary.get("baselines") or {}).items() if n not in ("keep", method)}
    differs = float(found.rows.differs.sum()) / max(int((found.rows.train & (found.rows.given >= 0)).sum()), 1)
    given, suggested = audit.get("given_right"), audit.get("suggested_right")
    return [
        Bar("given labels", given, percent(given), "as they came"),
        *(_baseline(name, baselines[name]) for name in sorted(baselines)),
        Bar(
            f"suggested by {method}",
            suggested,
            percent(suggested),
            f"differs in {percent(differs)} of the train rows",
            True,
        ),
    ]


def _baseline(name: str, figures: Mapping[str, float | None]) -> Bar:
    right, changed = figures.get("right_on_trusted"), figures.get("changed")
    note = "" if changed is None else f"differs in {percent(changed)} of the train rows"
    return Bar(f"baseline {name}", right, percent(right), note)


def audit_words(found: Findings) -> str:
    """Say how the comparison was made and what it is worth."""
    audit = found.summary.get("audit") or {}
    if not audit.get("rows"):
        return "There are no trusted rows to judge by, so nothing here could be proven. Mark some rows as trusted."
    words = f"Judged by {number(audit['rows'])} trusted rows, each by a fit that did not see it."
    if audit.get("wins") is not None and audit.get("losses") is not None:
        words += (
            f" The method mends {number(audit['wins'])} of their given labels and spoils {number(audit['losses'])}."
        )
    if audit.get("gain_low") is not None and audit.get("gain_high") is not None:
        low, high = 100 * audit["gain_low"], 100 * audit["gain_high"]
        words += f" Gain: {100 * audit['gain']:+.1f} points (95 % interval {low:+.1f} to {high:+.1f})."
    return words


def noise_figure(found: Findings) -> tuple[Draw, str] | None:
    """Choose the plot of the noise: a heat map where it can be read, else bars of the noisiest classes."""
    noise = found.summary.get("noise") or {}
    names = list(found.rows.classes)
    transition, per_class = noise.get("transition"), noise.get("per_class")
    if transition and len(names) <= MOST_IN_HEAT_MAP:
        matrix = np.nan_to_num(np.asarray(transition, dtype=np.float64))
        spread = cell_errors(matrix, noise.get("classes") or [])
        caption = "What each class was labelled as, in percent"
        caption += "" if spread is None else "; behind ± half the 95 % interval, as the trusted rows tell it"
        return lambda: heat_map(matrix, names, spread), caption
    if per_class:
        shares = [float(share or 0) for share in per_class]
        worst = [int(i) for i in np.argsort(-np.asarray(shares), kind="stable")[:MOST_IN_HEAT_MAP]]
        title = f"Estimated share of a class given another label, the {len(worst)} noisiest of {number(len(names))}"
        return lambda: bars([shares[i] for i in worst], [names[i] for i in worst], ""), title
    return None


def cell_errors(matrix: npt.NDArray[np.float64], classes: Sequence[Mapping[str, Any]]) -> Errors | None:
    """Spread the interval of each class's noise over its row of T, by the spread of a share: √(q(1 − q))."""
    if len(classes) != len(matrix):
        return None
    half = np.array([(c["high"] - c["low"]) / 2 for c in classes])
    wrong = np.array([c["rate"] for c in classes])
    unit = half / np.sqrt(np.maximum(wrong * (1 - wrong), 0.04))
    return np.asarray(unit[:, None] * np.sqrt(np.maximum(matrix * (1 - matrix), 0)), dtype=np.float64)


def noise_words(found: Findings) -> str:
    """Say how many labels are wrong, as far as that is known."""
    noise = found.summary.get("noise") or {}
    if noise.get("rate") is None:
        return "The share of wrong labels is not known."
    words = f"About {percent(noise['rate'])} of the given labels are wrong"
    if noise.get("low") is not None and noise.get("high") is not None:
        words += f" (95 % interval {percent(noise['low'])} to {percent(noise['high'])})"
    return words + "."


def calibration_figure(found: Findings) -> Draw | None:
    """Plot promised against found, where enough trusted rows were audited."""
    points = found.reliability
    return (lambda: calibration(points)) if len(points) >= 2 else None


def calibration_words(found: Findings) -> str:
    """Say how far a confidence can be believed."""
    error = found.summary.get("calibration_error")
    if error is None:
        return "Whether confidences can be believed was not measured."
    return (
        f"A confidence is off by {100 * error:.1f} points on average: of 100 rows with “90 %”, "
        f"count on {90 - 100 * error:.0f} to {min(90 + 100 * error, 100):.0f} being right."
    )


def model_bars(found: Findings) -> list[Bar]:
    """Show how often the retrained model is right, beside the one on given labels where there is one."""
    if found.model is None:
        return []
    first = "given" if found.model.labels == "given" else "purified"
    trained: list[tuple[str, Outcome]] = [(first, found.model)]
    if found.model.given is not None:
        trained.insert(0, ("given", found.model.given))
    result = []
    for labels, outcome in trained:
        for split, score in (("test", outcome.test), ("validation", outcome.validation)):
            if score is not None:
                note = f"{number(score.rows)} {split} rows, scored on {score.scored_on} labels"
                name = f"trained on {labels} labels"
                result.append(Bar(name, score.accuracy, percent(score.accuracy), note, labels == "purified"))
    return result


def model_words(found: Findings) -> str:
    """Say what was trained and which epoch is shipped."""
    model = found.model
    if model is None:
        return ""
    chosen = "the best on the validation rows" if model.validation is not None else "the last"
    words = f"Trained for {number(model.epochs)} epochs on {number(model.train_rows)} rows; "
    words += f"epoch {model.shipped_epoch} is shipped, {chosen}."
    if model.test is None and model.validation is None:
        words += " There are no test or validation rows to score it on."
    return words
