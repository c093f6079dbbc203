"""Write a first configuration: commented, fitting what a folder holds, and checked by loading it."""

import io
import os
import re
from pathlib import Path
from typing import Any

import yaml
from PIL import Image, UnidentifiedImageError

from flows.document import load_document
from flows.survey import Survey, survey
from pipeline.errors import ConfigError, UnsafeError

SIZES = (16, 32, 64, 128)

HEAD = """\
# What puriflow shall clean: {found}.
# See what would happen:  puriflow plan {name}
# Then run it:            puriflow clean {name}
title: {title}
seed: 0

dataset:
{dataset}
"""
NO_TRUSTED = """\
  # The rows whose true label you know (10 a class are a good start). Without them no gain can be proven, and the gate
  # leaves every label as given. Any CSV or Parquet file with ids and labels will do:
  # trusted: {path: checked.csv, columns: {sample_id: id, trusted_label: label}}
"""
NETWORK = """
represent:                     # learns features from the images alone, without labels
  method: simclr
  image_size: {side:<18}# pixels a side that the network sees
  # backbone: resnet18         # where there is a GPU; or run with `--profile standard`, for a first look `quick`
  # epochs: 200
  # or, in the place of all these, a network from a file:
  # method: weights
  # backbone: resnet50           # any of torchvision, or timm/NAME
  # weights: {{path: resnet50.pth}}
"""
TAIL = """
purify:                        # corrects the labels on the features
  method: fusion               # or dmlp, linear_probe, knn ...: docs/purifiers.md
  gate: strict                 # change labels only where the trusted rows prove a gain

retrain:                       # trains the model to deploy; enabled: false stops at the label table
  method: cross_entropy
  labels: purified             # purified, given, or both to compare
"""


def write_starter(folder: Path, target: Path) -> Survey:
    """Write a configuration for what lies in a folder; an existing file is left alone."""
    found = survey(folder)
    if found.fields["kind"] == "image_folder" and is_below(target.parent, Path(found.fields["path"])):
        raise UnsafeError(
            f"{target} and the store beside it would lie among the class folders of {folder}.",
            "Run `puriflow init` from the folder above, or name another file with --out.",
        )
    text = starter_text(found, folder, target)
    try:
        with target.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise ConfigError(f"{target} is there already.", "Move it away, or name another file with --out.") from error
    except OSError as error:
        raise ConfigError(f"{target} cannot be written: {error.strerror}.", "Name another file with --out.") from error
    load_document(target)
    return found


def starter_text(found: Survey, folder: Path, target: Path) -> str:
    """Fill the template."""
    near = folder.resolve()
    fields = {"name": slug(near.name), **as_written(found.fields, target.absolute().parent)}
    dataset = "\n".join(f"  {name}: {flow(value)}" for name, value in fields.items())
    text = HEAD.format(found=found.found, name=target.name, title=flow(near.name), dataset=dataset)
    text += "".join(f"  # Note: {note}\n" for note in found.notes)
    if "trusted" not in fields and "trusted_label" not in fields.get("columns", {}):
        text += NO_TRUSTED
    if fields["kind"] != "features":
        text += NETWORK.format(side=side_of(found.sample))
    return text + TAIL


def as_written(value: Any, base: Path) -> Any:
    """Turn paths into text relative to the configuration where they lie below it."""
    if isinstance(value, Path):
        absolute = value.resolve()
        home = base.resolve()
        return absolute.relative_to(home).as_posix() if absolute.is_relative_to(home) else str(absolute)
    if isinstance(value, dict):
        return {name: as_written(part, base) for name, part in value.items()}
    if isinstance(value, list):
        return [as_written(part, base) for part in value] if len(value) != 1 else as_written(value[0], base)
    return value


def flow(value: Any) -> str:
    """Write a value as YAML on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, sort_keys=False, width=10_000)
    return text.removesuffix("...\n").strip()


def slug(name: str) -> str:
    """Make a dataset name of a folder's name."""
    return re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-._")[:64] or "dataset"


def side_of(sample: Path | bytes | None) -> int:
    """Choose the side that the network sees from a first picture."""
    try:
        with Image.open(io.BytesIO(sample) if isinstance(sample, bytes) else sample or os.devnull) as picture:
            longest = max(picture.size)
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError):
        return 32
    return next((side for side in SIZES if side >= longest), SIZES[-1])


def is_below(path: Path, folder: Path) -> bool:
    """Tell whether a path is a folder or lies in it."""
    return path.resolve().is_relative_to(folder.resolve())
