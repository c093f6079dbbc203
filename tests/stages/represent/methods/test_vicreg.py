"""VICReg."""

import pytest
import torch
from torch import Tensor

from stages.networks.encoder import Encoder, EncoderDescription
from stages.represent.methods.vicreg import VicReg
from stages.represent.options import VicregOptions

SMALL = EncoderDescription(backbone="small_cnn", width=8, image_size=8, mean=(0.5,) * 3, std=(0.2,) * 3)


def terms(views: tuple[Tensor, Tensor]) -> dict[str, float]:
    """Compute invariance, variance and covariance number by number."""
    rows, size = views[0].shape
    result = {"invariance": 0.0, "variance": 0.0, "covariance": 0.0}
    for i in range(rows):
        for j in range(size):
            result["invariance"] += float((views[0][i, j] - views[1][i, j]) ** 2) / (rows * size)
    for z in views:
        centred = [[float(z[i, j] - z[:, j].mean()) for j in range(size)] for i in range(rows)]
        for j in range(size):
            for k in range(size):
                covariance = sum(centred[i][j] * centred[i][k] for i in range(rows)) / (rows - 1)
                if j == k:
                    result["variance"] += 0.5 * max(0.0, 1 - (covariance + 1e-4) ** 0.5) / size
                else:
                    result["covariance"] += covariance**2 / size
    return result


@pytest.mark.parametrize(
    "weights", [{"invariance": 3.0}, {"variance": 5.0}, {"covariance": 7.0}, {"invariance": 25, "variance": 25}]
)
def test_the_loss_is_that_of_a_slow_loop_over_its_three_terms(weights: dict[str, float]) -> None:
    torch.manual_seed(0)
    weights = {"invariance": 0, "variance": 0, "covariance": 0} | weights
    method = VicReg(Encoder(SMALL), VicregOptions(hidden_dim=16, projection_dim=8, **weights)).eval()
    views = torch.rand(2 * 6, 3, 8, 8)
    first, second = (20 * method.head(method.encoder(views)).detach()).chunk(2)
    expected = sum(weights[name] * term for name, term in terms((first, second)).items())
    assert expected > 0
    assert float(method.loss(first, second)) == pytest.approx(expected, rel=1e-4)


def test_a_step_compares_the_two_views_projections() -> None:
    method = VicReg(Encoder(SMALL), VicregOptions(hidden_dim=16, projection_dim=8)).eval()
    views = torch.rand(2 * 6, 3, 8, 8)
    assert torch.equal(method(views), method.loss(*method.head(method.encoder(views)).chunk(2)))
