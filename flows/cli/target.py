"""What a command is pointed at: a document, STORE/DATASET, a dataset in the default store, or an artifact."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from flows.cli.options import STORE_ENV, existing, opened
from pipeline.errors import ConfigError, MissingArtifactError

if TYPE_CHECKING:
    from pipeline.artifacts import Artifact
    from pipeline.store import Store


def dataset_at(named: str, url: str) -> "tuple[Store, str]":
    """Find the store and the dataset that a document, STORE/DATASET or a dataset's name means."""
    if named.endswith((".yaml", ".yml")):
        from flows.document import load_document

        document = Path(named)
        return opened(url, document.absolute().parent), load_document(document).dataset.name
    folder, slash, dataset = named.rstrip("/").rpartition("/")
    if not slash:
        return opened(url), named
    if url and url != os.environ.get(STORE_ENV):  # what is written here counts more than the surroundings
        raise ConfigError(f"'{named}' names a store, and so does --store {url}.", "Leave one of them out.")
    return existing(folder), dataset


def labels_at(named: str, url: str = "") -> Path:
    """Find the label table that a file, a folder, a document (its last run) or STORE/DATASET names.

    Of a dataset that is the newest version, or the one behind an @.
    """
    from pipeline.labels import LABELS_FILE
    from pipeline.store.published import latest, read_version

    path = Path(named).expanduser()
    if path.suffix == ".parquet" and path.is_file():
        return path
    if (path / LABELS_FILE).is_file():
        return path / LABELS_FILE
    whole, _, number = named.rpartition("@") if named.rpartition("@")[2].isdecimal() else (named, "", "")
    store, dataset = dataset_at(whole, url)
    if path.suffix in (".yaml", ".yml"):
        return newest_labels(store, dataset).path(LABELS_FILE)
    version = read_version(store, dataset, int(number)) if number else latest(store, dataset)
    if version is None:
        raise MissingArtifactError(
            f"'{named}' is no label table, and store {store.url} has no published dataset '{dataset}'.",
            "Name labels.parquet, its folder, a clean.yaml, or STORE/DATASET.",
        )
    return store.get(version.labels).path(LABELS_FILE)


def newest_labels(store: "Store", dataset: str) -> "Artifact":
    """Bring the label table of a dataset's last completed run."""
    from pipeline.store.runs import newest_run

    run = newest_run(store, dataset, "completed")
    if run is None:
        raise MissingArtifactError(
            f"store {store.url} has no completed run of dataset '{dataset}'.", "Run `puriflow clean` first."
        )
    return store.get(run.artifacts["purify"].ref)


def artifact_at(store: "Store", named: str) -> "Artifact":
    """Find an artifact by KIND/KEY or by a key's first characters."""
    kind, _, key = named.rpartition("/")
    found = [a for a in store.artifacts(kind or None) if a.key.startswith(key)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise MissingArtifactError(f"store {store.url} has no artifact '{named}'.", "See `puriflow store ls`.")
    names = ", ".join(str(a.ref) for a in found[:5])
    raise ConfigError(f"'{named}' fits {len(found)} artifacts: {names}.", "Write more of the key.")
