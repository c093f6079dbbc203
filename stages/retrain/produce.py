"""Train the model that the user deploys, predict every row, and say how good it is."""

import json
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from pipeline.artifacts import Artifact
from pipeline.datasets.annotations import open_annotations
from pipeline.errors import ConfigError, DataError, ResourceError
from pipeline.labels import LABELS_FILE, read_labels
from stages.networks.devices import pick_device
from stages.retrain.config import LOOKING_AHEAD, TRUSTING, RetrainConfig
from stages.retrain.core import (
    check_lessons,
    check_same_rows,
    is_action,
    lessons_of,
    measure_by,
)
from stages.retrain.material import Material, open_material
from stages.retrain.train import Task, train
from stages.retrain.write import write
from stages.shell import Context

SUMMARY_FILE = "summary.json"


def produce(config: RetrainConfig, context: Context) -> dict[str, Any]:
    """Read labels and inputs, train, choose, predict, write the artifact."""
    if config.method == "outside":
        from stages.retrain.outside import produce_outside

        return produce_outside(config, context)
    torch.set_num_threads(context.workers)
    device = pick_device(context.resources.device, context.ranks)
    annotations = open_annotations(context.input("annotations"))
    labels = context.input("labels")
    table = read_labels(labels.path(LABELS_FILE))
    classes = len(annotations.class_names)
    material = open_material(config, context, classes, device)
    check_same_rows(table["sample_id"], material.sample_ids)
    soft = config.method == "cross_entropy" and config.cross_entropy.soft and gate_open(labels)
    lessons = lessons_of(config, table, annotations, material.usable, soft)
    validation = measure_by(annotations, "validation", material.usable)
    task = Task(material, lessons, validation, trusted_rows(table, material), classes, device)
    check_teaching(task, config)
    refuse_company(config, context)
    try:
        rivals, state = train(task, config, context)
        return write(task, config, context, (rivals, state), annotations) if context.ranks.main else {}
    except torch.OutOfMemoryError as error:
        raise out_of_memory(config, material, error) from error


def refuse_company(config: RetrainConfig, context: Context) -> None:
    """Refuse several processes where each would look ahead by its own rows."""
    if context.ranks.world > 1 and config.method in LOOKING_AHEAD:
        raise ConfigError(
            f"retrain.method {config.method} runs as one process, not {context.ranks.world}.",
            "Start it without torchrun, or choose another method.",
        )


def out_of_memory(config: RetrainConfig, material: Material, error: torch.OutOfMemoryError) -> ResourceError:
    """Say what to lower where the GPU's memory is too small, first what changes the least."""
    network = material.description["network"].get("encoder", {}).get("backbone", "a head")
    first = {
        "mlnt": "Set retrain.mlnt.second_order: false, or lower mlnt.sets. ",
        "mlc": "Lower retrain.mlc.trusted_rows. ", "mslg": "Lower retrain.mslg.trusted_rows. ",
    }.get(config.method, "")  # fmt: skip
    both = "Train on one kind of labels (retrain.labels: purified). " if config.labels == "both" else ""
    return ResourceError(
        f"the GPU's memory is too small for retrain: {config.method} on {network}, {config.batch_size} rows a step "
        f"({str(error).splitlines()[0]}).",
        f"{both}{first}Lower retrain.batch_size, or train the head alone (retrain.freeze: true).",
    )


def gate_open(labels: Artifact) -> bool:
    """Tell whether the beliefs were let through; behind a closed gate they teach nothing."""
    summary = json.loads(labels.path(SUMMARY_FILE).read_text(encoding="utf-8"))
    return bool((summary.get("gate") or {}).get("open"))


def trusted_rows(table: pa.Table, material: Material) -> tuple[Tensor, Tensor]:
    """List the trusted rows that teach, audited ones left out, and their labels; numbered as the material does."""
    teaches = torch.from_numpy(is_action(table, "trusted")[material.usable])
    labels = np.asarray(table["purified_label"].to_numpy(), dtype=np.int64)[material.usable]
    return teaches.nonzero().flatten(), torch.from_numpy(labels)[teaches]


def check_teaching(task: Task, config: RetrainConfig) -> None:
    """Refuse to train where no row teaches, or none judges."""
    if config.method in TRUSTING and not len(task.trusted[0]):
        raise DataError(
            f"retrain.method {config.method} learns from trusted rows, but this dataset has none that is usable.",
            "Mark rows as trusted (dataset.trusted), or choose another method, such as elr.",
        )
    check_lessons(task.lessons, config)
