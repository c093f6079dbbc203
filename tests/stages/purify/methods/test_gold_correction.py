from collections.abc import Callable
from typing import Any

import torch

from stages.purify.config import LinearProbeOptions, PurifyConfig
from stages.purify.core import purify
from stages.purify.methods.gold_correction import confusion
from stages.purify.scores import Scores, fit_scores
from stages.purify.targets import bare_targets
from stages.purify.transition import symmetric_matrix

Make = Callable[..., Any]


def test_a_row_of_the_confusion_is_what_is_said_of_its_class_on_average() -> None:
    said = torch.tensor([[0.8, 0.2, 0.0], [0.6, 0.2, 0.2], [0.1, 0.9, 0.0]], dtype=torch.float64)
    labels = torch.tensor([0, 0, 1])
    found = confusion(said, labels, 3, 1e-9)
    assert torch.allclose(found.matrix[:2], torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.9, 0.0]]).double(), atol=1e-6)
    assert torch.allclose(found.matrix[2], symmetric_matrix(3, found.rate, said.device)[2])
    assert found.rate == (3 - 2.3 + 0.5) / 4


def scores_of(problem: Any) -> Scores:
    return fit_scores(problem.sample, [bare_targets(problem.sample)], LinearProbeOptions())


def test_what_is_said_of_a_row_does_not_know_its_own_given_label(problem: Make) -> None:
    made, row = problem(), torch.tensor([17])
    given = made.sample.given.clone()
    given[17] = (given[17] + 1) % 4
    before, after = scores_of(made).bare_blocks(row), scores_of(made.changed(given=given)).bare_blocks(row)
    assert torch.allclose(before, after, atol=1e-9)


def test_bare_scores_know_no_trusted_label(problem: Make) -> None:
    made, rows = problem(), torch.arange(400)
    plan = purify(made.sample, made.trust, PurifyConfig()).plan
    assert plan.views.rows.numel() == 60
    assert torch.equal(scores_of(made).bare_blocks(rows), scores_of(problem(trusted=0)).bare_blocks(rows))


def test_trusted_rows_need_no_given_label(problem: Make) -> None:
    made = problem(kind="asymmetric", rate=0.35)
    given = torch.where(made.trust.labels >= 0, -1, made.sample.given)
    rows = purify(made.changed(given=given).sample, made.trust, PurifyConfig(method="gold_correction")).rows
    assert made.right(rows.suggested) > 0.9
