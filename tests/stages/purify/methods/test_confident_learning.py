import torch

from stages.purify.methods.confident_learning import count_joint, prune_margins


def make(rows: int = 60, classes: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    given = torch.randint(0, classes - 1, (rows,), generator=generator)  # nobody gives the last class
    logits = 2 * torch.randn(rows, classes, generator=generator, dtype=torch.float64)
    logits[torch.arange(rows), given] += 1
    return torch.softmax(logits, dim=1), given


def test_the_joint_is_that_of_an_obvious_loop() -> None:
    q, given = make()
    rows, classes = q.shape
    bars = [q[given == k, k].mean() if (given == k).any() else float("inf") for k in range(classes)]
    counts = torch.zeros(classes, classes, dtype=torch.float64)
    for i in range(rows):
        sure = [k for k in range(classes) if q[i, k] >= bars[k]]
        if sure:
            counts[given[i], max(sure, key=lambda k: float(q[i, k]))] += 1
    expected = torch.zeros_like(counts)
    for g in range(classes):
        n = int((given == g).sum())
        expected[g] = n * (counts[g] / counts[g].sum() if counts[g].sum() else torch.eye(classes)[g])
    joint = count_joint(q, given)
    assert torch.allclose(joint, expected)
    assert torch.allclose(joint.sum(1), torch.bincount(given, minlength=classes).double())
    assert (joint[:, -1] == 0).all()


def test_each_pair_prunes_as_many_rows_as_the_joint_expects_and_those_of_largest_margin() -> None:
    q, given = make()
    joint = count_joint(q, given)
    margins = prune_margins(q, given, joint)
    assert joint.round().fill_diagonal_(0).sum() > 5
    for g in range(3):
        for k in range(4):
            mine = q[given == g, k] - q[given == g, g]
            expected = int(joint[g, k].round()) if g != k else 0
            pruned = mine >= margins[g, k]
            assert int(pruned.sum()) == expected
            assert expected == 0 or set(mine[pruned].tolist()) == set(
                mine.sort(descending=True).values[:expected].tolist()
            )


def test_sure_and_agreeing_rows_are_never_pruned() -> None:
    given = torch.arange(12) % 3
    q = torch.full((12, 3), 0.05, dtype=torch.float64)
    q[torch.arange(12), given] = 0.9
    assert torch.equal(count_joint(q, given), torch.diag(torch.full((3,), 4.0, dtype=torch.float64)))
    assert torch.isinf(prune_margins(q, given, count_joint(q, given))).all()
