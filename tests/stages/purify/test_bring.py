"""What users really bring: trusted rows that are no random draw, rare classes, several annotators, odd features."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from pipeline.noise import inject
from stages.purify import views
from stages.purify.config import BASELINES, PurifyConfig
from stages.purify.core import purify
from stages.purify.picked import describe_pick
from stages.purify.prior import describe_shift, is_another_draw
from stages.purify.transition import Crowd, estimate_transition, one_hot

METHODS = BASELINES  # what others add, their own tests look at
CHANGING = [m for m in METHODS if m != "keep"]
FIFTY_TO_ONE = {"rows": 1500, "classes": 3, "shares": (0.96, 0.02, 0.02), "per_class": 10, "spread": 1.2, "rate": 0.2}
Make = Callable[..., Any]


def run(problem: Any, method: str = "linear_probe", **options: Any) -> Any:
    return purify(problem.sample, problem.trust, PurifyConfig(method=method, **options))  # type: ignore[arg-type]


def test_balanced_trusted_rows_of_unbalanced_data_do_not_hurt(problem: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    made = problem(**FIFTY_TO_ONE)
    found = run(made)
    assert found.plan.views.priors[0].shifted
    right = made.right(found.rows.suggested)
    assert right > made.right(made.sample.given) + 0.15
    monkeypatch.setattr(views, "is_another_draw", lambda *_: False)
    naive = run(made)
    assert right > made.right(naive.rows.suggested)
    assert found.gain.low <= right - made.right(made.sample.given) <= found.gain.high


def test_the_audit_of_balanced_trusted_rows_speaks_of_the_data(problem: Make) -> None:
    made = problem(**FIFTY_TO_ONE)
    found = run(made)
    weights = found.judged.pairs.weights
    shares = [float(weights[found.judged.pairs.labels == k].sum() / weights.sum()) for k in range(3)]
    assert shares[0] > 0.9
    words = describe_shift(found.plan.views.priors[0], ["ape", "bee", "cat"])
    assert re.search(r"'bee' is 3\d\.\d% of them and about [1-3]\.\d% of the data", words)


def test_randomly_drawn_trusted_rows_are_seen_as_such(problem: Make) -> None:
    for seed in range(3):
        for shares in ((), (0.85, 0.05, 0.05, 0.05)):
            made = problem(seed=seed, shares=shares)
            plan = views.plan_views(made.sample, made.trust, PurifyConfig())
            assert not plan.views.priors[0].shifted
            assert describe_shift(plan.views.priors[0], ["a", "b", "c", "d"]) == ""
            assert (plan.fair_weights[plan.judges] == 1).all()


def test_another_draw_needs_evidence() -> None:
    data = torch.tensor([5000.0, 100.0, 100.0], dtype=torch.float64)
    assert is_another_draw(data, torch.tensor([10.0, 10.0, 10.0], dtype=torch.float64))
    assert not is_another_draw(data, torch.tensor([28.0, 1.0, 1.0], dtype=torch.float64))
    assert not is_another_draw(data, torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64) * 0)


def test_rows_picked_for_looking_wrong_are_suspected(problem: Make) -> None:
    made = problem(rate=0.2)
    wrong = torch.where(made.sample.given != made.truth)[0][:40]
    labels = torch.full_like(made.truth, -1)
    labels[wrong] = made.truth[wrong]
    picked = views.plan_views(made.sample, replace(made.trust, labels=labels), PurifyConfig())
    assert "trusted_origin to 'selected'" in describe_pick(made.sample, picked)
    drawn = views.plan_views(made.sample, made.trust, PurifyConfig())
    assert describe_pick(made.sample, drawn) == ""


@pytest.mark.parametrize(("method", "least"), [("linear_probe", 0.6), ("trusted_only", 0.9), ("gold_correction", 0.3)])
def test_a_class_nobody_gave_is_found_by_its_trusted_rows(method: str, least: float, problem: Make) -> None:
    made = problem(trusted=120)
    given = torch.where(made.sample.given == 3, 0, made.sample.given)
    rows = run(made.changed(given=given), method).rows
    lost = made.others & (made.truth == 3)
    assert float((rows.suggested == 3)[lost].double().mean()) > least
    assert made.right(rows.suggested) > made.right(given) + 0.2


def test_several_annotators_tell_more_than_one_and_than_their_vote(problem: Make) -> None:
    made = problem(rows=600, spread=3.0, trusted=120)
    noisy = (inject(made.truth.numpy(), "symmetric", rate, 4, seed) for seed, rate in enumerate((0.1, 0.6, 0.6)))
    said = torch.stack([torch.from_numpy(labels) for labels in noisy], dim=1)
    vote = sum(one_hot(labels, 4, torch.float64) for labels in said.T).argmax(1)
    one, three = made.changed(given=said[:, 1]), made.changed(given=vote, annotators=said)
    alone, voted = run(one, gate="off"), run(made.changed(given=vote), gate="off")
    together = run(three, gate="off")
    right = made.right(together.rows.suggested)
    assert right > made.right(voted.rows.suggested) + 0.05
    assert right > made.right(alone.rows.suggested) + 0.2
    assert together.plan.views.crowds[0].members[0].rate < 0.2 < 0.5 < together.plan.views.crowds[0].members[1].rate


def test_a_crowd_adds_what_its_members_say() -> None:
    true, said = torch.arange(12) % 3, torch.stack([torch.arange(12) % 3, torch.arange(12) // 4], dim=1)
    said[5, 1] = -1
    weights = torch.ones(12, dtype=torch.float64)
    members = tuple(estimate_transition(true, a, weights, 3, 0.3) for a in said.T)
    expected = sum(t.log_evidence(a, torch.float64) for t, a in zip(members, said.T, strict=True))
    assert torch.allclose(Crowd(members).log_evidence(said, torch.float64), expected)
    own = Crowd(members).log_own(true, said, weights)
    assert torch.isclose(own[5], members[0].log_own(true[5:6], said[5:6, 0], weights[5:6])[0])


@pytest.mark.parametrize("method", ["knn", "gold_correction"])
def test_annotators_who_left_rows_out_are_no_obstacle(method: str, problem: Make) -> None:
    made = problem()
    said = made.sample.given[:, None].repeat(1, 3)
    said[::2, 0], said[1::3, 1], said[::5] = -1, -1, -1
    given = said.max(dim=1).values
    rows = run(made.changed(given=given, annotators=said), method).rows
    assert torch.isfinite(rows.confidence).all()
    assert made.right(rows.suggested) > 0.9


@pytest.mark.parametrize("method", METHODS)
def test_one_row_in_a_thousand_may_be_of_a_class(method: str, problem: Make) -> None:
    made = problem(rows=1000, classes=2, shares=(0.999, 0.001), trusted=100, rate=0.05, seed=3)
    rows = run(made, method).rows
    assert torch.isfinite(rows.confidence).all()
    assert made.right(rows.purified) >= made.right(made.sample.given) - 0.01


@pytest.mark.parametrize("method", CHANGING)
def test_half_floats_of_any_length_and_thousands_of_them_work(method: str, problem: Make) -> None:
    made = problem(rows=300)
    generator = torch.Generator().manual_seed(0)
    wide = made.sample.features @ torch.randn(8, 4096, generator=generator, dtype=torch.float64)
    rows = run(made.changed(features=(50 + 20 * wide).half()), method, folds=3).rows
    assert made.right(rows.suggested) > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fusion", "gold_correction"])  # each fits all baselines on the way
def test_a_thousand_classes_with_a_matrix_of_their_own_work(method: str, problem: Make) -> None:
    made = problem(rows=3000, classes=1000, trusted=1000, rate=0.3, spread=0.1)
    made = made.changed(features=made.sample.features.float())
    rows = run(made, method, folds=2).rows
    assert made.right(rows.purified) >= made.right(made.sample.given) - 0.02  # three rows of a class tell little
    assert rows.top_labels.shape == (3000, 10)
