import re
from dataclasses import replace

import pytest
import torch

from stages.purify.actions import KEEP, RELABEL, REVIEW, decide
from stages.purify.audit import Gain, Judged, calibration_error, hash_draw, measure_gain, share_interval
from stages.purify.calibrate import Pairs
from stages.purify.config import PurifyConfig
from stages.purify.gate import judge

NOTHING = Gain(
    rows=100, given_right=0.9, suggested_right=0.9, wins=0, losses=0, gain=0.0, low=-0.02, high=0.02,
    lower_bound=-0.02, upper_bound=0.02, log_loss_gain=0.0, z=0.0,
)  # fmt: skip


@pytest.mark.parametrize(
    ("figures", "verdict", "strict", "mild"),
    [
        ({}, "unproven", False, False),
        ({"lower_bound": 0.01, "wins": 9}, "proven", True, True),
        ({"z": 1.7, "wins": 2, "losses": 2}, "proven", True, True),
        ({"z": 1.7, "wins": 2, "losses": 3}, "unproven", False, False),
        ({"z": 1.6, "wins": 3, "losses": 2}, "unproven", False, True),
        ({"z": 0.0, "wins": 3, "losses": 2}, "unproven", False, False),
        ({"upper_bound": -0.01, "losses": 9, "z": -3.0}, "harmful", False, False),
        ({"z": -1.7, "losses": 3, "wins": 2}, "harmful", False, False),
        ({"z": -1.7, "losses": 2, "wins": 2}, "unproven", False, False),
    ],
)
def test_the_gate_keeps_its_one_rule(figures: dict[str, float], verdict: str, strict: bool, mild: bool) -> None:
    gain = replace(NOTHING, **figures)  # type: ignore[arg-type]
    decisions = {setting: judge(gain, setting) for setting in ("strict", "mild", "off")}  # type: ignore[arg-type]
    assert {g.verdict for g in decisions.values()} == {verdict}
    assert [decisions[s].open for s in ("strict", "mild", "off")] == [strict, mild, True]


@pytest.mark.parametrize(
    ("figures", "words"),
    [
        ({"lower_bound": 0.029, "wins": 9}, "mend 9 and break 0 of 100 trusted rows; .* at least .2.9 points$"),
        (
            {"lower_bound": -0.01, "z": 4.8, "wins": 8},
            "rows; the true labels became more likely by 4.80 .*1.64 are proof",
        ),
        (
            {"z": 2.1, "wins": 1, "losses": 2},
            "at least -2.0 points; .* by 2.10 .*, but more break than mend; 100 trusted .* of 2.0 points or more",
        ),
        ({"upper_bound": -0.03, "losses": 9}, "rows; with 95 % certainty the gain is at most -3.0 points$"),
        (
            {"gain": 0.01, "z": 0.5, "wins": 2, "losses": 1},
            "; 100 trusted rows can prove a gain of 2.0 points or more, not a smaller one; one of 1.0 .* about 400$",
        ),
        ({"rows": 0}, "no trusted row with a given label could judge"),
    ],
)
def test_the_reason_names_the_figure_that_decided(figures: dict[str, float], words: str) -> None:
    reason = judge(replace(NOTHING, **figures), "strict").reason  # type: ignore[arg-type]
    assert re.search(words, reason)


def judged(wins: int, losses: int, ties: int, weights: torch.Tensor | None = None) -> Judged:
    rows = wins + losses + ties
    labels, given, suggested = torch.zeros(rows).long(), torch.zeros(rows).long(), torch.zeros(rows).long()
    given[:wins], suggested[wins : wins + losses] = 1, 1
    weights = torch.ones(rows, dtype=torch.float64) if weights is None else weights
    loss, index = torch.zeros(rows, dtype=torch.float64), torch.arange(rows)
    return Judged(
        index,
        index,
        Pairs(labels, given, weights, given[:, None]),
        suggested,
        loss,
        loss,
        loss,
        loss + 0.1,
        loss[:, None],
    )


def test_the_gain_counts_wins_and_losses() -> None:
    gain = measure_gain(judged(12, 4, 84))
    assert (gain.rows, gain.wins, gain.losses) == (100, 12, 4)
    assert gain.gain == pytest.approx(0.08)
    assert gain.given_right == pytest.approx(0.88)
    assert gain.low < gain.lower_bound < 0.08 < gain.upper_bound < gain.high
    assert gain.log_loss_gain == pytest.approx(0.1)


def test_without_a_difference_the_interval_still_has_a_width() -> None:
    gain = measure_gain(judged(0, 0, 100))
    assert gain.gain == 0
    assert 0.01 < gain.high == -gain.low < 0.05


def test_weights_of_rows_count() -> None:
    weights = torch.cat([torch.full((10,), 3.0), torch.ones(10)]).double()
    assert measure_gain(judged(10, 10, 0, weights)).gain == pytest.approx(0.5)


def test_intervals_cover_what_they_promise() -> None:
    generator, covered = torch.Generator().manual_seed(0), 0
    for _ in range(400):
        kinds = torch.multinomial(torch.tensor([0.1, 0.05, 0.85]), 100, replacement=True, generator=generator)
        counts = torch.bincount(kinds, minlength=3).tolist()
        gain = measure_gain(judged(*counts))
        covered += gain.low <= 0.05 <= gain.high
    assert 0.93 < covered / 400 < 0.98


def test_shares_have_wilsons_interval() -> None:
    low, high = share_interval(0.0, 10)
    assert low == pytest.approx(0, abs=1e-9)
    assert high == pytest.approx(0.2775, abs=1e-3)
    assert share_interval(0.5, 0) == (0.0, 1.0)


def test_calibration_error_is_the_gap_of_promise_and_truth() -> None:
    assert calibration_error(torch.full((10,), 0.75), torch.arange(10) < 5) == pytest.approx(0.25)
    assert calibration_error(torch.zeros(0), torch.zeros(0)) is None


def test_draws_are_the_same_everywhere() -> None:
    names = [f"ü {i}" for i in range(2000)]
    draws = hash_draw(3, "fold", names)
    assert torch.equal(draws.flip(0), hash_draw(3, "fold", names[::-1]))
    assert not torch.equal(draws, hash_draw(4, "fold", names))
    assert abs(float(draws.mean()) - 0.5) < 0.03


def test_each_row_gets_the_action_of_least_cost() -> None:
    given, suggested = torch.tensor([0, 0, 0, 0, -1, -1]), torch.tensor([1, 1, 0, 1, 1, 1])
    chances = torch.tensor([[0.2, 0.7], [0.45, 0.5], [0.9, 0.9], [0.3, 0.4], [0.0, 0.8], [0.0, 0.3]])
    config = PurifyConfig(relabel_cost=0.1)
    found = decide(config, True, given, suggested, chances)
    assert found.action.tolist() == [RELABEL, REVIEW, KEEP, REVIEW, RELABEL, REVIEW]
    assert found.purified.tolist() == [1, 0, 0, 0, 1, 1]
    closed = decide(config, False, given, suggested, chances)
    assert closed.action.tolist() == [REVIEW, REVIEW, KEEP, REVIEW, RELABEL, REVIEW]
    assert closed.purified.tolist() == [0, 0, 0, 0, 1, 1]
