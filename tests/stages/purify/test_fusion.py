"""What fusion promises beyond the laws of every purifier."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch

from pipeline.errors import DataError
from stages.purify.config import FusionOptions, PurifyConfig
from stages.purify.core import purify
from stages.purify.methods import fusion
from stages.purify.methods.fusion import prior_of
from stages.purify.pool import pool
from stages.purify.scores import fit_scores
from stages.purify.targets import targets_of
from stages.purify.transition import Learned, estimate_transition
from stages.purify.views import plan_views

Make = Callable[..., Any]
CONFIG = PurifyConfig(method="fusion")


def fitted(made: Any) -> fusion.Fusion:
    plan = plan_views(made.sample, made.trust, CONFIG)
    targets = [targets_of(made.sample, plan.views, view) for view in range(len(plan.views))]
    return fusion.fit(fit_scores(made.sample, targets, CONFIG.linear_probe), plan.views, FusionOptions())


def told(made: Any, row: int, label: int) -> Any:
    labels = made.trust.labels.clone()
    labels[row] = label
    return replace(made, trust=replace(made.trust, labels=labels))


def test_trusted_labels_are_nobodys_target(problem: Make) -> None:
    made = problem(rate=0.4)
    picked = torch.zeros(400, dtype=torch.bool)
    row = int(torch.where(made.trust.labels >= 0)[0][0])
    picked[row] = True  # so that it says nothing of T either
    made = replace(made, trust=replace(made.trust, picked=picked))
    one, two = (fitted(told(made, row, label)) for label in (0, 1))
    everyone = torch.arange(400)
    assert torch.equal(one.beliefs(everyone, 0), two.beliefs(everyone, 0))


def test_each_view_learns_a_noise_matrix_without_its_fold(problem: Make) -> None:
    drawn = problem(kind="asymmetric", rate=0.3, rows=2000, trusted=100, spread=0.4)
    made = fitted(drawn)
    matrices = torch.stack([t.log_matrix.exp() for t in made.transitions])
    assert torch.allclose(matrices.sum(2), torch.ones(matrices.shape[:2], dtype=matrices.dtype))
    kept = torch.stack([(drawn.sample.given == k)[drawn.truth == k].double().mean() for k in range(4)])
    assert (matrices[0].diagonal() - kept).abs().max() < 0.1
    assert not torch.allclose(matrices[1], matrices[2])


def test_where_given_labels_say_nothing_trusted_rows_alone_are_believed(problem: Make) -> None:
    made = problem(rate=0.0, spread=0.4, trusted=80)
    given = made.sample.given[torch.randperm(400, generator=torch.Generator().manual_seed(2))]
    made = made.changed(given=given)
    result = purify(made.sample, made.trust, CONFIG)
    assert made.right(given) < 0.35
    assert made.right(result.rows.suggested) > 0.85


@dataclass(frozen=True)
class Said:
    """A method that says what it was told to, whatever the view."""

    log_beliefs: torch.Tensor
    transitions: list[Learned]

    def beliefs(self, rows: torch.Tensor, view: int) -> torch.Tensor:
        return self.log_beliefs[rows]


def believed(labels: torch.Tensor, share: float) -> torch.Tensor:
    return torch.log(share * torch.nn.functional.one_hot(labels, 4).double() + (1 - share) / 4)


def test_a_method_that_trusted_rows_contradict_leaves_all_to_its_rival(problem: Make) -> None:
    made = problem(rate=0.5)
    plan = plan_views(made.sample, made.trust, CONFIG)
    even = [Learned(torch.full((4, 4), 0.25, dtype=torch.float64).log())] * len(plan.views)
    wrong, right = Said(believed((made.truth + 1) % 4, 0.99), even), Said(believed(made.truth, 0.5), even)
    for pair, own in (((wrong, right), False), ((right, wrong), True)):
        pooled = pool(pair, made.sample, plan, CONFIG.fusion.rival_ridge)
        assert all((weight > 0.3) == own and (other > 0.3) != own for weight, other in pooled.weights)
        assert made.right(pooled.beliefs(torch.arange(400), 0).argmax(1)) == 1.0


def test_symmetric_noise_holds_the_prior_and_other_noise_frees_it() -> None:
    true = torch.arange(400) % 4
    ones, counts = torch.ones(400, dtype=torch.float64), torch.full((4,), 100.0, dtype=torch.float64)
    even = (true + torch.arange(400) // 4 % 4) % 4  # every class to every other, 25 % kept
    priors = [
        prior_of(estimate_transition(true, given, ones, 4, 0.5), counts, FusionOptions())
        for given in (even, torch.where(torch.arange(400) < 200, true, (true + 1) % 4))
    ]
    weights = [float(p.pairs.sum()) - 10 * 400 for p in priors]  # what the symmetric part is worth
    assert weights[0] == pytest.approx(4 * 1000, rel=0.01)
    assert weights[1] < 400


def test_more_numbers_than_memory_are_refused_with_another_method(
    problem: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fusion, "MOST_BELIEFS", 1000)
    made = problem()
    with pytest.raises(DataError, match=r"400 rows and 4 classes, more than 1000 numbers") as caught:
        purify(made.sample, made.trust, CONFIG)
    assert "linear_probe" in caught.value.remedy


@pytest.mark.parametrize("repeat", ["two points", "each row twice", "one dimension", "constant"])
def test_rows_that_repeat_are_no_obstacle(repeat: str, problem: Make) -> None:
    made = problem(trusted=80)
    x, rows = made.sample.features.float(), torch.arange(400)
    x = {"two points": x[made.truth % 2], "each row twice": x[rows // 2], "one dimension": x[:, :1]}.get(repeat, x[:1])
    made = made.changed(features=x.expand(400, -1).clone())
    found = purify(made.sample, made.trust, CONFIG).rows
    assert torch.isfinite(found.top_probs).all()
    assert made.right(found.purified) >= made.right(made.sample.given) - 0.02


def test_without_given_labels_another_method_is_named(problem: Make) -> None:
    made = problem()
    made = made.changed(given=torch.full_like(made.sample.given, -1))
    with pytest.raises(DataError, match=r"0 of 400 rows are train rows with features and a given label") as caught:
        fusion.check(made.sample)
    assert "trusted_only" in caught.value.remedy


def test_one_landmark_for_three_rows_is_enough_for_twenty_rows(problem: Make) -> None:
    made = problem(rows=24, classes=2, trusted=8, rate=0.2)
    rows = purify(made.sample, made.trust, CONFIG).rows
    assert torch.isfinite(rows.top_probs).all()
