import pytest
import torch

from stages.linear.kernel import kernel, kernel_features


def unit(rows: int, width: int, seed: int = 0) -> torch.Tensor:
    made = torch.randn(rows, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.nn.functional.normalize(made, dim=1)


def test_the_kernel_is_a_gaussian_of_the_distance() -> None:
    rows, others = unit(5, 3), unit(4, 3, seed=1)
    slow = torch.stack([torch.exp(-(u - others).square().sum(1) / 2) for u in rows])
    assert torch.allclose(kernel(rows, others), slow)


def approximate(features: torch.Tensor, norm: torch.Tensor) -> torch.Tensor:
    """Return Nyström's approximation of the kernel among all rows."""
    return features @ torch.linalg.solve(norm, features.T)


def test_seen_from_landmarks_the_kernel_is_exact_at_landmarks() -> None:
    rows, landmarks = unit(60, 6), torch.arange(20)
    features, norm = kernel_features(rows, torch.arange(60), landmarks, torch.float64)
    assert torch.allclose(features, kernel(rows, rows[:20]))
    assert torch.allclose(approximate(features, norm)[:, :20], kernel(rows, rows[:20]), atol=1e-4)


def test_the_more_landmarks_the_better_elsewhere() -> None:
    rows = unit(200, 6)
    made = [kernel_features(rows, torch.arange(200), torch.arange(m), torch.float64) for m in (5, 40, 200)]
    errors = [float((approximate(*one) - kernel(rows, rows)).square().mean()) for one in made]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-9


@pytest.mark.parametrize("stored", [torch.float16, torch.float32])
def test_repeated_landmarks_and_narrow_storage_are_no_matter(stored: torch.dtype) -> None:
    rows = unit(30, 4)[torch.arange(60) % 30]
    features, norm = kernel_features(rows, torch.arange(60), torch.arange(60), stored)
    assert features.dtype == stored
    assert torch.allclose(features.double(), kernel(rows, rows), atol=1e-3)
    assert torch.linalg.eigvalsh(norm).min() > 0
