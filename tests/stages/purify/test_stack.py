import math

import numpy as np
import pytest
import torch

from stages.purify.stack import Prior, Search, _Problem, fit_matrix, fit_stack
from stages.purify.stiffness import choose_ridge

CLASSES, BLOCKS = 3, 2


def noise(rate: float, shift: int = 1) -> torch.Tensor:
    """Keep a label with 1 − rate, else turn class c into class c + shift."""
    eye = torch.eye(CLASSES, dtype=torch.float64)
    return (1 - rate) * eye + rate * eye.roll(shift, dims=1)


def prior(pairs: float, matrix: torch.Tensor | None = None, fixed: bool = False) -> Prior:
    matrix = torch.full((CLASSES, CLASSES), 0.1, dtype=torch.float64).fill_diagonal_(0.8) if matrix is None else matrix
    return Prior(pairs * matrix, matrix, torch.full((CLASSES,), -math.log(CLASSES), dtype=torch.float64), fixed)


def make(rows: int, matrix: torch.Tensor, sharp: float = 3.0, seed: int = 0) -> tuple[torch.Tensor, ...]:
    """Draw true labels, given ones by T, and blocks that tell the true ones as through T."""
    generator = torch.Generator().manual_seed(seed)
    true = torch.randint(0, CLASSES, (rows,), generator=generator)
    given = torch.multinomial(matrix[true], 1, generator=generator)[:, 0]
    clear = sharp * torch.nn.functional.one_hot(true, CLASSES).double()
    blocks = torch.softmax(clear + torch.randn(BLOCKS, rows, CLASSES, generator=generator, dtype=torch.float64), 2)
    return true, given, blocks @ matrix


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize("classes", [CLASSES, 101], ids=["free", "multiples of I"])
def test_the_gradient_is_that_of_finite_differences(fixed: bool, classes: int) -> None:
    generator = torch.Generator().manual_seed(3)
    blocks = torch.randn(BLOCKS, 40, classes, generator=generator, dtype=torch.float64)
    given = torch.randint(0, classes, (40,), generator=generator)
    matrix = torch.full((classes, classes), 0.2 / (classes - 1), dtype=torch.float64).fill_diagonal_(0.8)
    shares = torch.full((classes,), -math.log(classes), dtype=torch.float64)
    problem = _Problem(blocks, given, 7.0)
    problem.suppose(Prior(5 * matrix, matrix, shares, fixed))
    start = problem.first(None)
    at = start + 0.1 * np.random.default_rng(0).standard_normal(len(start))
    gradient = problem.value_and_gradient(at)[1]
    for place in np.random.default_rng(1).choice(len(at), 30):
        step = np.zeros(len(at))
        step[place] = 1e-5
        slope = (problem.value_and_gradient(at + step)[0] - problem.value_and_gradient(at - step)[0]) / 2e-5
        assert gradient[place] == pytest.approx(slope, rel=1e-4, abs=1e-8)


def test_beliefs_and_noise_are_learned_together_from_given_labels_alone() -> None:
    matrix = noise(0.4)
    true, given, blocks = make(4000, matrix)
    start = 0.5 * matrix + 0.5 * noise(0.3, shift=2)
    stack = fit_stack(blocks, given, prior(30, start), Search(50.0, 200))
    assert (stack.log_matrix.exp() - matrix).abs().max() < 0.08
    beliefs = stack.log_beliefs(blocks)
    seen = stack.posterior(beliefs, given)
    wrong = [float((said.argmax(1) != true).double().mean()) for said in (blocks.mean(0), beliefs, seen)]
    assert wrong[2] < wrong[1] < wrong[0] / 2
    assert torch.allclose(seen.sum(1), torch.ones(4000, dtype=torch.float64))


def test_a_fixed_matrix_stays() -> None:
    _, given, blocks = make(300, noise(0.3))
    stack = fit_stack(blocks, given, prior(10, fixed=True), Search(50.0, 20))
    assert torch.allclose(stack.log_matrix.exp(), prior(10).matrix)
    assert torch.allclose(
        fit_matrix(stack.log_beliefs(blocks), given, prior(10, fixed=True), 5).exp(), prior(10).matrix
    )


def test_rows_without_a_given_label_keep_their_belief() -> None:
    _, given, blocks = make(300, noise(0.3))
    stack = fit_stack(blocks, given, prior(10), Search(50.0, 20))
    beliefs = stack.log_beliefs(blocks)
    assert torch.allclose(stack.posterior(beliefs, torch.full_like(given, -1)), beliefs.exp())


def test_a_stiffer_penalty_is_chosen_where_labels_say_nothing_of_other_weights() -> None:
    _, given, blocks = make(400, noise(0.0))
    mixed = blocks @ torch.tensor([[1, 0, 0], [0, 1, 2], [3, 0, 1]], dtype=torch.float64)
    assert choose_ridge((mixed, given), prior(100), (0.1, 1e6)).ridge == 0.1
    shuffled = given[torch.randperm(400, generator=torch.Generator().manual_seed(1))]
    assert choose_ridge((mixed[:, :60], shuffled[:60]), prior(100), (0.1, 1e6)).ridge == 1e6


def test_a_choice_that_starts_at_an_earlier_one_ends_where_a_fresh_one_does() -> None:
    _, given, blocks = make(400, noise(0.2))
    moved = blocks.square().add(blocks)
    earlier = choose_ridge((blocks, given), prior(10), (1.0, 50.0))
    again, fresh = (choose_ridge((moved, given), prior(10), (1.0, 50.0), e) for e in (earlier, None))
    assert again.ridge == fresh.ridge
    for ridge, stack in again.stacks.items():
        gaps = [
            (one.log_beliefs(moved).exp() - fresh.stacks[ridge].log_beliefs(moved).exp()).abs().max()
            for one in (stack, earlier.stacks[ridge])
        ]
        assert gaps[0] < 0.05
        assert gaps[0] < gaps[1] / 3


def test_the_matrix_of_certain_beliefs_is_counted() -> None:
    true, given, _ = make(500, noise(0.3))
    certain = torch.nn.functional.one_hot(true, CLASSES).double().clamp_min(1e-12).log()
    found = fit_matrix(certain, given, prior(20), 3).exp()
    counts = torch.zeros(CLASSES, CLASSES, dtype=torch.float64).index_put_(
        (true, given), torch.ones(500, dtype=torch.float64), accumulate=True
    )
    counts += 20 * prior(20).matrix
    assert torch.allclose(found, counts / counts.sum(1, keepdim=True), atol=1e-9)
