"""A torch dataset of images and their purified labels, read straight from the store."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from pipeline.errors import ConfigError
from pipeline.exports.export import Chosen, mask_of
from pipeline.exports.pictures import needs_pictures
from pipeline.labelled import Labelled, open_labelled
from pipeline.store import Store
from stages.images.decode import decode_image


class PurifiedImages(Dataset[tuple[Any, Any]]):
    """Images as Pillow's RGB (or what `transform` makes of them) with purified labels, or the probabilities [K].

    Rows to review and broken images are left out unless they are asked for.
    """

    def __init__(
        self,
        labels: str | Path | Labelled,
        chosen: Chosen | None = None,
        transform: Callable[[Any], Any] | None = None,
        *,
        soft: bool = False,
        store: Store | None = None,
    ) -> None:
        found = labels if isinstance(labels, Labelled) else open_labelled(Path(labels), store)
        needs_pictures(found, "PurifiedImages")
        assert found.images is not None
        rows = found.take(mask_of(found, chosen or Chosen(("keep", "relabel", "trusted"), ("train",))))
        self._rows = rows.take(found.images.ok[rows.rows])
        if not len(self._rows):
            raise ConfigError(f"none of {len(found)} rows fits what was asked for.", "Ask for other actions.")
        self._images = found.images
        self._transform = transform
        self.targets = torch.from_numpy(self._rows.labels("purified_label").astype(np.int64))
        self._soft = torch.from_numpy(self._rows.beliefs()) if soft else None

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        """Decode one image."""
        image = decode_image(self._images.read(int(self._rows.rows[index])))
        target = self.targets[index] if self._soft is None else self._soft[index]
        return self._transform(image) if self._transform else image, target

    @property
    def classes(self) -> Sequence[str]:
        """Return the class names; a target is a position among them."""
        return self._rows.classes

    @property
    def sample_ids(self) -> list[str]:
        """Return the ids in order."""
        return [str(sample_id) for sample_id in self._rows.words("sample_id")]

    @property
    def weights(self) -> torch.Tensor:
        """Return how sure each label is [n], to weigh a loss."""
        return torch.from_numpy(np.array(self._rows.table["confidence"].to_numpy(), dtype=np.float32))
