import pytest
import torch

from stages.linear.ridge import fit_ridge


def make(rows: int, width: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, width, generator=generator, dtype=torch.float64)
    return x + 1, torch.randn(rows, 3, generator=generator, dtype=torch.float64)


def refit(x: torch.Tensor, q: torch.Tensor, penalty: float, at: torch.Tensor) -> torch.Tensor:
    mean, target = x.mean(0), q.mean(0)
    gram = (x - mean).T @ (x - mean) + penalty * torch.eye(x.shape[1], dtype=x.dtype)
    return (at - mean) @ torch.linalg.solve(gram, (x - mean).T @ (q - target)) + target


def level(x: torch.Tensor) -> float:
    values = torch.linalg.svdvals(x - x.mean(0)) ** 2
    return float(values[values > 1e-9 * values.max()].mean())


@pytest.mark.parametrize(("rows", "width"), [(40, 5), (12, 30)], ids=["tall", "wide"])
def test_leave_one_out_is_an_explicit_refit_without_the_row(rows: int, width: int) -> None:
    x, q = make(rows, width)
    everyone, strengths = torch.arange(rows), (0.1, 2.0)
    ridge = fit_ridge(x, torch.ones(rows, dtype=torch.bool), strengths)
    mean = q.mean(0)
    scores = ridge.leave_one_out(everyone, ridge.weights(ridge.take(everyone).T @ (q - mean)), q, mean)
    for m, strength in enumerate(strengths):
        for i in range(rows):
            others = everyone != i
            expected = refit(x[others], q[others], strength * level(x), x[i])
            assert torch.allclose(scores[m, i], expected, atol=1e-8)


def test_rows_outside_the_fit_get_its_plain_prediction() -> None:
    x, q = make(40, 5)
    taught = torch.arange(40) < 30
    ridge = fit_ridge(x, taught, (0.5,))
    mean = q[taught].mean(0)
    weights = ridge.weights(ridge.take(taught).T @ (q[taught] - mean))
    outside = torch.arange(30, 40)
    found = ridge.leave_one_out(outside, weights, torch.full((10, 3), 99.0, dtype=torch.float64), mean)[0]
    assert torch.allclose(found, refit(x[:30], q[:30], 0.5 * level(x[:30]), x[30:]), atol=1e-8)


def test_the_normal_equations_hold() -> None:
    x, q = make(50, 6)
    everyone = torch.arange(50)
    ridge = fit_ridge(x, torch.ones(50, dtype=torch.bool), (0.3,))
    centred, target = ridge.take(everyone), q - q.mean(0)
    weights = ridge.weights(centred.T @ target)[0]
    gradient = centred.T @ (centred @ weights - target) + 0.3 * level(x) * weights
    assert gradient.abs().max() < 1e-9


def test_constant_features_predict_the_mean_of_the_others() -> None:
    q = make(10, 1)[1]
    everyone = torch.arange(10)
    ridge = fit_ridge(torch.ones(10, 4, dtype=torch.float64), torch.ones(10, dtype=torch.bool), (1.0,))
    scores = ridge.leave_one_out(everyone, ridge.weights(ridge.take(everyone).T @ q), q, q.mean(0))[0]
    assert torch.allclose(scores[0], q[1:].mean(0))
