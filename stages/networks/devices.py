"""Where a network runs, and which numbers are fast there."""

import torch

from pipeline.errors import ConfigError
from stages.shell.ranks import ALONE, Ranks


def pick_device(name: str, ranks: Ranks = ALONE) -> torch.device:
    """Take the device that a request names: auto (a GPU where there is one), cpu, cuda or cuda:N.

    Of several processes each takes the GPU of its own number.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if ranks.world > 1 and ":" in name:
        raise ConfigError(f"{ranks.world} processes cannot share device '{name}'.", "Use auto, cpu or cuda.")
    if ranks.world > 1 and count and name in ("auto", "cuda"):
        return torch.device("cuda", ranks.local_rank)
    if name == "auto":
        return torch.device("cuda" if count else "cpu")
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda") or (number and not number.isdecimal()) or (kind == "cpu" and number):
        raise ConfigError(f"device '{name}' is not known.", "Use auto, cpu, cuda or cuda:N.")
    if kind == "cuda" and int(number or 0) >= count:
        raise ConfigError(f"device '{name}' is not here: this machine shows {count} GPUs to torch.", "Use auto or cpu.")
    return torch.device(name)


def computes_bfloat16(device: torch.device) -> bool:
    """Tell whether bfloat16 is faster than float32 there (measured: twice as fast on a CPU with AVX512-BF16)."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def mixed_precision(device: torch.device, wanted: bool) -> torch.autocast:
    """Compute in bfloat16 inside a `with`, where that is wanted and faster."""
    return torch.autocast(device.type, torch.bfloat16, enabled=wanted and computes_bfloat16(device))
