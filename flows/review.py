"""The review loop between the stages: from a run to rows to look at, and from a reviewer's file to the ledger."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.csv
import pyarrow.parquet as pq

from flows.catalogue import STAGES
from flows.child import Children
from flows.lookup import Lookup
from pipeline.artifacts import Artifact, Ref
from pipeline.datasets.annotations import CLASSES_FILE, TABLE_FILE
from pipeline.datasets.decisions import read_decisions, read_ledger
from pipeline.datasets.reviews import Answers
from pipeline.errors import ConfigError, MissingArtifactError
from pipeline.exports import label_studio
from pipeline.exports.export import appearing
from pipeline.labelled import open_labelled
from pipeline.labels import LABELS_FILE
from pipeline.progress import ProgressLine
from pipeline.store import Store
from pipeline.store.runs import RunRecord, list_runs
from stages.review.config import ReviewConfig

NEEDED = ("ingest", "embed")


def run_to_review(store: Store, dataset: str, *, labels: bool) -> RunRecord:
    """Find the newest run that has what a review needs: features and, unless it is the first review, labels."""
    needed = (*NEEDED, "purify") if labels else NEEDED
    for record in list_runs(store, dataset):
        if all(stage in record.artifacts for stage in needed):
            return record
    raise MissingArtifactError(
        f"store {store.url} has no run of dataset '{dataset}' that reached {needed[-1]}.",
        "Run `puriflow clean` first" + (", or pick a first set with `puriflow review start`." if labels else "."),
    )


def inputs_of(store: Store, record: RunRecord, *, labels: bool) -> dict[str, Ref]:
    """Name the artifacts of a run that the stage review takes."""
    data = store.get(record.artifacts["ingest"].ref).manifest.inputs
    inputs = {"annotations": data["annotations"], "neighbours": record.artifacts["embed"].ref}
    if "images" in data:
        inputs["images"] = data["images"]
    if labels:
        inputs["labels"] = record.artifacts["purify"].ref
    return inputs


def make_review(store: Store, config: ReviewConfig, inputs: Mapping[str, Ref]) -> Artifact:
    """Look the review up, or make it in a child process."""
    lookup = Lookup(store)
    key, found = lookup.find("review", config, inputs)
    if found is not None:
        return found
    children = Children()
    with store.work("review") as work, children.listening():
        request = lookup.request("review", key, config, inputs).model_copy(update={"work": str(work)})
        children.run(request, ignore)
    return store.get(Ref(kind=STAGES["review"].kind, key=key))


def ignore(_line: ProgressLine) -> None:
    """Hear how far the stage is; it takes seconds."""


def known_of(store: Store, dataset: str) -> tuple[frozenset[str], list[str]]:
    """Read ids and class names of the dataset's newest run."""
    record = run_to_review(store, dataset, labels=False)
    annotations = store.get(store.get(record.artifacts["ingest"].ref).manifest.inputs["annotations"])
    ids = pq.read_table(annotations.path(TABLE_FILE), columns=["sample_id"])["sample_id"].to_pylist()
    return frozenset(ids), json.loads(annotations.path(CLASSES_FILE).read_text(encoding="utf-8"))


def signed(answers: Answers, who: str) -> Answers:
    """Say who decided, where the file does not."""
    return replace(answers, answers=[a if a.who or not who else replace(a, who=who) for a in answers.answers])


def write_ledger(store: Store, dataset: str, path: Path, *, history: bool) -> int:
    """Write decisions into a new CSV or Parquet file; return how many."""
    table = (read_ledger if history else read_decisions)(store, dataset)
    if path.suffix.lower() not in (".csv", ".parquet"):
        raise ConfigError(f"{path} is neither .csv nor .parquet.", "Name such a file.")
    with appearing(path) as target:
        (pyarrow.csv.write_csv if path.suffix.lower() == ".csv" else pq.write_table)(table, target)
    return int(table.num_rows)


def write_tasks(store: Store, review: Artifact, path: Path) -> None:
    """Write the rows of a review as tasks for Label Studio, which say how each was chosen."""
    ref = review.manifest.inputs.get("labels")
    if ref is None:
        raise ConfigError("a first review has no labels to export.", "Use its page.")
    labelled = open_labelled(store.get(ref).path(LABELS_FILE), store)
    rows = pq.read_table(review.path("rows.parquet"))
    mask = np.zeros(len(labelled), dtype=np.bool_)
    mask[rows["row"].to_numpy()] = True
    drawn = dict(zip(rows["sample_id"].to_pylist(), rows["drawn"].to_pylist(), strict=True))
    how = {sample: {"drawn": "random" if d else "selected", "review": review.key} for sample, d in drawn.items()}
    with appearing(path) as target:
        label_studio.write(labelled.take(mask), target, how)
