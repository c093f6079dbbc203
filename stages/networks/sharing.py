"""One network in several processes: gradients averaged, batch norm over all processes' rows, rows gathered."""

import warnings
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from stages.shell.ranks import Ranks


class Average(torch.autograd.Function):
    """Average a tensor over all processes; so are the gradients of all processes' losses, which are averaged too."""

    @staticmethod
    def forward(_: Any, tensor: Tensor) -> Tensor:
        """Average the values."""
        total = tensor.clone()
        distributed.all_reduce(total)
        return total / distributed.get_world_size()

    @staticmethod
    def backward(_: Any, *gradients: Tensor) -> Tensor:
        """Average the gradients."""
        return Average.forward(_, gradients[0].contiguous())


class GlobalBatchNorm(_BatchNorm):
    """Batch norm over the rows of all processes, equally many in each; torch's own exists on GPUs only."""

    def _check_input_dim(self, _: Tensor) -> None:
        """Take inputs [n, channels, ...] of any rank."""

    def forward(self, rows: Tensor) -> Tensor:
        """Normalise each channel of [n, channels, ...]."""
        if not self.training:
            return self._finish(super().forward(rows))
        exact = rows.to(torch.promote_types(rows.dtype, torch.float32))
        others = [d for d in range(rows.ndim) if d != 1]
        shape = [1, -1, *[1] * (rows.ndim - 2)]
        mean: Tensor = Average.apply(exact.mean(dim=others))
        centred = exact - mean.view(shape)
        var: Tensor = Average.apply(centred.square().mean(dim=others))
        self._count(mean.detach(), var.detach(), rows.numel() // rows.shape[1] * distributed.get_world_size())
        result = centred * torch.rsqrt(var + self.eps).view(shape)
        if self.affine:
            result = result * self.weight.view(shape) + self.bias.view(shape)
        return self._finish(result.to(rows.dtype))

    def _count(self, mean: Tensor, var: Tensor, count: int) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_((var * count / max(1, count - 1)).to(self.running_var.dtype), share)

    def _finish(self, result: Tensor) -> Tensor:
        """Do what timm's norms do in the same module."""
        for name in ("drop", "act"):
            if hasattr(self, name):
                result = getattr(self, name)(result)
        return result


def share_network(network: nn.Module, ranks: Ranks, device: torch.device, **traits: Any) -> nn.Module:
    """Wrap a network for training by several processes: `own_norms` (members to spare) and `freezes` as in Learner.

    The network itself stays what is saved and optimised; alone, it is returned as it is.
    """
    if ranks.world == 1:
        return network
    for name, member in list(network.named_children()):
        if name not in traits["own_norms"]:
            setattr(network, name, with_global_norms(member, device))
    with warnings.catch_warnings():  # what newer versions call it does not mean the same
        warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
        return DistributedDataParallel(
            network, [device] if device.type == "cuda" else None, broadcast_buffers=False,
            find_unused_parameters=traits["freezes"],
        )  # fmt: skip


def with_global_norms(module: nn.Module, device: torch.device) -> nn.Module:
    """Replace every batch norm in a module by one over all processes, with the same weights and statistics."""
    if device.type == "cuda":
        from timm.layers.norm_act import convert_sync_batchnorm  # torch's forgets the activations in timm's norms

        converted: nn.Module = convert_sync_batchnorm(module)
        return converted
    if isinstance(module, _BatchNorm):
        return as_global_norm(module)
    for name, member in list(module.named_children()):
        setattr(module, name, with_global_norms(member, device))
    return module


def as_global_norm(norm: _BatchNorm) -> GlobalBatchNorm:
    """Build a norm over all processes on the parameters, buffers and members of a plain one."""
    made = GlobalBatchNorm(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
    made._parameters, made._buffers, made._modules = norm._parameters, norm._buffers, norm._modules
    return made.train(norm.training)


def all_rows(rows: Tensor) -> Tensor:
    """Gather the rows [n, d] of all processes, in their order, with gradients."""
    from lightly.utils import dist  # here, as lightly takes a second to import

    return torch.cat(dist.gather(rows)) if dist.world_size() > 1 else rows
