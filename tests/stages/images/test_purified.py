"""Images and purified labels as torch sees them."""

from typing import Any

import numpy as np
import pytest
import torch

from pipeline.datasets.images import open_images
from pipeline.errors import ConfigError
from pipeline.exports.export import Chosen
from pipeline.labelled import Labelled, open_labelled
from stages.images.purified import PurifiedImages

NAMES = ["left", "right", "up"]


@pytest.fixture
def labelled(make_images: Any, make_labels: Any) -> Labelled:
    """Make six rows of which the third is broken and the fifth to review."""
    pictures = [np.full((4, 4, 3), 10 * i, np.uint8) for i in range(6)]
    images = make_images([*pictures[:2], None, *pictures[3:]])
    beliefs = np.tile([0.6, 0.3, 0.1], (6, 1))
    given = np.array([0, 1, 2, 0, 1, 2])
    action = ["keep", "relabel", "keep", "keep", "review", "keep"]
    labels = make_labels((given, (given + 1) % 3), beliefs, NAMES, action=action)
    found = open_labelled(labels.path("labels.parquet"))
    return Labelled(found.table, found.metadata, found.rows, open_images(images))


def test_images_come_with_their_purified_labels(labelled: Labelled) -> None:
    data = PurifiedImages(labelled, transform=np.asarray)
    assert data.sample_ids == ["s0000", "s0001", "s0003", "s0005"]
    assert [(int(image[0, 0, 0]), int(label)) for image, label in data] == [(0, 1), (10, 2), (30, 1), (50, 0)]
    assert data.targets.tolist() == [1, 2, 1, 0]
    assert list(data.classes) == NAMES
    assert len(data.weights) == 4


def test_soft_labels_are_probabilities_of_the_same_rows(labelled: Labelled) -> None:
    data = PurifiedImages(labelled, Chosen(("review",)), transform=np.asarray, soft=True)
    image, target = data[0]
    assert image[0, 0, 0] == 40
    assert torch.allclose(target, torch.tensor([0.6, 0.3, 0.1]), atol=1e-6)


def test_a_loader_of_several_processes_reads_it(labelled: Labelled) -> None:
    data = PurifiedImages(labelled, transform=lambda image: torch.from_numpy(np.array(image)))
    loader = torch.utils.data.DataLoader(data, batch_size=4, num_workers=1)
    images, labels = next(iter(loader))
    assert images[:, 0, 0, 0].tolist() == [0, 10, 30, 50]
    assert labels.tolist() == [1, 2, 1, 0]


def test_labels_without_images_or_rows_are_refused(labelled: Labelled) -> None:
    with pytest.raises(ConfigError, match="none of 6 rows fits"):
        PurifiedImages(labelled, Chosen(("trusted",)))
    with pytest.raises(ConfigError, match="PurifiedImages needs images"):
        PurifiedImages(Labelled(labelled.table, labelled.metadata, labelled.rows))
