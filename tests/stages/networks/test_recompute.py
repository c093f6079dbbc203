"""Less memory for more time: same gradients, same running statistics, less kept."""

from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from stages.networks.backbones import build_backbone
from stages.networks.recompute import blocks, frozen_statistics, in_parts, recompute_blocks

BACKBONES = [("small_cnn", 3), ("resnet18", 8), ("resnet50", 16)]
IMAGES = torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def build(name: str) -> nn.Module:
    torch.manual_seed(0)
    return build_backbone(name, 16, 8)[0].train()


def learn(network: nn.Module) -> tuple[list[Tensor], int]:
    """Return the gradients of a step, and how many numbers were kept for its backward pass."""
    kept: list[int] = []

    def pack(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = network(IMAGES).square().mean()
    loss.backward()
    return [p.grad for p in network.parameters() if p.grad is not None], sum(kept)


@pytest.mark.parametrize(("name", "count"), BACKBONES)
def test_recomputing_blocks_changes_memory_and_nothing_else(name: str, count: int) -> None:
    plain, thrifty = build(name), build(name)
    recompute_blocks(thrifty)
    assert len(list(blocks(thrifty))) == count
    gradients, much = learn(plain)
    same, little = learn(thrifty)
    assert all(torch.equal(a, b) for a, b in zip(gradients, same, strict=True))
    assert little < much / 2
    counted, again = plain.state_dict(), thrifty.state_dict()  # running means and the number of batches among it
    assert all(torch.equal(counted[key], again[key]) for key in counted.keys() | again.keys())
    assert counted["1.enter.1.num_batches_tracked" if name == "small_cnn" else "bn1.num_batches_tracked"] == 1


def test_statistics_count_again_after_a_pass_that_failed() -> None:
    network = build("small_cnn")
    norm = network.get_submodule("0.enter.1")
    before = dict(norm.named_buffers())
    with pytest.raises(RuntimeError, match="channels"), frozen_statistics(network):
        network(IMAGES[:, :1])
    assert all(buffer is before[name] for name, buffer in norm.named_buffers())
    assert norm.get_buffer("num_batches_tracked") == 0


@pytest.mark.parametrize("parts", [2, 4, 6, 100])
def test_a_batch_in_parts_has_the_gradients_of_the_whole(parts: int) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).double()
    whole, images = deepcopy(network), IMAGES.double()
    out, expected = in_parts(network, images, parts), whole(images)
    assert torch.allclose(out, expected)
    for result in (out, expected):
        (result @ result.T).exp().sum().backward()  # every row against every other
    for one, other in zip(network.parameters(), whole.parameters(), strict=True):
        assert one.grad is not None
        assert other.grad is not None
        assert torch.allclose(one.grad, other.grad)


def test_batch_norm_counts_every_part_once() -> None:
    network = build("small_cnn")
    in_parts(network, IMAGES, 3).sum().backward()
    assert network.state_dict()["0.enter.1.num_batches_tracked"] == 3


def test_one_part_is_the_plain_way() -> None:
    network = build("small_cnn")
    assert torch.equal(in_parts(network, IMAGES, 1), build("small_cnn")(IMAGES))
