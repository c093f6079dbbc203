"""Image folders: SPLIT/CLASS/IMAGE by purified label, as torchvision and Hugging Face read them."""

from pathlib import Path

import pyarrow as pa
import pyarrow.csv

from pipeline.exports.pictures import folder_names, needs_pictures, pictures, safe_name, suffix
from pipeline.labelled import Labelled


def write(labelled: Labelled, folder: Path) -> list[str]:
    """Write every image, as it came, into the folder of its purified class; `labels.csv` says which row it is."""
    needs_pictures(labelled, "imagefolder")
    splits, labels = labelled.words("split"), labelled.labels("purified_label")
    ids, names = labelled.words("sample_id"), folder_names(labelled.classes)
    files: list[str | None] = [None] * len(labelled)
    for place, data in pictures(labelled):
        name = f"{int(labelled.rows[place]):07d}-{safe_name(str(ids[place]))}.{suffix(data)}"
        path = Path(str(splits[place]), names[labels[place]], name)
        (folder / path.parent).mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
        files[place] = path.as_posix()
    folder.mkdir(exist_ok=True)
    listed = {"file": pa.array(files, pa.string()), "sample_id": labelled.table["sample_id"]}
    listed |= {
        column: pa.array(labelled.words(column)) for column in ("split", "given_name", "purified_name", "action")
    }
    listed["confidence"] = labelled.table["confidence"]
    pyarrow.csv.write_csv(pa.table(listed), folder / "labels.csv")
    missing = files.count(None)
    return [f"{missing} rows have no readable image; labels.csv lists them without a file."] if missing else []
