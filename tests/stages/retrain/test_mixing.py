"""Rows mixed into each other."""

import torch

from stages.retrain.mixing import Mixing, cutmix, mixup


def generator(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_blend_keeps_its_share_and_is_drawn_from_the_generator() -> None:
    blend = Mixing(0.75, torch.tensor([1, 0]))
    torch.testing.assert_close(blend.inputs(torch.tensor([[4.0], [8.0]])), torch.tensor([[5.0], [7.0]]))
    first, again, other = mixup(5, 0.4, generator()), mixup(5, 0.4, generator()), mixup(5, 0.4, generator(4))
    assert first.keep == again.keep != other.keep
    assert torch.equal(first.partner, again.partner)
    assert sorted(first.partner.tolist()) == list(range(5))


def test_rows_that_keep_the_larger_part_are_still_themselves() -> None:
    assert all(mixup(4, 1.0, generator(seed), own=True).keep >= 0.5 for seed in range(20))
    assert any(mixup(4, 1.0, generator(seed)).keep < 0.5 for seed in range(20))


def test_a_row_that_counts_nothing_gives_nothing_of_its_target() -> None:
    blend = Mixing(0.5, torch.tensor([1, 0]))
    targets, weights = blend.lessons(torch.eye(2), torch.tensor([1.0, 0.0]))
    torch.testing.assert_close(targets, torch.tensor([[1.0, 0.0], [1.0, 0.0]]))
    torch.testing.assert_close(weights, torch.tensor([0.5, 0.5]))
    same, whole = blend.lessons(torch.eye(2), torch.ones(2))
    torch.testing.assert_close(same, torch.full((2, 2), 0.5))
    torch.testing.assert_close(whole, torch.ones(2))


def test_a_box_covers_the_share_that_its_target_says() -> None:
    pictures = torch.arange(6.0).view(6, 1, 1, 1).expand(6, 3, 10, 12)
    for seed in range(20):
        cut = cutmix(pictures.shape, 1.0, generator(seed))
        mixed = cut.inputs(pictures)
        for i in range(6):
            own = (mixed[i] == i).float().mean() if cut.partner[i] != i else torch.tensor(cut.keep)
            torch.testing.assert_close(own, torch.tensor(cut.keep))
