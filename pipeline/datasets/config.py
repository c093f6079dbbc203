"""What a user says about a dataset: the `dataset:` section of the YAML, and the whole configuration of ingest."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, model_validator

from pipeline.config import Config, StageConfig
from pipeline.errors import UnsafeError

Kind = Literal["image_folder", "table", "parquet", "features", "torchvision"]

MAX_PIXELS = 89_478_485  # Pillow's own bound: a quarter of a gigabyte of RGB


def as_tuple(value: Any) -> Any:
    """Let a user write one string where a list is meant."""
    return (value,) if isinstance(value, str) else value


def checked_path(value: str) -> str:
    """Refuse URLs: data is read from folders only; a URL is never repeated, it may hold a password."""
    if "://" not in value:
        return value
    parts = urlsplit(value)
    if parts.username or parts.password:
        raise UnsafeError("a dataset path is a URL with credentials.", "Name a folder or file; mount or copy the data.")
    if parts.scheme != "file":
        raise UnsafeError(
            f"a dataset path is a {parts.scheme} URL; data is read from folders and files.", "Mount or copy it."
        )
    return parts.path


def checked_paths(value: Any) -> Any:
    """Check one path or several; null is none."""
    paths = () if value is None else as_tuple(value)
    if not isinstance(paths, list | tuple) or not all(isinstance(p, str) for p in paths):
        return paths  # no paths: the type of the field says so
    return tuple(checked_path(p) for p in paths)


Names = Annotated[tuple[str, ...], BeforeValidator(as_tuple)]
Paths = Annotated[tuple[str, ...], BeforeValidator(checked_paths)]
OnePath = Annotated[str, BeforeValidator(lambda v: checked_path(v) if isinstance(v, str) else v)]


class Columns(Config):
    """The names of the columns in the user's table; null means the field's own name, where the table has it."""

    sample_id: str | None = Field(None, title="Sample id", description="Column of unique ids")
    image: str | None = Field(None, title="Image", description="Column of image paths or embedded images")
    given_label: Names = Field((), title="Given label", description="Column of labels; several: one per annotator")
    trusted_label: str | None = Field(None, title="Trusted label", description="Column of labels known to be right")
    trusted_origin: str | None = Field(None, title="Trusted origin", description="Column of random, selected, unknown")
    propensity: str | None = Field(
        None, title="Propensity", description="Column: chance that a row was picked for trust"
    )
    split: str | None = Field(None, title="Split", description="Column of train, validation, test; null is train")


class SideTable(Config):
    """A further CSV or Parquet table whose rows are joined by sample id."""

    path: Paths = Field(..., min_length=1, title="Files", description="CSV or Parquet files")
    columns: Columns = Field(default_factory=Columns, title="Columns", description="Names of its columns")


class DatasetConfig(StageConfig):
    """One dataset: where its rows, images or features and labels are."""

    name: str = Field(
        ...,
        pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$",
        title="Name",
        description="Short name: a-z, 0-9, dot, dash, underscore",
    )
    title: str = Field("", max_length=200, title="Title", description="Free text for people")
    kind: Kind = Field(..., title="Kind", description="Where the samples are and how they are laid out")
    path: Paths = Field((), title="Path", description="Folders or files (globs allowed) of the samples")
    validation_path: Paths = Field((), title="Validation path", description="Like path; its rows are validation rows")
    test_path: Paths = Field((), title="Test path", description="Like path; its rows are test rows")
    root: OnePath | None = Field(
        None, title="Image root", description="Folder that the image paths in a table start from; null: the table's own"
    )
    table: Paths = Field((), title="Table", description="Kind features: CSV or Parquet files of the rows")
    features: Paths = Field(
        (), title="Features", description="Kind features: .npy [rows, d] or Parquet with `features`"
    )
    torchvision: str | None = Field(
        None, pattern=r"^[A-Za-z][A-Za-z0-9]*$", title="Torchvision class",
        description="Kind torchvision: name of a class of torchvision.datasets, read from local files",
    )  # fmt: skip
    columns: Columns = Field(default_factory=Columns, title="Columns", description="Names of the table's columns")
    labels: SideTable | None = Field(None, title="Given labels", description="Side table: sample_id, given_label")
    trusted: SideTable | None = Field(None, title="Trusted labels", description="Side table: sample_id, trusted_label")
    splits: SideTable | None = Field(None, title="Splits", description="Side table: sample_id, split")
    class_names: Names | None = Field(
        None, min_length=1, title="Class names", description="In the order of their numbers; null: those found, sorted"
    )
    images: Literal["copy", "reference"] = Field(
        "copy", title="Images", description="copy them into the store, or reference the files where they are"
    )
    max_pixels: int = Field(
        MAX_PIXELS, ge=1, le=2**40, title="Pixel limit", description="Images with more pixels are quarantined"
    )
    rehash: bool = Field(
        False, title="Rehash", description="Read every image again, even if nothing seems changed",
        json_schema_extra={"key": False},
    )  # fmt: skip

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        needed, unfit = FITS[self.kind]
        fields = type(self).model_fields
        for name in needed:
            if not getattr(self, name):
                raise ValueError(f"dataset.{name} is missing; kind {self.kind} needs it.")
        for name in unfit:
            if getattr(self, name) != fields[name].get_default(call_default_factory=True):
                raise ValueError(f"dataset.{name} does not fit kind {self.kind}; leave it out.")
        if self.class_names is not None and len(set(self.class_names)) < len(self.class_names):
            twice = sorted({n for n in self.class_names if self.class_names.count(n) > 1})
            raise ValueError(
                f"dataset.class_names repeats {', '.join(map(repr, twice[:5]))}; every class has one name."
            )
        return self

    def resolved(self, folder: Path) -> "DatasetConfig":
        """Make every relative path absolute from a folder; `~` means the home folder, globs stay."""
        fields: dict[str, Any] = self.model_dump()
        for name in ("path", "validation_path", "test_path", "table", "features"):
            fields[name] = [absolute(p, folder) for p in fields[name]]
        if self.root is not None:
            fields["root"] = absolute(self.root, folder)
        for name in ("labels", "trusted", "splits"):
            if fields[name] is not None:
                fields[name]["path"] = [absolute(p, folder) for p in fields[name]["path"]]
        return DatasetConfig.model_validate(fields)


def absolute(path: str, folder: Path) -> str:
    """Place one path, as the user wrote it, below a folder."""
    return str(folder.absolute() / Path(path).expanduser())


_TABLE_ONLY = ("columns", "root")
_FEATURES_ONLY = ("table", "features")

FITS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {  # kind → fields it needs, fields that do not fit it
    "image_folder": (("path",), (*_TABLE_ONLY, *_FEATURES_ONLY, "torchvision")),
    "table": (("path",), (*_FEATURES_ONLY, "torchvision")),
    "parquet": (("path",), (*_FEATURES_ONLY, "torchvision", "images")),
    "torchvision": (("path", "torchvision"), (*_TABLE_ONLY, *_FEATURES_ONLY, "validation_path", "test_path", "images")),
    "features": (
        ("table", "features"),
        ("path", "validation_path", "test_path", "root", "torchvision", "images", "max_pixels"),
    ),
}
