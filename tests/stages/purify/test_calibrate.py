import torch

from stages.purify.calibrate import Calibration, Pairs, fit_calibration
from stages.purify.transition import Crowd, estimate_transition, one_hot


def make(rows: int, seed: int = 0) -> tuple[torch.Tensor, Pairs]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 3, (rows,), generator=generator)
    noise = torch.rand(rows, generator=generator) < 0.3
    given = torch.where(noise, (labels + 1) % 3, labels)
    logits = 2 * one_hot(labels, 3, torch.float64) + torch.randn(rows, 3, generator=generator, dtype=torch.float64)
    return torch.log_softmax(logits, 1), Pairs(labels, given, torch.ones(rows, dtype=torch.float64), given[:, None])


def test_without_a_given_label_only_the_belief_counts() -> None:
    log_beliefs, pairs = make(5)
    transition = estimate_transition(pairs.labels, pairs.given, pairs.weights, 3, 0.5)
    none = torch.full((5,), -1)
    assert torch.allclose(
        Calibration(1.0, 0.7, 3.0).fuse(log_beliefs, none, transition.log_evidence(none, torch.float64)),
        log_beliefs.exp(),
    )


def test_the_neutral_calibration_is_bayes_rule() -> None:
    log_beliefs, pairs = make(40)
    transition = estimate_transition(pairs.labels, pairs.given, pairs.weights, 3, 0.5)
    expected = log_beliefs.exp() * transition.matrix.T[pairs.given]
    fused = Calibration().fuse(log_beliefs, pairs.given, transition.log_evidence(pairs.given, torch.float64))
    assert torch.allclose(fused, expected / expected.sum(1, keepdim=True))


def test_beliefs_that_are_too_sure_are_toned_down() -> None:
    log_beliefs, pairs = make(400)
    transition = estimate_transition(pairs.labels, pairs.given, pairs.weights, 3, 0.5)
    usual = fit_calibration(log_beliefs, pairs, Crowd((transition,)), 1e-3)
    sure = fit_calibration(torch.log_softmax(5 * log_beliefs, 1), pairs, Crowd((transition,)), 1e-3)
    assert abs(sure.belief * 5 / usual.belief - 1) < 1e-3


def test_a_strong_pull_and_no_rows_both_mean_bayes_rule() -> None:
    log_beliefs, pairs = make(50)
    transition = estimate_transition(pairs.labels, pairs.given, pairs.weights, 3, 0.5)
    pulled = fit_calibration(log_beliefs, pairs, Crowd((transition,)), 1e6)
    assert max(abs(pulled.belief - 1), abs(pulled.evidence - 1), abs(pulled.own)) < 1e-3
    empty = torch.zeros(0, dtype=torch.long)
    nothing = Pairs(empty, empty, torch.zeros(0, dtype=torch.float64), empty[:, None])
    assert fit_calibration(log_beliefs[:0], nothing, Crowd((transition,)), 2.0) == Calibration()
