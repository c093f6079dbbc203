"""Purify: fit the method in every view, calibrate, audit, open or close the gate, settle each row."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, assert_never

import torch

from pipeline.errors import DataError
from stages.purify.audit import Gain, Judged, measure_gain
from stages.purify.calibrate import Calibration
from stages.purify.config import BASELINES, NEEDS_TRUSTED, Method, PurifyConfig
from stages.purify.crossfit import calibrate, chunks, cross_fit, judge_held
from stages.purify.gate import Gate, judge
from stages.purify.methods import (
    confident_learning,
    dmlp,
    fusion,
    gold_correction,
    keep,
    knn,
    linear_probe,
    mlc,
    mslg,
    trusted_only,
)  # fmt: skip
from stages.purify.pool import pool
from stages.purify.sample import Fitted, Sample
from stages.purify.scores import Scores, fit_scores
from stages.purify.settle import Rows, Settler, plain, settle_rows
from stages.purify.targets import targets_of
from stages.purify.views import Plan, Trust, plan_views


@dataclass(frozen=True)
class Purified:
    """The answer, and how far it can be believed."""

    rows: Rows
    plan: Plan
    judged: Judged  # every judge by the fold that did not know it
    gain: Gain  # on the judges: what opens the gate
    yardstick: Judged  # the held-out rows where there are any, else the judges: what the audit figures are made of
    gate: Gate
    calibration: Calibration  # of the view that knows every trusted row
    baselines: Mapping[Method, float]  # share of the judges that each baseline gets right
    learned: Mapping[str, Any]  # what the method tells of its own learning, as JSON


def purify(sample: Sample, trust: Trust, config: PurifyConfig) -> Purified:
    """Turn given labels into purified ones; rows of a held-out audit share count as untrusted."""
    check(sample, trust)
    config = config.keyed()
    plan = plan_views(sample, trust, config)
    held = f", beside {len(plan.held)} that audit_share holds out" if len(plan.held) else ""
    config.refuse_without(len(plan.views.rows), f"0 train rows with features are trusted{held}")
    targets = [targets_of(sample, plan.views, view) for view in range(len(plan.views))]
    scores = fit_scores(sample, targets, config.linear_probe)
    fitted: dict[Method, Fitted] = {}
    for name in methods_of(config, plan):
        fitted[name] = fit(name, scores, plan, config, fitted)
    ridge = config.calibration_ridge
    kept = calibrate(sample, plan, fitted["keep"], ridge, keeps=True)
    method = kept if config.method == "keep" else calibrate(sample, plan, fitted[config.method], ridge)
    judged = cross_fit(method, kept)
    gain = measure_gain(judged)
    gate = judge(gain, config.gate)
    yardstick = judge_held(method, kept, trust.labels) if len(plan.held) else judged
    trusted = trust.labels.clone()
    trusted[plan.held] = -1
    fallback = int(torch.bincount(sample.given[sample.given >= 0], minlength=sample.classes).argmax())
    rows = settle_rows(Settler(method, fitted, config, gate.open, trusted, fallback))
    baselines = {n: right_on_judges(one, sample, plan) for n, one in fitted.items() if n in BASELINES}
    learned = getattr(fitted[config.method], "learned", {})
    return Purified(rows, plan, judged, gain, yardstick, gate, method.calibrations[0], baselines, learned)


def check(sample: Sample, trust: Trust) -> None:
    """Refuse what no method can purify."""
    if sample.classes < 2:
        raise DataError(
            f"the annotations name {sample.classes} class; purifying needs at least 2.",
            "Give labels of several classes; class_names alone do not make one.",
        )
    labelled = int((sample.teaches & ((sample.given >= 0) | (trust.labels >= 0))).sum())
    if labelled < 2:
        raise DataError(
            f"{labelled} of {len(sample)} rows are train rows with features and a given or trusted label; "
            "purifying needs at least 2.",
            "Check the columns given_label and split, and the features.",
        )


def methods_of(config: PurifyConfig, plan: Plan) -> list[Method]:
    """Name the methods to fit: the baselines that can be, and the chosen one."""
    possible = [name for name in BASELINES if len(plan.views.rows) or name not in NEEDS_TRUSTED]
    return list(dict.fromkeys((*possible, config.method)))


def fit(  # noqa: C901 (a case a method)
    name: Method, scores: Scores, plan: Plan, config: PurifyConfig, fitted: Mapping[Method, Fitted]
) -> Fitted:
    """Fit one method in every view; `fitted` are the baselines before it."""
    match name:
        case "fusion":
            fused = fusion.fit(scores, plan.views, config.fusion)
            return pool((fused, fitted["trusted_only"]), scores.sample, plan, config.fusion.rival_ridge)
        case "keep":
            return keep.fit(scores.sample, scores.targets)
        case "knn":
            return knn.fit(scores.sample, scores.targets, config.knn)
        case "linear_probe":
            return linear_probe.fit(scores)
        case "trusted_only":
            return trusted_only.fit(scores, plan.views, config.trusted_only)
        case "confident_learning":
            return confident_learning.fit(scores)
        case "gold_correction":
            return gold_correction.fit(scores, plan.views, config.gold_correction)
        case "dmlp":
            return dmlp.fit(scores.sample, scores.targets, config.dmlp)
        case "mslg":
            return mslg.fit(scores.sample, scores.targets, config.mslg)
        case "mlc":
            return mlc.fit(scores.sample, scores.targets, config.mlc)
        case _:
            assert_never(name)


def right_on_judges(fitted: Fitted, sample: Sample, plan: Plan) -> float:
    """Return the share of the judges that a baseline gets right without knowing them."""
    right = total = 0.0
    for view in range(1, len(plan.views)):
        for part in chunks(plan.judges[plan.fold[plan.judges] == view], sample.classes):
            rows, weights = plan.views.rows[part], plan.fair_weights[part]
            said = plain(fitted, rows, fitted.beliefs(rows, view))
            right += float(weights[said == plan.views.labels[part]].sum())
            total += float(weights.sum())
    return right / total if total else 0.0
