"""mslg and mlc on features, and which fit may speak about which row."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from stages.purify.bundle import Judges, copies, first_params, open_rows, score
from stages.purify.config import PurifyConfig
from stages.purify.fits import plan_fits
from stages.purify.methods import mlc, mslg
from stages.purify.options import MlcOptions, MslgOptions
from stages.purify.targets import Targets, targets_of
from stages.purify.views import plan_views

Make = Callable[..., Any]
QUICK: dict[str, Any] = {"warmup_steps": 20, "steps": 30}


def targets(made: Any, folds: int = 10) -> list[Targets]:
    plan = plan_views(made.sample, made.trust, PurifyConfig(folds=folds))
    return [targets_of(made.sample, plan.views, view) for view in range(len(plan.views))]


def fit(method: str, made: Any, **options: Any) -> Any:
    if method == "mslg":
        return mslg.fit(made.sample, targets(made), MslgOptions(**QUICK | options))
    return mlc.fit(made.sample, targets(made), MlcOptions(**QUICK | options))


each = pytest.mark.parametrize("method", ["mslg", "mlc"])


@pytest.mark.parametrize("folds", [2, 3, 10])
@pytest.mark.parametrize("trusted", [0, 3, 60])
def test_no_fit_knows_what_its_rows_are_judged_by(folds: int, trusted: int, problem: Make) -> None:
    made = problem(trusted=trusted)
    views = targets(made, folds)
    fits, everyone = plan_fits(made.sample, views), torch.arange(400)
    assert bool(fits.known[0].all())
    place = torch.full((400,), -1)
    place[fits.rows] = torch.arange(len(fits.rows))
    for view, target in enumerate(views):
        hidden = place[fits.rows[target.trusted[fits.rows] < 0]]
        for fit, positions in fits.parts(everyone, view):
            own = place[positions][place[positions] >= 0]
            assert not fits.known[fit, own].any()
            assert not fits.known[fit, hidden].any()
    if trusted == 60:
        assert len(fits) == {2: 4, 3: 7, 10: 11}[folds]
        assert float(fits.known.double().mean()) > 0.4


@each
def test_no_belief_knows_the_own_given_or_trusted_label(method: str, problem: Make) -> None:
    made = problem(trusted=40)
    known = torch.where(made.trust.labels >= 0)[0]
    before = fit(method, made)
    group = before.bundle.fits.group
    everyone = torch.arange(400)
    for view in (0, 2):
        mine = known[group[known] == max(view, 1)]
        labels = made.trust.labels.clone()
        labels[mine] = (labels[mine] + 1) % 4
        after = fit(method, replace(made, trust=replace(made.trust, labels=labels)))
        asked = mine if view == 0 else everyone
        assert torch.equal(before.beliefs(asked, view), after.beliefs(asked, view))
        assert view or not torch.equal(before.beliefs(everyone, 0), after.beliefs(everyone, 0))
    half = before.bundle.rows.half == 0
    other = fit(method, made.changed(given=torch.where(half, (made.sample.given + 1) % 4, made.sample.given)))
    assert torch.equal(before.beliefs(everyone[half], 0), other.beliefs(everyone[half], 0))
    assert not torch.equal(before.beliefs(everyone[~half], 0), other.beliefs(everyone[~half], 0))


@each
@pytest.mark.parametrize("hidden", [0, 5])
def test_beliefs_are_distributions_also_with_a_hidden_layer(method: str, hidden: int, problem: Make) -> None:
    made = problem(trusted=20)
    found = fit(method, made, hidden=hidden).beliefs(torch.arange(400), 1)
    torch.testing.assert_close(found.exp().sum(1), torch.ones(400, dtype=torch.float64))
    assert float((found.argmax(1) == made.truth).double().mean()) > 0.8


@each
def test_only_so_many_rows_teach(method: str, problem: Make) -> None:
    made = problem()
    found = fit(method, made, most_rows=100)
    assert len(found.bundle.rows.taught) == 100
    assert found.beliefs(torch.arange(400), 0).shape == (400, 4)


def test_meta_steps_mend_labels_that_plain_learning_believes(problem: Make) -> None:
    """Where most labels of a class are wrong in one way, trusted rows alone can tell."""
    made = problem(trusted=80, rate=0.0, spread=0.3)
    given = torch.where(
        (made.truth == 1) & (torch.rand(400, generator=torch.Generator().manual_seed(1)) < 0.7), 2, made.truth
    )
    made, ones = made.changed(given=given), made.truth == 1
    for method, options in (("mslg", {"label_rate": 1e-9}), ("mlc", {"matrix_rate": 1e-9})):
        plain, meta = (fit(method, made, steps=80, **o).beliefs(torch.arange(400), 0) for o in (options, {}))
        right = [float((one.argmax(1) == made.truth)[ones].double().mean()) for one in (plain, meta)]
        assert right[1] > right[0] + 0.1, (method, right)


def test_the_noise_matrix_learns_the_noise(problem: Make) -> None:
    made = problem(trusted=200, rate=0.4, spread=0.3)
    learned = fit("mlc", made, steps=120).matrices[0]
    assert float(learned.diagonal().mean()) == pytest.approx(0.6, abs=0.12)
    torch.testing.assert_close(learned.sum(1), torch.ones(4, dtype=torch.float64))


def test_a_reset_matrix_has_no_memory(problem: Make) -> None:
    found = fit("mlc", problem(trusted=40), memory="reset", matrix_rate=0.1).matrices[0]
    start = torch.full((4, 4), 0.2 / 3, dtype=torch.float64).fill_diagonal_(0.8)
    assert 0.001 < float((found - start).abs().max()) < 0.1


def test_a_bundle_is_many_heads_side_by_side() -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(6, 4, generator=generator, dtype=torch.float64)
    params = copies(first_params(4, 5, 3, inputs), 2)
    params = {n: v + 0.1 * torch.randn(v.shape, generator=generator, dtype=v.dtype) for n, v in params.items()}
    for fit in range(2):
        hidden = torch.relu(inputs @ params["hidden_weight"][fit] + params["hidden_bias"][fit])
        torch.testing.assert_close(score(params, inputs)[fit], hidden @ params["weight"][fit] + params["bias"][fit])
    known = torch.tensor([[True, True, False, True, False, False], [False] * 6])
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    wanted = torch.nn.functional.cross_entropy(score(params, inputs)[0, known[0]], labels[known[0]])
    torch.testing.assert_close(Judges(inputs, labels, known).loss(params), wanted)


def test_halves_are_even_and_keep_their_rows_whatever_the_order(problem: Make) -> None:
    made, order = problem(rows=21, trusted=5), torch.randperm(21, generator=torch.Generator().manual_seed(3))
    labelled = torch.ones(21, dtype=torch.bool)
    plain, shuffled = (open_rows(p.sample.features, p.sample, labelled, 100) for p in (made, made.taken(order)))
    assert plain.half.bincount().tolist() == [11, 10]
    assert torch.equal(plain.half[order], shuffled.half)
    assert torch.equal(plain.taught, order[shuffled.taught])
