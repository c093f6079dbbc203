"""From images to features: rows whose content an earlier run encoded are copied, the others computed."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray

from pipeline.artifacts import Artifact, Ref
from pipeline.datasets.images import ImageRows, open_images
from pipeline.errors import DataError
from pipeline.features import KIND, ROWS_SCHEMA, Features, FeaturesWriter, open_features, storage_dtype
from pipeline.keys import artifact_key, digest
from stages.embed.config import FEATURES_VERSION, EmbedConfig
from stages.images.cache import to_batch
from stages.images.decoding import Fit, decode_blocks
from stages.networks.devices import pick_device
from stages.networks.encoder import DESCRIPTION_FILE, WEIGHTS_FILE, Encoder, load_encoder
from stages.shell import Context

COMPUTED_FILE = "computed.npy"
CONTENT_FILE = "content.json"
CHUNK_ROWS = 8192

Floats = NDArray[np.floating]


def embed_images(config: EmbedConfig, context: Context) -> Artifact:
    """Publish the features of all images, or find them already there."""
    images, encoder = context.input("images"), context.input("encoder")
    recipe = {"flip_average": config.flip_average}
    key = artifact_key(KIND, FEATURES_VERSION, recipe, {"images": images.key, "encoder": encoder.key})
    same = digest([FEATURES_VERSION, recipe, encoder.key])

    def write(folder: Path) -> dict[str, object]:
        rows = open_images(images)
        known = known_features(context, same)
        return {"recipe": same, **EmbedRun(config, context, rows, known).write(load(encoder), folder)}

    inputs = {"images": images.ref, "encoder": encoder.ref}
    return context.publish(Ref(kind=KIND, key=key), write, inputs)


def load(encoder: Artifact) -> Encoder:
    """Rebuild the encoder."""
    return load_encoder(encoder.path(DESCRIPTION_FILE), encoder.path(WEIGHTS_FILE))


def known_features(context: Context, recipe: str) -> Features | None:
    """Open the features of the previous run where the same encoder made them in the same way."""
    previous = context.hint("previous")
    ref = previous.manifest.inputs.get("features") if previous else None
    found = context.store.find(ref.kind, ref.key) if ref else None
    return open_features(found) if found and found.metrics.get("recipe") == recipe else None


class EmbedRun:
    """One pass over the images: what to copy, what to compute, and the file that holds what was computed so far."""

    def __init__(self, config: EmbedConfig, context: Context, images: ImageRows, known: Features | None) -> None:
        self._config = config
        self._context = context
        self._images = images
        self._known = known
        self._source = source_rows(images, known)
        self._new = np.flatnonzero(images.ok & (self._source < 0))

    def write(self, encoder: Encoder, folder: Path) -> dict[str, object]:
        """Write the features artifact's files; return what was done."""
        computed = self._compute(encoder)
        dtype = storage_dtype(self._assembled(computed, encoder.dim))
        writer = FeaturesWriter(folder, encoder.dim, dtype)
        for chunk in self._assembled(computed, encoder.dim):
            writer.append(chunk)
        names = [name for name in ROWS_SCHEMA.names if name in self._images.rows.column_names]
        writer.close(self._images.rows.select(names))
        copied = int((self._source >= 0).sum())
        return {"rows": len(self._images), "computed": len(self._new), "copied": copied, "dtype": str(dtype)}

    def _compute(self, encoder: Encoder) -> NDArray[np.float32]:
        """Encode the new images in a file of the work folder; checkpoint by time, go on from the newest checkpoint."""
        context, new = self._context, self._new
        device = pick_device(context.resources.device)
        encoder = encoder.to(device).to(memory_format=torch.channels_last)
        computed = unnamed_array(context.request.work_folder, len(new), encoder.dim)
        done = self._resume(computed)
        fit, batch = Fit(*encoder.description.fit), self._config.batch_size
        for pixels in decode_blocks(self._images, new[done:], fit, context.workers, batch):
            computed[done : done + len(pixels)] = self._encode(encoder, pixels, device)
            done += len(pixels)
            context.progress.report("embed", done, len(new), "images")
            if context.checkpoints.due() or context.stop.requested:
                context.checkpoints.save(done, partial(self._save, computed[:done]))
                if context.stop.requested:
                    raise context.stop.interrupted()
        return computed

    def _save(self, computed: NDArray[np.float32], folder: Path) -> None:
        np.save(folder / COMPUTED_FILE, computed, allow_pickle=False)
        (folder / CONTENT_FILE).write_text(json.dumps(self._content(len(computed))), encoding="utf-8")

    def _resume(self, computed: NDArray[np.float32]) -> int:
        found = self._context.checkpoints.latest()
        if found is None:
            return 0
        rows = np.load(found[1].path(COMPUTED_FILE), mmap_mode="r", allow_pickle=False)
        content = json.loads(found[1].path(CONTENT_FILE).read_text(encoding="utf-8"))
        if len(rows) > len(computed) or content != self._content(len(rows)):  # other rows were known then
            return 0
        computed[: len(rows)] = rows
        return len(rows)

    def _content(self, count: int) -> str:
        """Name the images whose features come first in the file."""
        return digest(self._images.rows["sha256"].take(pa.array(self._new[:count])).to_pylist())

    def _encode(self, encoder: Encoder, pixels: NDArray[np.uint8], device: torch.device) -> NDArray[np.float32]:
        with torch.inference_mode():
            images = to_batch(torch.from_numpy(pixels), device)
            features = encoder(images)
            if self._config.flip_average:
                features = (features + encoder(images.flip(3))) / 2
        result: NDArray[np.float32] = features.float().cpu().numpy()
        if not np.isfinite(result).all():
            raise DataError("the encoder returns NaN or infinity for some images.", "Train it again (represent).")
        return result

    def _assembled(self, computed: NDArray[np.float32], dim: int) -> Iterator[Floats]:
        """Go through all rows in dataset order: copied, computed, or zeros where the image is broken."""
        place = np.full(len(self._images), -1)
        place[self._new] = np.arange(len(self._new))
        for start in range(0, len(place), CHUNK_ROWS):
            source, new = self._source[start : start + CHUNK_ROWS], place[start : start + CHUNK_ROWS]
            chunk = np.zeros((len(source), dim), np.float32)
            if self._known is not None:
                chunk[source >= 0] = self._known.take(source[source >= 0])
            chunk[new >= 0] = computed[new[new >= 0]]
            yield chunk


def source_rows(images: ImageRows, known: Features | None) -> NDArray[np.int64]:
    """Find for each usable image a row of the known features with the same content, −1 where there is none."""
    source = np.full(len(images), -1, np.int64)
    if known is not None and known.ok.any():
        usable = np.flatnonzero(known.ok)
        found = pc.index_in(images.rows["sha256"], value_set=known.rows["sha256"].take(pa.array(usable)))
        place = found.fill_null(-1).to_numpy()
        source = np.where(images.ok & (place >= 0), usable[place], -1)
    return source


def unnamed_array(folder: Path, rows: int, dim: int) -> NDArray[np.float32]:
    """Map a file that has no name any more: its space comes back when the process ends, however that ends."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / COMPUTED_FILE
    if rows == 0:
        return np.zeros((0, dim), np.float32)
    array: NDArray[np.float32] = np.lib.format.open_memmap(path, "w+", np.float32, (rows, dim))
    path.unlink()
    return array
