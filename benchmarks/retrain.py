"""Compare training methods on given and on purified labels by `puriflow compare`, on data whose truth is known here.

`python benchmarks/retrain.py digits features words images`: for each set it writes data and document into FOLDER/SET,
lets `puriflow compare` purify the labels once and train every cell, and writes benchmarks/results/retrain-SET.json:
accuracy on test rows with true labels (mean and spread over the seeds of the training), and which share of the train
labels is right before and after purifying. What is in the store already is not computed again. digits: the demo's
document. features: 8,000 of CIFAR-10's weak label-free features with the human labels `worse`. words: Twitter parts
of speech, 40 % wrong, words by vectors from their neighbours and their letters. images: 4,000 CIFAR-10 images. fashion,
trec: validation rows only, to choose options by. No label is read to make a feature; truth goes into the record alone.
"""

import argparse
import importlib
import json
import signal
import sys
from pathlib import Path

import torch
from machine import describe_machine
from retrain_sets import ALL, SETS, write_set

from flows import inline
from flows.catalogue import STAGES
from flows.child import Children, OnProgress
from flows.cli import main as puriflow
from pipeline.artifacts import Ref
from pipeline.labels import LABELS_FILE, read_labels
from pipeline.requests import StageRequest
from pipeline.store import FileStore
from stages.shell.run import attempt
from stages.shell.stop import StopFlag


def labels_right(store: Path, model: str, truth: dict[str, int]) -> dict[str, float]:
    """Count right labels among the train rows whose label nobody told."""
    opened = FileStore(store)
    labels = opened.get(opened.get(Ref(kind="models", key=model)).manifest.inputs["labels"])
    table = read_labels(labels.path(LABELS_FILE)).to_pandas()
    rows = table[(table["split"] == "train") & ~table["trusted"]]
    true = rows["sample_id"].map(truth)
    shares = {name: float((rows[f"{name}_label"] == true).mean()) for name in ("given", "purified")}
    return {**shares, "rows": len(rows), "gate": labels.metrics["gate"]["verdict"]}


class Inside(Children):
    """Stages in this process: the same programs, without loading torch anew for each cell."""

    def __init__(self) -> None:
        super().__init__()
        self.flag = StopFlag()

    def run(self, request: StageRequest, on_progress: OnProgress) -> None:
        self._stop_if_asked()
        produce = importlib.import_module(f"stages.{request.stage}.produce").produce
        attempt(request, STAGES[request.stage].config_type, produce, self.flag)

    def ask_to_stop(self, number: int = signal.SIGTERM) -> None:
        self.flag.request(number)
        self._signal = number


def compare(name: str, options: argparse.Namespace) -> None:
    folder = options.folder / name
    document, truth = write_set(name, folder, options.data)
    methods = options.methods or (ALL if name == "digits" else SETS[name].methods)
    settings = [word for setting in options.set for word in ("--set", setting)]
    words = ["compare", str(document), "--methods", methods, "--labels", options.labels, "--seeds", str(options.seeds),
             "--workers", str(options.workers), "--out", str(folder / "compare"), *settings]  # fmt: skip
    inline.Children = Inside  # type: ignore[misc]
    if code := puriflow(words):
        sys.exit(code)
    found = json.loads((folder / "compare" / "compare.json").read_text(encoding="utf-8"))
    record = {
        **describe_machine(torch.device("cpu"), options.workers), "set": name, "settings": options.set,
        "document": document.read_text(encoding="utf-8"), "train_labels_right":
        labels_right(folder / "puriflow-store", found["cells"][0]["key"], truth), **found,
    }  # fmt: skip
    options.out.mkdir(parents=True, exist_ok=True)
    ending = f"-{options.name}" if options.name else ""
    target = options.out / f"retrain-{name}{ending}.json"
    target.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{target}: {record['train_labels_right']}")
    print((folder / "compare" / "compare.md").read_text(encoding="utf-8"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", choices=["digits", *SETS])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--folder", type=Path, default=Path("retrain-benchmark"), help="data, documents, stores")
    parser.add_argument("--methods", default="", help="default: those of the set")
    parser.add_argument("--labels", default="given,purified")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=0, help="threads; 0: all cores")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="passed on")
    parser.add_argument("--name", default="", help="ending of the record's name, where --set makes another one")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    for name in options.sets:
        if name != "digits" and not options.data.exists():
            sys.exit(f"there is no {options.data}: name the folder of the data with --data")
        compare(name, options)


if __name__ == "__main__":
    main()
