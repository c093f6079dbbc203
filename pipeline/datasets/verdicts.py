"""Check what reviewers say against the dataset and the ledger, and write it down."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from pipeline.datasets.decisions import SCHEMA, SKIP, append_decisions, read_ledger
from pipeline.datasets.faults import meant, naming, nearest
from pipeline.datasets.reviews import Answer, Answers
from pipeline.errors import DataError
from pipeline.store import Store, utc_now


@dataclass(frozen=True)
class Imported:
    """What became of a reviewer's file."""

    decided: int
    skipped: int
    known: int  # said before
    replaced: int  # decided otherwise before
    drawn: int  # of those decided, drawn at random
    number: int | None  # of the ledger's new file, None where nothing was new


def import_answers(
    store: Store, dataset: str, answers: Answers, known: tuple[Collection[str], Sequence[str]], *, replacing: bool
) -> Imported:
    """Check answers against (ids, class names) and the ledger; append those that are new, all or none."""
    ids, classes = known
    if answers.dataset not in ("", dataset):
        raise DataError(
            f"the file is a review of dataset '{answers.dataset}', not of '{dataset}'.", "Name that dataset."
        )
    said = once(named(answers.answers, classes))
    refuse_strangers(said, ids)
    before = earlier(store, dataset)
    fresh = [a for a in said if before.get(a.sample_id, "") != (a.label if a.label is not None else SKIP)]
    fresh = [a for a in fresh if not (a.label is None and a.sample_id in before)]  # a skip undoes nothing
    torn = [a for a in fresh if before.get(a.sample_id, SKIP) != SKIP]
    if torn and not replacing:
        shown = "; ".join(f"'{a.sample_id}' was '{before[a.sample_id]}', now '{a.label}'" for a in torn[:5])
        raise DataError(
            f"{len(torn)} answers contradict earlier decisions: {shown}.",
            "Agree on them, or let this file win with --replace (the earlier ones stay in the ledger).",
        )
    number = append_decisions(store, dataset, ledger_table(fresh)) if fresh else None
    decided = [a for a in fresh if a.label is not None]
    return Imported(
        decided=len(decided), skipped=len(fresh) - len(decided), known=len(said) - len(fresh), replaced=len(torn),
        drawn=sum(a.drawn == "random" for a in decided), number=number,
    )  # fmt: skip


def named(answers: Sequence[Answer], classes: Sequence[str]) -> list[Answer]:
    """Replace numbers by class names, and refuse what is neither."""
    known = set(classes)
    found, unknown = [], {}
    for answer in answers:
        label = answer.label
        if label is not None and label not in known:
            if label.isdecimal() and int(label) < len(classes):
                label = classes[int(label)]
            else:
                unknown[label] = answer.sample_id
        found.append(replace(answer, label=label))
    if unknown:
        first = next(iter(unknown))
        raise DataError(
            f"{len(unknown)} labels are no class: {naming(list(unknown))} (first row: '{unknown[first]}').",
            f"{meant(first, list(classes))}Classes: {naming(list(classes))}.",
        )
    return found


def once(answers: Sequence[Answer]) -> list[Answer]:
    """Keep one answer a row; two labels for one row are an error, a label wins over a skip."""
    found: dict[str, Answer] = {}
    torn = []
    for answer in answers:
        other = found.get(answer.sample_id)
        if other is None or other.label is None:
            found[answer.sample_id] = answer
        elif answer.label not in (None, other.label):
            torn.append(f"'{answer.sample_id}' is '{other.label}' and '{answer.label}'")
    if torn:
        raise DataError(
            f"the file contradicts itself about {len(torn)} rows: {'; '.join(torn[:5])}.", "Keep one label for each."
        )
    return list(found.values())


def refuse_strangers(answers: Sequence[Answer], ids: Collection[str]) -> None:
    """Insist that answers speak of rows that exist."""
    strangers = [a.sample_id for a in answers if a.sample_id not in ids]
    if strangers:
        near = nearest(strangers[0], sorted(ids)[:10_000])
        raise DataError(
            f"{len(strangers)} of {len(answers)} answers speak of no row of the dataset: {naming(strangers)}.", near
        )


def earlier(store: Store, dataset: str) -> dict[str, str]:
    """Return what the ledger says of each row: a class name, or that it was skipped."""
    found: dict[str, str] = {}
    for row in read_ledger(store, dataset).to_pylist():
        if row["choice"] != SKIP:
            found[row["sample_id"]] = row["trusted_name"] or ""
        else:
            found.setdefault(row["sample_id"], SKIP)
    return found


def ledger_table(answers: Sequence[Answer]) -> pa.Table:
    """Lay answers out as the ledger has them; an evenly drawn row has the propensity 1, see docs/review.md."""
    now = utc_now()
    rows = [
        {
            "sample_id": a.sample_id,
            "trusted_name": a.label,
            "trusted_origin": None if a.label is None else a.drawn,
            "propensity": 1.0 if a.label is not None and a.drawn == "random" else None,
            "who": a.who or None,
            "when": a.when or now,
            "choice": SKIP if a.label is None else (a.choice or None),
            "review": a.review or None,
        }
        for a in answers
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMA)
