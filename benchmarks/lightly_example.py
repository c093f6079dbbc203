"""lightly's own example recipe (its examples/pytorch/simclr.py) around any encoder and head, with a clock."""

import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from machine import ended_children, moment
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from stages.networks.devices import mixed_precision
from stages.represent.config import RepresentConfig

STILL = 1e-9  # a learning rate at which every block starts from the same network


class Views(torch.utils.data.Dataset[Any]):
    """Images as a torchvision dataset gives them, changed twice."""

    def __init__(self, images: list[Image.Image], transform: Callable[[Image.Image], Any]) -> None:
        self.images, self.transform = images, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int) -> Any:
        return self.transform(self.images[row])


class Example:
    """Pillow transforms in a DataLoader with a worker for each core, two forward passes, the loss, SGD."""

    def __init__(self, network: Any, pixels: NDArray[np.uint8], config: RepresentConfig, device: torch.device) -> None:
        self.network, self.pixels, self.config, self.device = network, pixels, config, device

    def loader(self, batch: int) -> Iterator[Any]:
        """Load pairs of views."""
        from lightly.transforms import SimCLRTransform

        how = self.config.augmentation
        transform = SimCLRTransform(input_size=self.config.image_size, gaussian_blur=how.blur, normalize=None)
        images = [Image.fromarray(image) for image in self.pixels]
        workers = len(os.sched_getaffinity(0))
        views = Views(images, transform)
        return iter(torch.utils.data.DataLoader(views, batch, shuffle=True, drop_last=True, num_workers=workers))

    def train(self, same_arithmetic: bool = False) -> NDArray[np.float64]:
        """Seconds an image: in float32 as the example, or with the same arithmetic, in our precision and layout."""
        from lightly.loss import NTXentLoss

        layout = torch.channels_last if same_arithmetic else torch.contiguous_format
        model = nn.Sequential(self.network.encoder, self.network.head).to(memory_format=layout).train()
        criterion, optimiser = NTXentLoss(), torch.optim.SGD(model.parameters(), lr=STILL)
        started, images, before = None, 0, ended_children()
        for first, second in self.loader(self.config.batch_size):
            with mixed_precision(self.device, same_arithmetic):
                one = model(first.to(self.device, memory_format=layout))
                two = model(second.to(self.device, memory_format=layout))
                loss = criterion(one.float(), two.float())
            loss.backward()
            optimiser.step()
            optimiser.zero_grad()
            started, images = (moment(self.device), 0) if started is None else (started, images + len(first))
        took = (moment(self.device) - started) / images + (ended_children() - before) / len(self.pixels)
        self.network.to(memory_format=torch.channels_last)
        return took

    def load(self) -> NDArray[np.float64]:
        """Seconds an image for making two views by all cores, without a network."""
        started, images, before = None, 0, ended_children()
        for first, _ in self.loader(max(1, min(64, len(self.pixels) // 16))):
            started, images = (moment(self.device), 0) if started is None else (started, images + len(first))
        return (moment(self.device) - started) / images + (ended_children() - before) / len(self.pixels)
