"""From images to features: rows whose content an earlier run encoded are copied, the others computed part by part."""

from collections.abc import Iterator
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
from stages.embed.parts import Parts, batches
from stages.images.cache import to_batch
from stages.images.decoding import Fit, decode_each
from stages.networks.devices import pick_device
from stages.networks.encoder import DESCRIPTION_FILE, WEIGHTS_FILE, Encoder, load_encoder
from stages.shell import Context

CHUNK_ROWS = 8192

Floats = NDArray[np.floating]


def embed_images(config: EmbedConfig, context: Context) -> Artifact:
    """Publish the features of all images, or find them already there; all processes compute, the main one assembles."""
    images, encoder = context.input("images"), context.input("encoder")
    recipe = {"flip_average": config.flip_average}
    key = artifact_key(KIND, FEATURES_VERSION, recipe, {"images": images.key, "encoder": encoder.key})
    target, ranks = Ref(kind=KIND, key=key), context.ranks
    if not ranks.tell(context.store.find(KIND, key) is not None):
        same = digest([FEATURES_VERSION, recipe, encoder.key])
        run = EmbedRun(config, context, (open_images(images), key), known_features(context, same))
        network = load(encoder)
        run.compute(network)

        def write(folder: Path) -> dict[str, object]:
            return {"recipe": same, **run.write(folder, network.dim)}

        if ranks.main:
            context.publish(target, write, {"images": images.ref, "encoder": encoder.ref})
            run.parts.clear()
        ranks.wait()
    return context.store.get(target)


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
    """One pass over the images: what to copy, what to compute, and the parts that hold what was computed so far."""

    def __init__(
        self, config: EmbedConfig, context: Context, target: tuple[ImageRows, str], known: Features | None
    ) -> None:
        self._config = config
        self._context = context
        self._images, key = target
        self._known = known
        self._source = source_rows(self._images, known)
        self._new = np.flatnonzero(self._images.ok & (self._source < 0))
        self.parts = Parts(context.store, key, self._images.rows["sha256"].take(pa.array(self._new)))

    def compute(self, encoder: Encoder) -> None:
        """Encode the new images: this process's share of those parts that are not there."""
        context, parts = self._context, self.parts
        device = pick_device(context.resources.device, context.ranks)
        encoder = encoder.to(device).to(memory_format=torch.channels_last)
        todo = parts.missing(context.ranks.share(range(len(parts))))
        blocks = list(batches(parts, todo, self._config.batch_size))
        done, total = 0, sum(len(rows) for rows in blocks)
        images = (self._new[rows] for rows in blocks)
        decoded = decode_each(self._images, images, Fit(*encoder.description.fit), context.workers)
        part: list[NDArray[np.float32]] = []
        for rows, pixels in zip(blocks, decoded, strict=True):
            part.append(self._encode(encoder, pixels, device))
            done += len(rows)
            context.progress.report("embed", done, total, "images")
            number, last = divmod(int(rows[-1]) + 1, parts.size)
            if last == 0 or rows[-1] + 1 == len(self._new):
                parts.save(number if last else number - 1, np.concatenate(part))
                part = []
            if context.stop.requested:
                break
        if context.ranks.any(context.stop.requested):
            anything = len(parts.missing(range(len(parts)))) < len(parts)
            raise context.stop.interrupted() if anything else context.stop.ended()

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

    def write(self, folder: Path, dim: int) -> dict[str, object]:
        """Assemble the features artifact's files; return what was done."""
        dtype = storage_dtype(self._assembled(dim))
        writer = FeaturesWriter(folder, dim, dtype)
        for chunk in self._assembled(dim):
            writer.append(chunk)
        names = [name for name in ROWS_SCHEMA.names if name in self._images.rows.column_names]
        writer.close(self._images.rows.select(names))
        copied = int((self._source >= 0).sum())
        return {"rows": len(self._images), "computed": len(self._new), "copied": copied, "dtype": str(dtype)}

    def _assembled(self, dim: int) -> Iterator[Floats]:
        """Go through all rows in dataset order: copied, computed, or zeros where the image is broken."""
        place = np.full(len(self._images), -1)
        place[self._new] = np.arange(len(self._new))
        for start in range(0, len(place), CHUNK_ROWS):
            source, new = self._source[start : start + CHUNK_ROWS], place[start : start + CHUNK_ROWS]
            chunk = np.zeros((len(source), dim), np.float32)
            if self._known is not None:
                chunk[source >= 0] = self._known.take(source[source >= 0])
            chunk[new >= 0] = self.parts.read(new[new >= 0], dim)
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
