"""What users really bring: scales, sizes and labels at the edge of sense."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_args

import pytest
import torch

from pipeline.errors import DataError
from pipeline.labels import ACTIONS
from stages.purify.config import Method, PurifyConfig
from stages.purify.core import purify

METHODS = get_args(Method)
CHANGING = [m for m in METHODS if m != "keep"]
each = pytest.mark.parametrize("method", METHODS)
Make = Callable[..., Any]


QUICK: dict[str, dict[str, Any]] = {  # enough for four hundred rows
    "dmlp": {"epochs": 4, "period": 2, "head_steps": 2},
    "mslg": {"warmup_steps": 15, "steps": 15},
    "mlc": {"warmup_steps": 15, "steps": 15},
}


def config(method: str, **options: Any) -> PurifyConfig:
    quick = {method: QUICK[method]} if method in QUICK else {}
    return PurifyConfig.model_validate({"method": method, **quick, **options})


def run(problem: Any, method: str, **options: Any) -> Any:
    return purify(problem.sample, problem.trust, config(method, **options))


@each
def test_rows_without_features_are_left_to_a_person(method: str, problem: Make) -> None:
    made = problem()
    ok = torch.arange(400) >= 20
    features = torch.where(ok[:, None], made.sample.features, 0.0)
    neighbours = torch.where(ok[:, None], made.sample.neighbours, -1)
    rows = run(made.changed(ok=ok, features=features, neighbours=neighbours), method).rows
    broken = ~ok & (made.trust.labels < 0)
    assert (rows.action[broken] == ACTIONS.index("review")).all()
    assert torch.equal(rows.suggested[broken], made.sample.given[broken])


@each
@pytest.mark.parametrize(
    ("scale", "shift"), [(1e-20, 0.0), (1e20, 0.0), (1.0, 1e4), (0.0, 3.0)], ids=["tiny", "huge", "far", "constant"]
)
def test_any_scale_of_features_works(method: str, scale: float, shift: float, problem: Make) -> None:
    made = problem()
    result = run(made.changed(features=(made.sample.features * scale + shift).float()), method)
    assert torch.isfinite(result.rows.confidence).all()
    if scale and method == "linear_probe":
        assert made.right(result.rows.suggested) > 0.95


@each
def test_rank_deficient_and_wide_features_work(method: str, problem: Make) -> None:
    made = problem(rows=60, trusted=20)
    wide = made.sample.features.repeat(1, 200)
    result = run(made.changed(features=wide), method)
    assert torch.isfinite(result.rows.confidence).all()
    assert torch.isfinite(result.rows.top_probs).all()


@each
@pytest.mark.parametrize("rows", [4, 20])
def test_a_handful_of_rows_works(method: str, rows: int, problem: Make) -> None:
    made = problem(rows=rows, classes=2, trusted=rows // 2)
    assert len(run(made, method).rows.purified) == rows


@each
def test_all_rows_may_be_trusted(method: str, problem: Make) -> None:
    made = problem(trusted=400)
    assert torch.equal(run(made, method).rows.purified, made.truth)


@each
def test_all_given_labels_may_be_equal(method: str, problem: Make) -> None:
    made = problem()
    result = run(made.changed(given=torch.zeros(400, dtype=torch.long)), method)
    assert torch.isfinite(result.rows.confidence).all()


@each
def test_a_class_may_have_one_trusted_row_or_none(method: str, problem: Make) -> None:
    made = problem()
    labels = made.trust.labels.clone()
    labels[labels == 0] = -1
    ones = torch.where(labels == 1)[0]
    labels[ones[1:]] = -1
    trust = replace(made.trust, labels=labels)
    result = purify(made.sample, trust, config(method))
    if method in CHANGING:
        least = 0.8 if method == "trusted_only" else 0.9  # of a class without trusted rows it knows the share alone
        assert float((result.rows.suggested == made.truth)[labels < 0].double().mean()) > least


@each
def test_thousands_of_classes_work(method: str, problem: Make) -> None:
    rows = run(problem(rows=120, classes=2000, trusted=40), method, folds=2).rows
    assert rows.beliefs.shape == (120, 0)
    assert rows.top_labels.shape == (120, 10)
    assert torch.isfinite(rows.confidence).all()


def test_one_class_is_refused(problem: Make) -> None:
    made = problem(rate=0.0)
    with pytest.raises(DataError, match="1 class; purifying needs at least 2"):
        run(made.changed(classes=1), "keep")


def test_a_dataset_without_any_label_is_refused(problem: Make) -> None:
    made = problem(trusted=0)
    with pytest.raises(DataError, match="0 of 400 rows are train rows with features and a given or trusted label"):
        run(made.changed(given=torch.full((400,), -1)), "linear_probe")
