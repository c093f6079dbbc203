"""Label Studio: tasks.json with the purified label as a prediction to check, and the labelling interface."""

import base64
import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from pipeline.exports.jsonl import plain
from pipeline.exports.pictures import media_type
from pipeline.labelled import Labelled

TASKS_FILE, INTERFACE_FILE = "tasks.json", "interface.xml"


def write(labelled: Labelled, folder: Path, further: Mapping[str, Mapping[str, str]] | None = None) -> list[str]:
    """Write one task per row, with `further` data by sample id; images stand inside, so no server has to serve them."""
    folder.mkdir(parents=True)
    pictures = labelled.images is not None
    own = labelled.own_columns
    shown = {} if pictures or own is None else {f"text{n or ''}": name for n, name in enumerate(own.column_names)}
    columns = ["sample_id", "given_name", "suggested_name", "purified_name", "action"]
    words = {name: labelled.words(name) for name in columns}
    confidence = labelled.table["confidence"].to_pylist()
    with (folder / TASKS_FILE).open("w", encoding="utf-8") as file:
        for place in range(len(labelled)):
            data: dict[str, Any] = {name: words[name][place] for name in columns}
            if own is not None:
                data |= {variable: words_of(own[name][place].as_py()) for variable, name in shown.items()}
            data |= (further or {}).get(str(data["sample_id"]), {})
            if not shown and not pictures:
                data["text"] = data["sample_id"]
            if pictures:
                data["image"] = picture(labelled, place)
            said = task(data, confidence[place], labelled.key, "image" if pictures else "text")
            file.write(("[" if place == 0 else ",") + "\n" + json.dumps(said, ensure_ascii=False))
        file.write("\n]\n")
    (folder / INTERFACE_FILE).write_text(interface(labelled.classes, shown, pictures), encoding="utf-8")
    return ["Import tasks.json into a project whose labelling interface is interface.xml."]


def picture(labelled: Labelled, place: int) -> str | None:
    """Write an image as a data URI, None where the row has none."""
    images, row = labelled.images, int(labelled.rows[place])
    if images is None or not images.ok[row]:
        return None
    data = images.read(row)
    return f"data:{media_type(data)};base64,{base64.b64encode(data).decode()}"


def task(data: dict[str, Any], confidence: float, key: str, shows: str) -> dict[str, Any]:
    """Write one task: what is shown, and the purified label as what the machine would choose."""
    choice = {"from_name": "label", "to_name": shows, "type": "choices", "value": {"choices": [data["purified_name"]]}}
    version = f"puriflow {key[:12]}".strip()
    return {
        "data": data,
        "predictions": [{"model_version": version, "score": plain(confidence), "result": [choice]}],
    }


def words_of(value: object) -> str:
    """Write a value of one of the user's columns."""
    return "" if value is None else str(plain(value))


def interface(classes: Sequence[str], columns: Mapping[str, str], pictures: bool) -> str:
    """Write the labelling interface: an image or the user's columns, and one choice a class."""
    if pictures:
        shown = '  <Image name="image" value="$image"/>\n'
    else:
        shown = "".join(
            f'  <Header value="{escape(name)}" size="6"/>\n  <Text name="{variable}" value="${variable}"/>\n'
            for variable, name in (columns or {"text": "sample_id"}).items()
        )
    choices = "".join(f'    <Choice value="{escape(name)}"/>\n' for name in classes)
    return (
        f'<View>\n  <Header value="given: $given_name, suggested: $suggested_name"/>\n{shown}'
        f'  <Choices name="label" toName="{"image" if pictures else "text"}" choice="single-radio" '
        f'showInline="true">\n{choices}  </Choices>\n</View>\n'
    )
