"""MoCo."""

import torch
from torch import Tensor
from torch.nn.functional import normalize

from stages.networks.encoder import Encoder, EncoderDescription
from stages.represent.methods.moco import MoCo
from stages.represent.options import MocoOptions

SMALL = EncoderDescription(backbone="small_cnn", width=8, image_size=8, mean=(0.5,) * 3, std=(0.2,) * 3)


def make(**options: object) -> MoCo:
    torch.manual_seed(0)
    plain = {"hidden_dim": 16, "projection_dim": 8, "queue": 12, "splits": 1}
    return MoCo(Encoder(SMALL), MocoOptions.model_validate(plain | options))


def teach(method: MoCo, views: Tensor) -> Tensor:
    with torch.no_grad():
        return normalize(method.teacher(views), dim=1)


def test_the_loss_is_that_of_a_slow_loop_over_queries_and_queue() -> None:
    method = make(temperature=0.3, momentum=0.9).eval()
    views, queue = torch.rand(2 * 3, 3, 8, 8), method.loss.memory_bank.bank.clone()
    keys, queries = teach(method, views), normalize(method.head(method.encoder(views)), dim=1)
    terms = []
    for i, query in enumerate(queries):
        right = torch.exp(query @ keys[(i + 3) % 6] / 0.3)
        wrong = sum(torch.exp(query @ old / 0.3) for old in queue)
        terms.append(-torch.log(right / (right + wrong)))
    assert torch.allclose(method(views), torch.stack(terms).mean(), atol=1e-5)


def test_one_way_only_the_first_views_ask() -> None:
    method = make(symmetric=False).eval()
    views = torch.rand(2 * 3, 3, 8, 8)
    expected = method.loss(method.head(method.encoder(views[:3])), teach(make().eval(), views[3:]))
    assert torch.allclose(make(symmetric=False).eval()(views), expected, atol=1e-6)


def test_the_queue_takes_the_newest_keys_in_place_of_the_oldest() -> None:
    method = make(momentum=0.0).eval()
    drawn = method.loss.memory_bank.bank.clone()
    batches = [torch.rand(4, 3, 8, 8) for _ in range(4)]
    keys = [teach(method, torch.cat([b[2:], b[:2]])) for b in batches]  # each image's other view is the answer
    expected = [drawn[0:4], drawn[4:8], drawn[8:12]]
    for number, (batch, key) in enumerate(zip(batches, keys, strict=True)):
        method(batch)
        expected[number % 3] = key
        assert torch.allclose(method.loss.memory_bank.bank, torch.cat(expected), atol=1e-6)


def test_the_teacher_follows_before_each_step_and_is_not_trained() -> None:
    method = make(momentum=0.8)
    with torch.no_grad():
        for weight in [*method.encoder.parameters(), *method.head.parameters()]:
            weight.add_(torch.randn_like(weight))
    student = [p.detach().clone() for p in [*method.encoder.parameters(), *method.head.parameters()]]
    before = [p.clone() for p in method.teacher.parameters()]
    method(torch.rand(4, 3, 8, 8)).backward()
    for old, now, target in zip(before, method.teacher.parameters(), student, strict=True):
        assert torch.allclose(now, 0.8 * old + 0.2 * target, atol=1e-6)
        assert now.grad is None


def test_the_teacher_sees_a_batch_in_parts() -> None:
    whole, parts = make(splits=1), make(splits=3)
    views = torch.rand(6, 3, 8, 8)
    expected = torch.cat([whole.teacher(views[i : i + 2]) for i in (0, 2, 4)])
    assert torch.allclose(parts.keys(views), expected, atol=1e-6)
    assert not torch.allclose(make(splits=1).keys(views), expected, atol=1e-2)
    assert torch.allclose(make(splits=99).keys(views), expected, atol=1e-6)  # never fewer than two views a part
