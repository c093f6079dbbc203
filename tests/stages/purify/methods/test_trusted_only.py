import pytest
import torch

from stages.purify.methods.trusted_only import expert_of, kernel, log_beliefs, solve, without
from stages.purify.prior import Prior
from stages.purify.transition import one_hot

STRENGTH = 0.7


def make(rows: int = 30, classes: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(rows) % classes
    centres = torch.randn(rows, 5, generator=generator, dtype=torch.float64) + 2 * one_hot(labels, 5, torch.float64)
    return torch.nn.functional.normalize(centres, dim=1), labels


def slow(centres: torch.Tensor, target: torch.Tensor, teach: torch.Tensor, asked: torch.Tensor) -> torch.Tensor:
    gram = torch.stack([torch.stack([(-(u - v).square().sum() / 2).exp() for v in centres[teach]]) for u in centres])
    alpha = torch.linalg.solve(gram[teach] + STRENGTH * torch.eye(len(teach), dtype=torch.float64), target[teach])
    return gram[asked] @ alpha


def test_the_kernel_is_gaussian() -> None:
    centres, _ = make(6)
    rows = torch.cat([centres[:2], torch.zeros(1, 5, dtype=torch.float64)])  # a row without features too
    expected = (-torch.cdist(rows, centres).square() / 2).exp()
    assert torch.allclose(kernel(rows, centres), expected)


@pytest.mark.parametrize("folded", [0, 4])
def test_scores_without_a_row_and_its_fold_are_those_of_refitting(folded: int) -> None:
    centres, labels = make()
    target = one_hot(labels, 3, torch.float64) - 1 / 3
    known = torch.arange(30) >= folded
    alpha, alone = without(solve(centres, target, STRENGTH), known)
    for i in range(30):
        teach = torch.where(known & (torch.arange(30) != i))[0]
        expected = slow(centres, target, teach, torch.tensor([i]))[0]
        found = alone[i] if known[i] else kernel(centres[[i]], centres)[0] @ alpha
        assert torch.allclose(found, expected, atol=1e-9)


def test_classes_without_a_trusted_row_keep_their_share() -> None:
    centres, labels = make()
    shares = torch.tensor([0.5, 0.3, 0.1, 0.1], dtype=torch.float64)
    solved = solve(centres, one_hot(labels, 4, torch.float64) - 0.25, STRENGTH)
    expert = expert_of(solved, labels != 1, Prior(shares, torch.zeros(4, dtype=torch.float64)))
    beliefs = log_beliefs(expert.alone, expert).exp()
    assert torch.allclose(beliefs.sum(1), torch.ones(30, dtype=torch.float64))
    assert torch.allclose(beliefs[:, [1, 3]], shares[[1, 3]].expand(30, -1))
    nothing = expert_of(solved, labels < 0, Prior(shares, torch.zeros(4, dtype=torch.float64)))
    assert torch.allclose(log_beliefs(nothing.alone, nothing).exp(), shares.expand(30, -1))


def test_balanced_trusted_rows_are_brought_to_the_mix_of_the_data() -> None:
    centres, labels = make()
    solved = solve(centres, one_hot(labels, 3, torch.float64) - 1 / 3, STRENGTH)
    everyone, shares = torch.ones(30, dtype=torch.bool), torch.tensor([0.9, 0.05, 0.05], dtype=torch.float64)
    same, other = (Prior(shares, offset) for offset in (torch.zeros(3).double(), (1 / 3 / shares).log()))
    plain, moved = (log_beliefs(e.alone, e) for e in (expert_of(solved, everyone, p) for p in (same, other)))
    assert torch.allclose((moved - plain).diff(dim=1), (3 * shares).log().diff().expand(30, -1))
