import pytest
import torch

from stages.linear.logit import Pull, Rows, derivatives, fit_logit, objective


def make(seed: int = 0, hidden: bool = True) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    columns = torch.randn(80, 4, 3, generator=generator, dtype=torch.float64)
    truth = torch.tensor([1.5, -1.0, 0.5], dtype=torch.float64)
    label = torch.multinomial(torch.softmax(columns @ truth, 1), 1, generator=generator)[:, 0]
    seen = torch.full((80, 4), 0.1 if hidden else 0.0, dtype=torch.float64)
    seen[torch.arange(80), label] = 0.7 if hidden else 1.0
    return columns, seen.log(), torch.rand(80, generator=generator, dtype=torch.float64) + 0.5


@pytest.mark.parametrize("hidden", [False, True])
def test_the_gradient_is_zero_at_the_solution(hidden: bool) -> None:
    columns, evidence, weights = make(hidden=hidden)
    centre = torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64)
    theta = fit_logit(columns, evidence, weights, Pull(centre, 2.0))
    assert (derivatives(Rows(columns, evidence, weights, 0.0), theta)[0] - 2.0 * (theta - centre)).abs().max() < 1e-6


@pytest.mark.parametrize("hidden", [False, True])
def test_derivatives_are_those_of_autograd(hidden: bool) -> None:
    columns, evidence, weights = make(hidden=hidden)
    theta = torch.tensor([0.3, -0.2, 0.9], dtype=torch.float64)

    def value(t: torch.Tensor) -> torch.Tensor:
        return (weights * torch.logsumexp(torch.log_softmax(columns @ t, 1) + evidence, 1)).sum()

    gradient, expected, missing = derivatives(Rows(columns, evidence, weights, 0.0), theta)
    assert objective(Rows(columns, evidence, weights, 0.0), theta) == pytest.approx(float(value(theta)))
    assert torch.allclose(gradient, torch.autograd.functional.jacobian(value, theta))
    assert torch.allclose(missing - expected, torch.autograd.functional.hessian(value, theta), atol=1e-9)


def test_where_the_search_starts_is_nothing() -> None:
    columns, evidence, weights = make()
    centre = torch.zeros(3, dtype=torch.float64)
    near = fit_logit(columns, evidence, weights, Pull(centre, 0.5))
    far = fit_logit(columns, evidence, weights, Pull(centre, 0.5, torch.tensor([3.0, -3.0, 3.0], dtype=torch.float64)))
    assert torch.allclose(near, far, atol=1e-6)
