"""The processes that torchrun lets share one stage: which of them this is, and the few words that they exchange."""

import json
import os
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar, cast

from pipeline.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor
    from torch.distributed import ProcessGroup

PATIENCE = timedelta(days=7)  # decoding and waiting for a lock take their time; a process that dies is noticed at once
LAUNCHED = "TORCHELASTIC_RUN_ID"  # only torchrun sets it; clusters set WORLD_SIZE for purposes of their own

T = TypeVar("T")


class Ranks:
    """One of `world` processes of a run; alone, all words are free and torch is not imported."""

    def __init__(self, rank: int = 0, world: int = 1, local_rank: int = 0, local_world: int = 1, node: int = 0) -> None:
        self.rank, self.world = rank, world
        self.local_rank, self.local_world, self.node = local_rank, local_world, node  # on this machine, and which
        self._group: ProcessGroup | None = None

    @property
    def main(self) -> bool:
        """Tell whether this is the process that locks, saves, publishes and speaks."""
        return self.rank == 0

    def join(self, device: str) -> None:
        """Meet the others: NCCL between GPUs, gloo between CPUs and for the words; collective."""
        if self.world == 1 or self._group is not None:
            return
        import torch
        from torch import distributed

        on_gpus = device != "cpu" and torch.cuda.is_available() and distributed.is_nccl_available()
        if on_gpus and self.local_rank >= torch.cuda.device_count():
            raise ConfigError(
                f"{self.local_world} processes were started here, but torch sees {torch.cuda.device_count()} GPUs.",
                "Start one for each GPU at most, or choose device cpu.",
            )
        if on_gpus:
            torch.cuda.set_device(self.local_rank)
        distributed.init_process_group("nccl" if on_gpus else "gloo")
        self._group = cast("ProcessGroup", distributed.new_group(backend="gloo", timeout=PATIENCE))

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """Take every world-th item, from the one of this process's number on."""
        return items[self.rank :: self.world]

    def any(self, flag: bool) -> bool:
        """Tell whether the flag is up in any process; collective, like all words below."""
        if self._group is None:
            return flag
        import torch
        from torch import distributed

        raised = torch.tensor(int(flag))
        distributed.all_reduce(raised, distributed.ReduceOp.MAX, self._group)
        return bool(raised)

    def mean(self, values: Sequence[float]) -> list[float]:
        """Average the numbers of all processes, which come with equally many."""
        if self._group is None:
            return list(values)
        import torch
        from torch import distributed

        total = torch.tensor(values, dtype=torch.float64)
        distributed.all_reduce(total, group=self._group)
        result: list[float] = (total / self.world).tolist()
        return result

    def tell(self, value: T) -> T:
        """Give what the main process says, anything that JSON can hold, to all."""
        if self._group is None:
            return value
        import torch

        text = bytearray(json.dumps(value).encode() if self.main else b"")
        size = self._from_main(torch.tensor(len(text)))
        spoken = torch.frombuffer(text, dtype=torch.uint8) if text else torch.empty(int(size), dtype=torch.uint8)
        result: T = json.loads(self._from_main(spoken).numpy().tobytes())
        return result

    def wait(self) -> None:
        """Wait until all are here."""
        self.any(False)

    def _from_main(self, tensor: "Tensor") -> "Tensor":
        from torch import distributed

        distributed.broadcast(tensor, 0, self._group)
        return tensor


ALONE = Ranks()


def ranks_from_environment() -> Ranks:
    """Read from torchrun's environment which process this is."""
    if LAUNCHED not in os.environ:
        return ALONE
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK")
    return Ranks(*(int(os.environ[name]) for name in names))
