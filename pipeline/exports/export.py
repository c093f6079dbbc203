"""Choose rows of a label table and write them in another form, whole or not at all."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, assert_never, get_args

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ConfigError
from pipeline.exports import cleanlab, csv, hf_dataset, imagefolder, jsonl, label_studio
from pipeline.labelled import Labelled
from pipeline.labels import ACTIONS, SPLITS

Form = Literal["csv", "jsonl", "imagefolder", "hf-dataset", "label-studio", "cleanlab"]
FORMS: tuple[str, ...] = get_args(Form)
SYNONYMS = {"relabelled": "relabel", "relabeled": "relabel", "kept": "keep"}


@dataclass(frozen=True)
class Chosen:
    """Which rows to write: of these actions and splits (none: all), as sure as this."""

    actions: Sequence[str] = ()
    splits: Sequence[str] = ()
    min_confidence: float = 0.0


@dataclass
class Exported:
    """What was written where, and what a user should know about it."""

    path: Path
    rows: int
    of: int
    notes: list[str] = field(default_factory=list)


def export_labels(labelled: Labelled, form: Form, path: Path, chosen: Chosen | None = None) -> Exported:
    """Write the chosen rows as a file (csv, jsonl) or into a new folder (the others)."""
    some = labelled.take(mask_of(labelled, chosen or Chosen()))
    if not len(some):
        raise ConfigError(
            f"none of {len(labelled)} rows fits what was asked for.", "Ask for other actions or a lower confidence."
        )
    done = Exported(path, len(some), len(labelled))
    with appearing(path) as target:
        done.notes += write(some, form, target)
    return done


def write(labelled: Labelled, form: Form, target: Path) -> list[str]:
    """Write rows in one form; return what a user should know about it."""
    match form:
        case "csv":
            return csv.write(labelled, target)
        case "jsonl":
            return jsonl.write(labelled, target)
        case "imagefolder":
            return imagefolder.write(labelled, target)
        case "hf-dataset":
            return hf_dataset.write(labelled, target)
        case "label-studio":
            return label_studio.write(labelled, target)
        case "cleanlab":
            return cleanlab.write(labelled, target)
        case _:
            assert_never(form)


def mask_of(labelled: Labelled, chosen: Chosen) -> NDArray[np.bool_]:
    """Tell which rows were asked for."""
    actions = [SYNONYMS.get(action, action) for action in chosen.actions]
    refuse_unknown(actions, ACTIONS, "action")
    refuse_unknown(chosen.splits, SPLITS, "split")
    sure = labelled.table["confidence"].to_numpy() >= np.float32(chosen.min_confidence)
    mask = np.asarray(sure, dtype=np.bool_)
    for column, wanted in (("action", actions), ("split", chosen.splits)):
        if wanted:
            mask &= np.isin(np.asarray(labelled.words(column), dtype=np.str_), wanted)
    return mask


def refuse_unknown(words: Sequence[str], known: Sequence[str], what: str) -> None:
    """Refuse a word that no row can have."""
    wrong = [word for word in words if word not in known]
    if wrong:
        raise ConfigError(f"there is no {what} '{wrong[0]}'.", f"Choose from: {', '.join(known)}.")


@contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """Give a place beside a path that does not exist yet; what was written there becomes the path at the end."""
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ConfigError(f"{path} is there already.", "Name a new file or folder, or remove it first.")
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.partial")
    discard(draft)
    try:
        yield draft
        if path.is_dir():
            path.rmdir()
        draft.replace(path)
    finally:
        discard(draft)


def discard(path: Path) -> None:
    """Remove a file or a folder that may be there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
