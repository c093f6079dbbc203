"""Batch norm over all processes is batch norm, here over the one process of a group."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from timm.layers.norm_act import BatchNormAct2d
from torch import Tensor, distributed, nn

from pipeline.errors import ConfigError
from stages.networks.devices import pick_device
from stages.networks.sharing import GlobalBatchNorm, all_rows, share_network, with_global_norms
from stages.shell.ranks import ALONE, Ranks

CPU = torch.device("cpu")


@pytest.fixture
def group(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[None]:
    backend = getattr(request, "param", "gloo")
    distributed.init_process_group(backend, init_method=f"file://{tmp_path}/group", rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


def results(norm: nn.Module, rows: Tensor) -> list[Tensor]:
    """Return what a norm makes of rows, its gradients and its statistics."""
    rows = rows.clone().requires_grad_()
    first = norm(rows)
    (first * torch.linspace(-1, 2, first.numel(), device=rows.device).view_as(first).sin()).sum().backward()
    norm.eval()
    return [first, rows.grad, *(p.grad for p in norm.parameters()), *norm.buffers(), norm(rows)]


def norms() -> list[tuple[nn.Module, tuple[int, ...]]]:
    return [
        (nn.BatchNorm1d(4, affine=False), (7, 4)), (nn.BatchNorm1d(4), (7, 4)), (nn.BatchNorm2d(4), (3, 4, 5, 2)),
        (nn.BatchNorm2d(4, momentum=None), (3, 4, 5, 2)), (BatchNormAct2d(4), (3, 4, 5, 2)),
    ]  # fmt: skip


@pytest.mark.parametrize("which", range(5))
@pytest.mark.usefixtures("group")
def test_a_norm_over_all_is_a_norm(which: int) -> None:
    (plain, shape), (twin, _) = norms()[which], norms()[which]
    shared = with_global_norms(twin, CPU)
    assert isinstance(shared, GlobalBatchNorm)
    assert list(shared.state_dict()) == list(plain.state_dict())
    rows = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 3 + 1
    for made, expected in zip(results(shared, rows), results(plain, rows), strict=True):
        torch.testing.assert_close(made, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("group")
def test_numbers_of_half_precision_stay_so_and_are_normalised_in_full() -> None:
    rows = torch.randn(64, 4, generator=torch.Generator().manual_seed(0)).bfloat16() + 100
    made = with_global_norms(nn.BatchNorm1d(4), CPU)(rows)
    assert made.dtype == torch.bfloat16
    assert float(made.detach().float().mean(dim=0).abs().max()) < 0.02


def test_alone_nothing_is_wrapped() -> None:
    network = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    assert share_network(network, ALONE, CPU, own_norms=(), freezes=False) is network
    assert isinstance(network[1], nn.BatchNorm1d)
    rows = torch.eye(2)
    assert all_rows(rows) is rows


def test_each_process_takes_the_gpu_of_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    second = Ranks(rank=5, world=8, local_rank=1, local_world=4, node=1)
    assert str(pick_device("auto", second)) == str(pick_device("cuda", second)) == "cuda:1"
    assert str(pick_device("cpu", second)) == "cpu"
    with pytest.raises(ConfigError, match="8 processes cannot share device 'cuda:0'"):
        pick_device("cuda:0", second)


@pytest.mark.gpu
@pytest.mark.parametrize("group", ["nccl"], indirect=True)
@pytest.mark.usefixtures("group")
def test_on_a_gpu_torchs_own_is_taken() -> None:
    device = torch.device("cuda")
    for (plain, shape), (twin, _) in zip(norms(), norms(), strict=True):
        shared = with_global_norms(twin, device).to(device)
        rows = torch.randn(shape, device=device)
        for made, expected in zip(results(shared, rows), results(plain.to(device), rows), strict=True):
            torch.testing.assert_close(made, expected, rtol=1e-4, atol=1e-4)
