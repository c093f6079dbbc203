import pytest
import torch

from stages.purify.prior import class_shares
from stages.purify.transition import estimate_transition, one_hot, symmetric_matrix


def pairs(matrix: torch.Tensor, per_class: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    true = torch.arange(len(matrix)).repeat_interleave(per_class)
    given = torch.multinomial(matrix[true], 1, generator=torch.Generator().manual_seed(seed))[:, 0]
    return true, given, torch.ones(len(true), dtype=torch.float64)


def cyclic(classes: int, rate: float) -> torch.Tensor:
    own = torch.eye(classes, dtype=torch.float64)
    return (1 - rate) * own + rate * own.roll(1, 1)


def test_symmetric_noise_is_held_symmetric_and_other_noise_set_free() -> None:
    even = estimate_transition(*pairs(symmetric_matrix(10, 0.5, torch.device("cpu")), 10), 10, 0.5)
    odd = estimate_transition(*pairs(cyclic(10, 0.4), 10), 10, 0.5)
    assert even.strength > 50 > 5 > odd.strength
    assert (even.matrix - symmetric_matrix(10, even.rate, torch.device("cpu"))).abs().max() < 0.1
    raw = one_hot(pairs(cyclic(10, 0.4), 10)[1], 10, torch.float64).view(10, 10, 10).mean(1)
    assert (odd.matrix - raw).abs().max() < 0.15


@pytest.mark.parametrize("classes", [3, 1500])
def test_rows_are_distributions_and_every_form_says_the_same(classes: int) -> None:
    true = torch.arange(classes).repeat(2)
    given = torch.where(torch.arange(2 * classes) % 5 == 0, (true + 1) % classes, true)
    found = estimate_transition(true, given, torch.ones(2 * classes, dtype=torch.float64), classes, 0.5)
    assert found.symmetric == (classes > 1000)
    matrix = found.matrix
    assert torch.allclose(matrix.sum(1), torch.ones(classes, dtype=torch.float64))
    asked = torch.tensor([0, classes - 1, -1])
    evidence = found.log_evidence(asked, torch.float64)
    assert torch.allclose(evidence[:2], matrix.log().T[asked[:2]])
    assert (evidence[2] == 0).all()
    counts = torch.rand(2, classes, dtype=torch.float64)
    assert torch.allclose(found.push(counts), counts @ matrix)


def test_taking_a_pair_out_is_estimating_without_it() -> None:
    true, given, weights = pairs(cyclic(4, 0.4), 6)
    whole = estimate_transition(true, given, weights, 4, 0.5)
    without = whole.log_own(true, given, weights)
    base = symmetric_matrix(4, whole.rate, torch.device("cpu"))
    for i in range(len(true)):
        counts = whole.counts.clone()
        counts[true[i], given[i]] -= 1
        row = sum(
            w * (a * base + counts) / (a + counts.sum(1, keepdim=True))
            for w, a in zip(whole.weights, whole.strengths, strict=True)
        )
        assert torch.isclose(row[true[i], given[i]].log(), without[i])


def test_without_pairs_the_guess_stands() -> None:
    none = torch.zeros(0, dtype=torch.long)
    found = estimate_transition(none, none, torch.zeros(0), 4, 0.3)
    assert found.pairs == 0
    assert torch.allclose(found.matrix, symmetric_matrix(4, 0.3, torch.device("cpu")))


def test_class_shares_are_seen_through_the_noise() -> None:
    shares = torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64)
    found = estimate_transition(*pairs(cyclic(3, 0.4), 400), 3, 0.5)
    assert torch.allclose(class_shares(1000 * shares @ found.matrix, found), shares, atol=1e-3)
