"""Look at a folder and say what dataset it seems to hold; nothing is read but names, headers and a first row."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from pipeline.errors import DataError

PICTURES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
SPLIT_OF = {"train": "path", "val": "validation_path", "valid": "validation_path", "validation": "validation_path"} | {
    "test": "test_path"
}
SECRET = "truth"  # true labels that `demo` and `noise` write; no configuration may name them
GUESSES = {
    "sample_id": ("sample_id", "id", "image_id", "uid", "key"),
    "image": ("image", "img", "picture", "image_path", "path", "file", "filename", "file_name"),
    "given_label": ("given_label", "label", "labels", "y", "target", "class", "category"),
    "trusted_label": ("trusted_label", "checked_label", "gold_label", "clean_label", "checked", "gold"),
    "split": ("split", "subset", "partition"),
}


@dataclass(frozen=True)
class Survey:
    """A dataset section that fits what was found, and what a person should know about it."""

    fields: dict[str, Any]
    found: str
    notes: list[str] = field(default_factory=list)
    sample: Path | bytes | None = None  # a first picture, to see how large they are


@dataclass(frozen=True)
class TableFile:
    """A table by its header and first rows."""

    path: Path
    schema: pa.Schema
    head: pa.Table


def survey(folder: Path) -> Survey:
    """Find out which kind of dataset lies in a folder."""
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder.", "Name the folder that holds the images or tables.")
    tables = [table for table in map(open_table, sorted(folder.iterdir())) if table]
    main = [t for t in tables if not is_side(t)]
    found = (
        of_features(folder, main)
        or of_embedded_images(main)
        or of_image_paths(folder, main)
        or of_image_folder(only_folder(folder))
    )
    if found is None:
        seen = f"only {', '.join(t.path.name for t in main[:3])}" if main else "nothing that looks like a dataset"
        raise DataError(
            f"{folder} holds {seen} ({len(list(folder.iterdir()))} entries).",
            "Expected: class folders of images, a Parquet file of images, a table of image paths, or a table and a "
            ".npy file whose row i describes row i of the table.",
        )
    sides, unclear = side_tables(tables)
    notes = [*found.notes, *unclear, *numbered(found.fields, tables)]
    return Survey(found.fields | sides, found.found, notes, found.sample)


def open_table(path: Path) -> TableFile | None:
    """Read the header and the first rows of a CSV or Parquet file; None for every other file."""
    if path.stem == SECRET or not path.is_file():
        return None
    try:
        if path.suffix == ".parquet":
            file = pq.ParquetFile(path)
            head = next(file.iter_batches(batch_size=8), None)
            return TableFile(path, file.schema_arrow, pa.Table.from_batches([head] if head else [], file.schema_arrow))
        if path.suffix == ".csv":
            batch = pyarrow.csv.open_csv(path).read_next_batch()
            return TableFile(path, batch.schema, pa.Table.from_batches([batch]).slice(0, 8))
    except (pa.ArrowException, OSError, StopIteration) as error:
        raise DataError(f"{path} cannot be read: {error}.", "Mend or move it.") from error
    return None


def is_side(table: TableFile) -> bool:
    """Tell whether a table looks like trusted labels or splits rather than the dataset."""
    return bool(re.search(r"trust|check|gold|verified|clean|split", table.path.stem.lower()))


def of_features(folder: Path, tables: Sequence[TableFile]) -> Survey | None:
    """Find a table of rows and their features."""
    arrays = sorted(folder.glob("*.npy"))
    inside = [t for t in tables if "features" in t.schema.names and pa.types.is_nested(t.schema.field("features").type)]
    if not (arrays and tables) and not inside:
        return None
    table = inside[0] if inside else tables[0]
    features = table.path if inside else arrays[0]
    columns, notes = guess_columns(table.schema, wanted=("sample_id", "given_label", "trusted_label", "split"))
    if len(arrays) + len(inside) > 1:
        notes.append(f"several arrays were found; {features.name} was taken.")
    return Survey(
        {"kind": "features", "table": table.path, "features": features, **columns}, "features and a table", notes
    )


def of_embedded_images(tables: Sequence[TableFile]) -> Survey | None:
    """Find Parquet files that hold encoded images."""
    for table in tables:
        image = next((f.name for f in table.schema if table.path.suffix == ".parquet" and holds_bytes(f.type)), None)
        if image:
            columns, notes = guess_columns(table.schema, image=image)
            same = [t.path for t in tables if t.schema.names == table.schema.names]
            fields = {"kind": "parquet", **by_split(same), **columns}
            return Survey(fields, f"images in the column '{image}'", notes, first_bytes(table.head, image))
    return None


def of_image_paths(folder: Path, tables: Sequence[TableFile]) -> Survey | None:
    """Find a table with a column of image files."""
    for table in tables:
        for name in table.schema.names:
            values = table.head[name].to_pylist()
            if values and all(isinstance(v, str) and Path(v).suffix.lower() in PICTURES for v in values):
                columns, notes = guess_columns(table.schema, image=name)
                fields = {"kind": "table", "path": table.path, **columns}
                return Survey(fields, f"image files in the column '{name}'", notes, folder / values[0])
    return None


def of_image_folder(folder: Path) -> Survey | None:
    """Find one sub-folder of images for each class, perhaps below train/ and test/."""
    splits = {SPLIT_OF[p.name.lower()]: p for p in folders_in(folder) if p.name.lower() in SPLIT_OF}
    top = splits if "path" in splits else {"path": folder}
    classes = {p.name: first_picture(p) for p in folders_in(top["path"])}
    classes = {name: picture for name, picture in classes.items() if picture}
    if not classes:
        return None
    shown = ", ".join(list(classes)[:5]) + (", ..." if len(classes) > 5 else "")
    notes = [] if len(classes) > 1 else [f"only one class folder with images was found ({shown})."]
    return Survey(
        {"kind": "image_folder", **top}, f"{len(classes)} class folders ({shown})", notes, next(iter(classes.values()))
    )


def only_folder(folder: Path) -> Path:
    """Go down where one folder beside tables holds the class folders: photos/ beside checked.csv."""
    inside = [p for p in folders_in(folder) if first_picture(p)]
    if len(inside) != 1 or inside[0].name.lower() in SPLIT_OF or any(map(is_picture, inside[0].iterdir())):
        return folder
    return inside[0]


def numbered(fields: dict[str, Any], tables: Sequence[TableFile]) -> list[str]:
    """Ask for the names of classes where labels are numbers."""
    column = (fields.get("columns") or {}).get("given_label")
    kinds = [t.schema.field(column).type for t in tables if isinstance(column, str) and column in t.schema.names]
    if not kinds or not pa.types.is_integer(kinds[0]):
        return []
    return [f"'{column}' holds numbers; class_names: [name of 0, name of 1, ...] gives them names."]


def side_tables(tables: Sequence[TableFile]) -> tuple[dict[str, Any], list[str]]:
    """Find the tables of trusted labels and of splits; say of which no column could be guessed."""
    found: dict[str, Any] = {}
    notes = []
    for table in filter(is_side, tables):
        name, wanted = ("splits", "split") if "split" in table.path.stem.lower() else ("trusted", "trusted_label")
        guesses = GUESSES[wanted] + (GUESSES["given_label"] if name == "trusted" else ())
        column, row_id = pick(table.schema.names, guesses), pick(table.schema.names, GUESSES["sample_id"])
        if column and row_id and name not in found:
            found[name] = {"path": table.path, "columns": {"sample_id": row_id, wanted: column}}
        elif name not in found:
            names = ", ".join(table.schema.names)
            notes.append(f"{table.path.name} may hold {name}; say which of its columns is what: {names}.")
    return found, notes


def guess_columns(
    schema: pa.Schema, image: str = "", wanted: Iterable[str] = GUESSES
) -> tuple[dict[str, Any], list[str]]:
    """Guess what each column means; say what could not be guessed."""
    names = [name for name in schema.names if name != image]
    columns: dict[str, Any] = {"image": image} if image else {}
    columns |= {w: pick(names, GUESSES[w]) for w in wanted if w != "image" and pick(names, GUESSES[w])}
    annotators = [name for name in names if re.fullmatch(r"(given_)?(label|annotator)_?\d+", name.lower())]
    if annotators:
        columns["given_label"] = annotators
    notes = []
    if "given_label" not in columns:
        notes.append(f"no column looks like labels; set columns.given_label to one of: {', '.join(names)}.")
    return {"columns": columns}, notes


def pick(names: Sequence[str], guesses: Sequence[str]) -> str | None:
    """Take the first guess that is a column, whatever its case."""
    lower = {name.lower(): name for name in reversed(names)}
    return next((lower[guess] for guess in guesses if guess in lower), None)


def holds_bytes(kind: pa.DataType) -> bool:
    """Tell whether a column may hold encoded images: bytes, or a struct with bytes as Hugging Face writes it."""
    if pa.types.is_struct(kind):
        return any(kind.field(i).name == "bytes" for i in range(kind.num_fields))
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def first_bytes(head: pa.Table, column: str) -> bytes | None:
    """Take the first image of a column."""
    value = next((v for v in head[column].to_pylist() if v), None)
    return value.get("bytes") if isinstance(value, dict) else value


def by_split(paths: Sequence[Path]) -> dict[str, Any]:
    """Sort files named train-…, validation-…, test-… to their splits; all are train files where none is."""
    groups: dict[str, list[Path]] = {}
    for path in paths:
        groups.setdefault(SPLIT_OF.get(re.split(r"[-_.]", path.stem.lower())[0], "path"), []).append(path)
    return groups if "path" in groups else {"path": list(paths)}


def folders_in(folder: Path) -> list[Path]:
    """List the visible sub-folders that are no stores (where reports have pictures too)."""
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".") and not is_store(p))


def is_store(folder: Path) -> bool:
    """Tell a store by what every run leaves in it."""
    return (folder / "runs").is_dir() and (folder / "datasets").is_dir()


def first_picture(folder: Path) -> Path | None:
    """Find one image below a folder."""
    return next(filter(is_picture, folder.rglob("*")), None)


def is_picture(path: Path) -> bool:
    """Tell an image by its name."""
    return path.suffix.lower() in PICTURES
