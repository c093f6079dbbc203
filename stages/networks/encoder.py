"""The encoder: a backbone with the preprocessing it was trained with, described so that it can be rebuilt."""

from pathlib import Path
from typing import Literal

import torch
from pydantic import Field, ValidationError
from torch import Tensor, nn

from pipeline.config import Config
from pipeline.errors import ContractError
from stages.networks.backbones import Stem, build_backbone
from stages.networks.patches import PatchShape
from stages.networks.weights import load_weights, save_weights

WEIGHTS_FILE = "encoder.safetensors"
DESCRIPTION_FILE = "encoder.json"
CENTRE_FILE = "centre.npy"  # mean of the features of images it was trained on: cosines are seen from there


class EncoderDescription(Config):
    """All that rebuilds an encoder but its weights.

    Preprocessing: RGB in 0..1, the centre square, `crop` of the shorter side wide, scaled to `image_size`, then
    (x − mean) / std for each channel. `stem`: how a ResNet begins; empty: small for up to 64 pixels.
    """

    backbone: str
    width: int = 64
    stem: Stem = ""
    image_size: int
    crop: float = Field(1.0, gt=0, le=1)
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    channels: int = 3
    mean: tuple[float, ...]
    std: tuple[float, ...]
    dim: int = Field(0, ge=0)
    method: str = ""
    patches: PatchShape | None = None  # of the backbone `patches`

    @property
    def fit(self) -> tuple[int, float, str]:
        """Return how images are brought to the network's size: size, crop and interpolation."""
        return self.image_size, self.crop, self.interpolation


class Encoder(nn.Module):
    """Map images [n, 3, size, size] in 0..1 to features [n, dim]."""

    mean: Tensor
    std: Tensor
    resting = False  # while a head is put on

    def __init__(self, description: EncoderDescription) -> None:
        super().__init__()
        self.backbone, dim = build_backbone(
            description.backbone, description.image_size, description.width, description.stem, description.patches
        )
        self.description = description.model_copy(update={"dim": dim})
        self.register_buffer("mean", torch.tensor(description.mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(description.std).view(1, -1, 1, 1), persistent=False)

    @property
    def dim(self) -> int:
        """Return the numbers in a row of features."""
        return self.description.dim

    def forward(self, images: Tensor) -> Tensor:
        """Normalise and encode."""
        features: Tensor = self.backbone((images - self.mean) / self.std)
        return features

    def rest(self, resting: bool) -> None:
        """Let weights and statistics stay as they are for a while, or learn again."""
        self.resting = resting
        self.requires_grad_(not resting)

    def train(self, mode: bool = True) -> "Encoder":
        """Learn, unless at rest."""
        return super().train(mode and not self.resting)

    def layers(self) -> list[nn.Module]:
        """List the layers from the image to the features; what stands in a row counts one by one."""
        rows = [
            list(part.children()) if isinstance(part, nn.Sequential) else [part] for part in self.backbone.children()
        ]
        return [layer for row in rows for layer in row if any(True for _ in layer.parameters())]


def save_encoder(encoder: Encoder, folder: Path) -> None:
    """Write `encoder.safetensors` and `encoder.json`."""
    save_weights(encoder, folder / WEIGHTS_FILE)
    (folder / DESCRIPTION_FILE).write_text(encoder.description.model_dump_json(indent=1) + "\n", encoding="utf-8")


def load_encoder(description: Path, weights: Path) -> Encoder:
    """Rebuild an encoder from its two files, ready to encode."""
    try:
        encoder = Encoder(EncoderDescription.model_validate_json(description.read_bytes()))
    except ValidationError as error:
        raise ContractError(f"{description.name} does not describe an encoder: {error}", "Train it again.") from error
    load_weights(encoder, weights)
    return encoder.eval()
