"""Bring batches to the device while it computes: pinned memory, a stream and a thread of their own."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat

import torch
from torch import Tensor

from stages.shell.ahead import run_ahead


def bring_ahead(batches: Iterator[Tensor], device: torch.device) -> Iterator[Tensor]:
    """Bring batches to a GPU in order, one ahead; whatever makes them runs in the thread too."""
    side = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def bring(_: None) -> tuple[Tensor, torch.cuda.Event] | None:
        batch = next(batches, None)
        if batch is None:
            return None
        with torch.cuda.stream(side):
            moved = batch.pin_memory().to(device, non_blocking=True)
            done = torch.cuda.Event()  # type: ignore[no-untyped-call]
            done.record(side)
        return moved, done

    with ThreadPoolExecutor(1, "transfer") as thread:
        for found in run_ahead(thread, bring, repeat(None), 1):
            if found is None:
                return
            moved, done = found
            current = torch.cuda.current_stream(device)
            current.wait_event(done)
            moved.record_stream(current)  # its memory is not given to another batch before this stream is done with it
            yield moved
