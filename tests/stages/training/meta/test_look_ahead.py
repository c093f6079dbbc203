from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from stages.networks.heads import build_mlp
from stages.training.meta import noise_matrix, soft_labels
from stages.training.meta.look_ahead import LookAhead, as_function

Learn = Callable[[Tensor, Tensor], Tensor]
ROWS, JUDGES, DIM, CLASSES = 6, 5, 4, 3


class SmallImages(nn.Module):
    """A network with a batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3)
        self.norm = nn.BatchNorm2d(3)
        self.head = nn.Linear(3, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.head(functional.silu(self.norm(self.conv(images))).mean(dim=(2, 3)))
        return scores


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def build(kind: str) -> tuple[nn.Module, tuple[int, ...]]:
    torch.manual_seed(0)
    match kind:
        case "linear":
            return build_mlp(DIM, 0, CLASSES).double(), (DIM,)
        case "mlp":
            return nn.Sequential(nn.Linear(DIM, 7), nn.Tanh(), nn.Linear(7, CLASSES)).double(), (DIM,)
        case _:
            return SmallImages().double(), (1, 5, 5)


def ahead_of(network: nn.Module, shape: tuple[int, ...], learn: Learn) -> tuple[LookAhead, dict[str, Tensor]]:
    model, params = as_function(network)
    inputs, trusted = draw(ROWS, *shape, seed=1), draw(JUDGES, *shape, seed=2)
    truth = torch.arange(JUDGES) % CLASSES
    judge = lambda p: functional.cross_entropy(model(p, trusted), truth)  # noqa: E731
    return LookAhead(lambda p: model(p, inputs), learn, judge, rate=0.7), params


def problem(method: str) -> tuple[Learn, Tensor]:
    given = torch.tensor([0, 1, 2, 0, -1, 1])
    if method == "mslg":
        return soft_labels.divergence, soft_labels.first_logits(given, CLASSES, 2.0, torch.float64)
    learn = lambda scores, logits: noise_matrix.corrected_loss(scores, logits, given)  # noqa: E731
    return learn, noise_matrix.first_logits(CLASSES, 0.7).double() + 0.1 * draw(CLASSES, CLASSES)


each_case = pytest.mark.parametrize("method", ["mslg", "mlc"])
each_network = pytest.mark.parametrize("kind", ["linear", "mlp", "images"])


@each_case
@each_network
def test_the_meta_gradient_is_that_of_finite_differences(method: str, kind: str) -> None:
    learn, labels = problem(method)
    ahead, params = ahead_of(*build(kind), learn)
    found, step = ahead.gradient(params, labels), 1e-5
    assert float(found.abs().max()) > 1e-4
    for place in torch.cartesian_prod(*map(torch.arange, labels.shape)):
        moved = [labels.clone(), labels.clone()]
        for copy, sign in zip(moved, (1, -1), strict=True):
            copy[tuple(place)] += sign * step
        up, down = (float(ahead.judge(ahead.step(params, copy))) for copy in moved)
        assert float(found[tuple(place)]) == pytest.approx((up - down) / (2 * step), abs=1e-8)


@each_case
@each_network
def test_the_meta_gradient_is_that_of_backward_through_the_step(method: str, kind: str) -> None:
    learn, labels = problem(method)
    ahead, params = ahead_of(*build(kind), learn)
    values = {name: value.clone().requires_grad_() for name, value in params.items()}
    wanted = labels.clone().requires_grad_()
    loss = ahead.learn(ahead.score(values), wanted)
    gradients = torch.autograd.grad(loss, list(values.values()), create_graph=True)
    stepped = {name: values[name] - ahead.rate * g for name, g in zip(values, gradients, strict=True)}
    (slow,) = torch.autograd.grad(ahead.judge(stepped), wanted)
    torch.testing.assert_close(ahead.gradient(params, labels), slow, rtol=1e-9, atol=1e-12)


@each_case
def test_a_small_meta_step_makes_the_step_of_learning_better_for_the_judges(method: str) -> None:
    learn, labels = problem(method)
    ahead, params = ahead_of(*build("mlp"), learn)
    better = (soft_labels if method == "mslg" else noise_matrix).improve(ahead, params, labels, 0.1)
    before, after = (float(ahead.judge(ahead.step(params, z))) for z in (labels, better))
    assert after < before


def test_looking_ahead_leaves_the_network_as_it_is() -> None:
    network, shape = build("images")
    ahead, params = ahead_of(network, shape, soft_labels.divergence)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    ahead.gradient(params, problem("mslg")[1])
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(p.grad is None for p in network.parameters())


def test_parameters_follow_the_network_and_frozen_ones_stay_inside() -> None:
    network, _ = build("mlp")
    network[0].requires_grad_(requires_grad=False)  # type: ignore[index]
    model, params = as_function(network)
    assert set(params) == {"2.weight", "2.bias"}
    with torch.no_grad():
        network[2].bias += 1  # type: ignore[index]
    inputs = draw(2, DIM)
    torch.testing.assert_close(model(params, inputs), network(inputs))


def test_fits_that_share_a_batch_have_gradients_of_their_own() -> None:
    inputs, trusted, truth = draw(ROWS, DIM, seed=1), draw(JUDGES, DIM, seed=2), torch.arange(JUDGES) % CLASSES
    weights, labels = draw(2, DIM, CLASSES, seed=3), draw(2, ROWS, CLASSES, seed=4)

    def look(index: slice) -> tuple[LookAhead, Mapping[str, Tensor], Tensor]:
        def judge(p: Mapping[str, Tensor]) -> Tensor:
            log_p = torch.log_softmax(trusted @ p["weight"], dim=-1)
            return -log_p[:, torch.arange(JUDGES), truth].mean(dim=1).sum()

        ahead = LookAhead(lambda p: inputs @ p["weight"], soft_labels.divergence, judge, 0.5)
        return ahead, {"weight": weights[index]}, labels[index]

    (ahead, params, z), alone = look(slice(0, 2)), [look(slice(i, i + 1)) for i in range(2)]
    together = ahead.gradient(params, z)
    apart = torch.cat([one.gradient(p, one_z) for one, p, one_z in alone])
    torch.testing.assert_close(together, apart)


def test_labels_start_at_the_given_ones() -> None:
    logits = soft_labels.first_logits(torch.tensor([2, -1]), 3, 10.0)
    assert logits.tolist() == [[0, 0, 10], [0, 0, 0]]
    matrix = torch.softmax(noise_matrix.first_logits(4, 0.7), dim=1)
    torch.testing.assert_close(matrix.diagonal(), torch.full((4,), 0.7))
    torch.testing.assert_close(matrix.sum(1), torch.ones(4))


def test_the_loss_of_soft_labels_with_entropy_is_the_reverse_cross_entropy() -> None:
    scores, logits = draw(5, 3, seed=1), draw(5, 3, seed=2)
    reverse = -(torch.softmax(scores, 1) * torch.log_softmax(logits, 1)).sum(1).mean()
    torch.testing.assert_close(soft_labels.network_loss(scores, logits), reverse)
    divergence = functional.kl_div(
        torch.log_softmax(logits, 1), torch.log_softmax(scores, 1), reduction="batchmean", log_target=True
    )
    torch.testing.assert_close(soft_labels.divergence(scores, logits), divergence)
    torch.testing.assert_close(soft_labels.network_loss(scores, logits, 0.0), divergence)


def test_the_corrected_loss_is_a_slow_loop_over_rows_and_classes() -> None:
    scores, logits, given = draw(4, 3, seed=1), draw(3, 3, seed=2), torch.tensor([1, -1, 0, 2])
    p, matrix, total = torch.softmax(scores, 1), torch.softmax(logits, 1), 0.0
    for i in (0, 2, 3):
        total -= float(sum(p[i, k] * matrix[k, given[i]] for k in range(3)).log())  # type: ignore[union-attr]
    assert float(noise_matrix.corrected_loss(scores, logits, given)) == pytest.approx(total / 3)
