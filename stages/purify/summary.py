"""Say in numbers what was done: the summary beside the label table."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from pipeline.labels import ACTIONS
from stages.linear.design import unit_rows
from stages.linear.probes import knn_accuracy, linear_accuracy
from stages.purify.actions import decide
from stages.purify.audit import calibration_error, measure_gain, share_interval
from stages.purify.config import PurifyConfig
from stages.purify.core import Purified
from stages.purify.noise import describe_noise
from stages.purify.picked import describe_pick
from stages.purify.pixels import MOST_PICTURES, LoadPixels, no_pixels
from stages.purify.prior import describe_shift
from stages.purify.sample import Sample, few_rows
from stages.purify.verdict import features_verdict

BULKY = ("transition", "transition_error", "classes")  # parts of the noise estimate that a manifest does without


def summarise(
    sample: Sample, result: Purified, config: PurifyConfig, names: Sequence[str], pixels: LoadPixels = no_pixels
) -> dict[str, Any]:
    """Return the summary, the leaks aside."""
    rows, judged = result.rows, result.judged
    counts = torch.bincount(rows.action, minlength=len(ACTIONS)).tolist()
    doubtful = sample.teaches & (sample.given >= 0)
    expected = 1 - float(rows.given_confidence[doubtful].double().mean()) if bool(doubtful.any()) else 0.0
    right = judged.suggested == judged.pairs.labels
    return {
        "rows": len(sample),
        "classes": len(names),
        "trusted": len(result.plan.views.rows) + len(result.plan.held),
        "judges": len(result.plan.judges),
        "method": config.method,
        "counts": dict(zip(ACTIONS, counts, strict=True)),
        "noise": describe_noise(result.plan.views, names, expected),
        "audit": audit_record(result),
        "gate": asdict(result.gate),
        "features": judge_features(sample, result, pixels),
        "calibration_error": calibration_error(judged.confidence, right, judged.pairs.weights),
        "calibration": asdict(result.calibration),
        "baselines": baseline_records(sample, result),
        "quality": quality_record(result, config),
        **({"learned": dict(result.learned)} if result.learned else {}),
        "warnings": warnings_of(sample, result, names),
    }


def small(summary: dict[str, Any]) -> dict[str, Any]:
    """Return the summary as it fits a manifest."""
    kept = {k: v for k, v in summary.items() if k != "learned"}
    return {**kept, "noise": {k: v for k, v in summary["noise"].items() if k not in BULKY}}


def audit_record(result: Purified) -> dict[str, Any]:
    """Describe the gain on the held-out rows where there are any, else by folds."""
    gain = measure_gain(result.yardstick)
    record: dict[str, Any] = {
        "rows": gain.rows, "given_right": gain.given_right, "suggested_right": gain.suggested_right,
        "wins": gain.wins, "losses": gain.losses, "gain": gain.gain, "gain_low": gain.low, "gain_high": gain.high,
        "lower_bound": gain.lower_bound, "log_loss_gain": gain.log_loss_gain, "z": gain.z,
        "by": "held_out" if len(result.plan.held) else "folds",
    }  # fmt: skip
    if gain.rows == 0:
        record |= dict.fromkeys(("given_right", "suggested_right", "gain", "gain_low", "gain_high", "lower_bound"))
    return record


def judge_features(sample: Sample, result: Purified, pixels: LoadPixels) -> dict[str, Any]:
    """Probe the features on trusted rows, alone and with the given labels of all others behind them."""
    views = result.plan.views
    chosen = few_rows(sample.draw[views.rows], sample.features.shape[1] + 1)
    places, labels = views.rows[chosen], views.labels[chosen]
    rows = centred(sample.features[places])
    knn, linear = knn_accuracy(rows, labels), linear_accuracy(rows, labels)
    found = result.baselines
    against = compare(rows[:MOST_PICTURES], pixels(places[:MOST_PICTURES]), labels[:MOST_PICTURES])
    best = max(knn, found["knn"]), max(linear, found["linear_probe"])
    return features_verdict(*best, labels.cpu().numpy(), against)


def compare(features: Tensor, pixels: Tensor | None, labels: Tensor) -> dict[str, float] | None:
    """Probe features and pixels of the same few rows in the same way."""
    if pixels is None:
        return None
    best = [max(knn_accuracy(rows, labels), linear_accuracy(rows, labels)) for rows in (features, centred(pixels))]
    return {"rows": len(labels), "features": best[0], "pixels": best[1]}


def centred(rows: Tensor) -> Tensor:
    """Bring rows to length 1, seen from their mean."""
    return unit_rows(rows, torch.ones(len(rows), dtype=torch.bool, device=rows.device))


def baseline_records(sample: Sample, result: Purified) -> dict[str, dict[str, float | None]]:
    """Say of each baseline how often it is right on trusted rows, and how many train rows it would change."""
    asked = sample.teaches & (sample.given >= 0)
    changed = (result.rows.candidates[asked] != sample.given[asked, None]).double().mean(0)
    judges = len(result.plan.judges) > 0
    return {
        name: {
            "right_on_trusted": result.baselines[name] if judges else None,
            "changed": float(share) if bool(asked.any()) else 0.0,
        }
        for name, share in zip(result.baselines, changed, strict=True)
    }


def quality_record(result: Purified, config: PurifyConfig) -> dict[str, float | None]:
    """Estimate how many given and purified labels of train rows are right, by the trusted rows of the yardstick."""
    judged, gain = result.yardstick, measure_gain(result.yardstick)
    if gain.rows == 0:
        return dict.fromkeys(("given_right", "purified_right", "low", "high"))
    chances = torch.stack([judged.given_confidence, judged.confidence], dim=1)
    labels = decide(config, result.gate.open, judged.pairs.given, judged.suggested, chances).purified
    asked, weights = judged.pairs.given >= 0, judged.pairs.weights
    after = float(weights[asked & (labels == judged.pairs.labels)].sum() / weights[asked].sum())
    low, high = share_interval(after, gain.rows)
    return {"given_right": gain.given_right, "purified_right": after, "low": low, "high": high}


def warnings_of(sample: Sample, result: Purified, names: Sequence[str]) -> list[str]:
    """Say what a reader of the labels should know first."""
    plan, found = result.plan, []
    if len(plan.judges) == 0:
        found.append(
            "No trusted row can judge: the suggestions are neither calibrated nor audited. "
            "Mark some randomly drawn rows as trusted."
        )
    picked = len(plan.views.rows) - len(plan.judges)
    if picked:
        found.append(
            f"{picked} trusted rows were selected, not drawn: they teach, but {len(plan.judges)} others judge."
        )
    return found + [w for w in (describe_shift(plan.views.priors[0], names), describe_pick(sample, plan)) if w]
