import torch

from stages.linear.folded import Folded, fit_folded, order_of

ROWS, WIDTH, FOLDS = 60, 6, 4
STRENGTHS = (0.1, 3.0)
NORM = torch.eye(WIDTH, dtype=torch.float64) + 0.3  # what a penalty holds down


def make(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(ROWS, WIDTH, generator=generator, dtype=torch.float64) + 1
    q = torch.randn(ROWS, 3, generator=generator, dtype=torch.float64)
    return x, q, torch.randint(0, FOLDS, (ROWS,), generator=generator)


def fitted(x: torch.Tensor, taught: torch.Tensor, fold: torch.Tensor) -> Folded:
    order = order_of(fold, taught)
    return fit_folded((x[order], NORM), order, taught, fold, STRENGTHS)


def test_scores_are_an_explicit_regression_on_the_other_folds() -> None:
    x, q, fold = make()
    folded = fitted(x, torch.arange(ROWS), fold)
    scores = folded.scores(torch.arange(ROWS), folded.weights(q))
    centred = x - x.mean(0)
    gram = centred.T @ centred * (1 - 1 / FOLDS)
    for m, strength in enumerate(STRENGTHS):
        level = torch.linalg.eigvals(torch.linalg.solve(NORM, gram)).real.mean()
        inverse = torch.linalg.inv(gram + strength * level * NORM)
        for i in range(ROWS):
            others = fold != fold[i]
            mean = q[others].mean(0)
            expected = centred[i] @ inverse @ centred[others].T @ (q[others] - mean) + mean
            assert torch.allclose(scores[m, i], expected, atol=1e-4)


def test_no_target_of_its_own_fold_reaches_a_row() -> None:
    x, q, fold = make()
    folded = fitted(x, torch.arange(ROWS), fold)
    mine = torch.where(fold == 2)[0]
    other = q.clone()
    other[mine] = 100.0
    before, after = (folded.scores(torch.arange(ROWS), folded.weights(t)) for t in (q, other))
    assert torch.allclose(before[:, mine], after[:, mine], rtol=0, atol=1e-11)
    assert not torch.allclose(before[:, fold != 2], after[:, fold != 2])


def test_rows_that_do_not_teach_are_scored_and_teach_nothing() -> None:
    x, q, fold = make()
    taught = torch.arange(0, ROWS, 2)
    folded = fitted(x, taught, fold)
    other = q.clone()
    other[1::2] = -7.0
    before, after = (folded.scores(torch.arange(ROWS), folded.weights(t)) for t in (q, other))
    assert torch.equal(before, after)
    assert torch.isfinite(before).all()


def test_a_constant_target_is_given_back() -> None:
    x, _, fold = make()
    folded = fitted(x, torch.arange(ROWS), fold)
    scores = folded.scores(torch.arange(ROWS), folded.weights(torch.full((ROWS, 2), 0.25, dtype=torch.float64)))
    assert torch.allclose(scores, torch.full_like(scores, 0.25))
