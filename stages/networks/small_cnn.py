"""A small residual network for CPUs and small images: three stages at full, half and quarter size, mean-pooled."""

from torch import Tensor, nn


def convolution(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    """Build a 3×3 convolution with batch norm."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs))


class Block(nn.Module):
    """One convolution that changes size and width, and one with a short cut around it."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.enter = convolution(inputs, outputs, stride)
        self.stay = convolution(outputs, outputs, 1)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, images: Tensor) -> Tensor:
        """Map [n, inputs, h, w] to [n, outputs, h / stride, w / stride]."""
        entered: Tensor = self.relu(self.enter(images))
        result: Tensor = self.relu(entered + self.stay(entered))
        return result


class SmallCnn(nn.Sequential):
    """Map images [n, 3, h, w] to [n, 4 × width] numbers."""

    def __init__(self, width: int) -> None:
        super().__init__(
            Block(3, width, 1),
            Block(width, 2 * width, 2),
            Block(2 * width, 4 * width, 2),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        self.dim = 4 * width
