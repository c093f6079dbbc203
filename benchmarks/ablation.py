"""Measure what each piece of `fusion` is worth: the share of right suggestions without it, on cells of purifiers.py.

`python benchmarks/ablation.py --out benchmarks/results/ablation.json`, cells by `--cases` and `--seeds`. Each variant
leaves out or replaces one thing and keeps everything else; audit, rival and last step are those of the product. Cells
that the file holds already are not run again. `--features` and `--labels` are those of purifiers.py.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

import torch
from machine import commit, describe_machine
from purifiers import Data, add_data_options, data_of, ours
from torch import Tensor

from stages.purify import evidence
from stages.purify.methods import fusion


@dataclass(frozen=True)
class Variant:
    """Other options, and what to do to the code for as long as it runs."""

    options: dict[str, Any]
    change: Callable[[], Any] | None = None


@contextmanager
def without_basis(which: int) -> Iterator[None]:
    def gather(*arguments: Any) -> evidence.Evidence:
        found = evidence.gather_evidence(*arguments)
        return replace(found, bases=[b for i, b in enumerate(found.bases) if i != which])

    with mock.patch.object(fusion, "gather_evidence", gather):
        yield


@contextmanager
def without_votes() -> Iterator[None]:
    whole = evidence.Scored.blocks

    def blocks(self: evidence.Scored, rows: Tensor) -> Tensor:
        return whole(self, rows)[:-1]

    with mock.patch.object(evidence.Scored, "blocks", blocks):
        yield


VARIANTS = {
    "fusion": Variant({}),
    "one round": Variant({"rounds": 1}),
    "no row-alone basis": Variant({}, lambda: without_basis(1)),
    "no basis with the neighbours' mean": Variant({}, lambda: without_basis(0)),
    "no votes of the neighbours": Variant({}, without_votes),
    "one penalty": Variant({"strengths": (1.0,)}),
    "weights nearly fixed": Variant({"stiffness": (5000.0,)}),
    "weights nearly free": Variant({"stiffness": (50.0,)}),
    "no rival": Variant({"rival_ridge": 1e6}),
    "half the landmarks": Variant({"landmarks": 1000}),
}


def run(data: Data, options: argparse.Namespace, rows: list[dict[str, Any]]) -> None:
    done = {(row["features"], row["case"], row["seed"], row["variant"]) for row in rows}
    for case, seed in [(c, s) for c in options.cases for s in range(options.seeds)]:
        given, trusted = data.given(case, seed), data.trusted(options.per_class, seed)
        for name in options.variants:
            if (data.name, case, seed, name) in done:
                continue
            variant = VARIANTS[name]
            with variant.change() if variant.change else nullcontext():
                found = ours(data, given, trusted, "fusion", {"fusion": variant.options})
            found.pop("baselines")
            cell = {"features": data.name, "case": case, "per_class": options.per_class, "seed": seed, "variant": name}
            rows.append({**cell, **found, "commit": commit()[:7]})
            print(json.dumps(rows[-1]), flush=True)
            if options.out:
                record = {**describe_machine(torch.device("cpu"), options.threads), "rows": rows}
                options.out.write_text(json.dumps(record, indent=1), encoding="utf-8")


def table_of(rows: list[dict[str, Any]]) -> str:
    cells = list(dict.fromkeys((row["features"], row["case"]) for row in rows))
    lines = [f"| | {' | '.join(f'{f}, {c}' for f, c in cells)} |", "|---" * (len(cells) + 1) + "|"]
    for name in dict.fromkeys(row["variant"] for row in rows):
        figures = []
        for cell in cells:
            found = [r["suggested"] for r in rows if (r["features"], r["case"], r["variant"]) == (*cell, name)]
            figures.append(f"{sum(found) / len(found):.3f}" if found else "")
        lines.append(f"| {name} | {' | '.join(figures)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_data_options(parser)
    parser.add_argument("--cases", nargs="+", default=["worse", "asym40", "sym50"])
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--per-class", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    old = json.loads(options.out.read_text(encoding="utf-8"))["rows"] if options.out and options.out.exists() else []
    run(data_of(options), options, old)
    print(table_of(old))


if __name__ == "__main__":
    main()
