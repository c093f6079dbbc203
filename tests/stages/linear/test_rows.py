import torch

from stages.linear.design import WIDTH, design, unit_rows
from stages.linear.probes import knn_accuracy, linear_accuracy
from stages.linear.votes import count_labels


def test_rows_are_centred_and_of_unit_length() -> None:
    x = torch.randn(30, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 5
    ok = torch.arange(30) < 25
    rows = unit_rows(x, ok)
    expected = torch.nn.functional.normalize(x[:25] - x[:25].mean(0), dim=1)
    assert torch.allclose(rows[:25], expected, atol=1e-6)
    assert (rows[25:] == 0).all()


def test_neighbours_are_averaged_one_by_one() -> None:
    x = torch.randn(6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    neighbours = torch.tensor([[1, 2], [0, -1], [3, 4], [2, 5], [-1, -1], [0, 1]])
    every = torch.ones(6, dtype=torch.bool)
    rows, made = unit_rows(x, every), design(x, neighbours, every, 2)
    for i, near in enumerate(neighbours.tolist()):
        there = [rows[j] for j in near if j >= 0]
        mean = torch.stack(there).mean(0) if there else torch.zeros(3, dtype=torch.float64)
        expected = torch.cat([rows[i], torch.nn.functional.normalize(mean, dim=0)]) / 2**0.5
        assert torch.allclose(made[i], expected)
    assert torch.equal(design(x, neighbours, every, 0), rows)


def test_half_precision_stays_half_and_wide_rows_are_projected() -> None:
    x = torch.randn(5, WIDTH + 7, generator=torch.Generator().manual_seed(0)).half()
    rows = unit_rows(x, torch.ones(5, dtype=torch.bool))
    assert rows.dtype == torch.float16
    assert rows.shape == (5, WIDTH)


def test_votes_are_counted_one_by_one() -> None:
    neighbours, labels = torch.tensor([[1, 2, 3], [0, -1, 2], [3, 3, -1]]), torch.tensor([0, 2, -1, 2])
    expected = [[0, 0, 2], [1, 0, 0], [0, 0, 2]]
    assert count_labels(neighbours, labels, 3, torch.float32).tolist() == expected


def test_probes_tell_classes_from_chance() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 3, (120,), generator=generator)
    centres = 4 * torch.eye(3, 6, dtype=torch.float64)
    rows = centres[labels] + torch.randn(120, 6, generator=generator, dtype=torch.float64)
    rows = rows - rows.mean(0)
    mixed = labels[torch.randperm(120, generator=generator)]
    for probe in (knn_accuracy, linear_accuracy):
        assert probe(rows, labels) > 0.95
        assert probe(rows, mixed) < 0.5
        assert probe(rows[:1], labels[:1]) == 0
