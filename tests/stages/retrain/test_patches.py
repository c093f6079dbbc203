"""An encoder of patches is a starting point like any other, though nothing in it was learned step by step."""

from dataclasses import replace
from typing import Any

import pytest

from pipeline.artifacts import Ref
from pipeline.models import open_model
from stages.images.augmentation import Augmentation
from stages.represent.config import RepresentConfig
from stages.represent.options import PatchesOptions
from stages.represent.produce import produce

CONFIG = RepresentConfig(
    method="patches", image_size=8, augmentation=Augmentation(crop_scale=0.8, flip=False),
    patches=PatchesOptions(atoms=32, patch_size=3, dim=4),
)  # fmt: skip


@pytest.mark.parametrize("freeze", [False, True])
@pytest.mark.parametrize("start", ["encoder", "scratch"])
def test_a_network_of_patches_is_trained_on(
    pictures_toy: Any, retrain: Any, run_stage: Any, start: str, freeze: bool
) -> None:
    images = {"images": pictures_toy.inputs["images"]}
    encoder = run_stage(CONFIG, produce, images, Ref(kind="encoders", key="p" * 32)).ref
    toy = replace(pictures_toy, inputs={**pictures_toy.inputs, "encoder": encoder})
    options = {"epochs": 20, "learning_rate": 0.02, "batch_size": 32, "shift": 0.0, "flip": False}
    model = open_model(retrain(toy, freeze=freeze, start_from=start, **options))
    assert model.metrics.test is not None
    assert model.metrics.test.accuracy > 0.8
