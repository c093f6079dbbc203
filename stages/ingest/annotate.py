"""From text to annotations: given and trusted labels, splits, side tables and human decisions become one record."""

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.datasets.annotations import NO_LABEL, ORIGINS, Annotations
from pipeline.datasets.config import DatasetConfig
from pipeline.datasets.faults import meant, naming
from pipeline.errors import DataError
from stages.ingest.classes import are_numbers, clean_labels, distinct, encode, find_classes, plurality
from stages.ingest.samples import Samples
from stages.ingest.sides import aligned, read_side
from stages.ingest.splits import NAMES, split_of

TRUST = ("trusted_label", "trusted_origin", "propensity")


@dataclass
class Findings:
    """What a user should know about the annotations beside the annotations."""

    class_names_derived: bool
    decisions: int
    warnings: list[str] = field(default_factory=list)


def annotate(samples: Samples, config: DatasetConfig, decisions: pa.Table) -> tuple[Annotations, Findings]:
    """Understand all labels, splits and trust of a dataset's rows."""
    ids = samples.roles["sample_id"]
    mine, theirs = given_labels(samples.roles), side_labels(config, ids)
    ruled, strangers = decided(trusted_rows(samples.roles, config, ids), decisions, ids)
    trusted = {"trusted labels": clean_labels(ruled["trusted_label"])}
    said = config.class_names or samples.class_names
    names, warnings = (list(said), []) if said else derive_classes({**mine, **theirs}, trusted, samples.own)
    label = encode(trusted["trusted labels"], names, "trusted labels", ids)
    votes = merged([encode(c, names, what, ids) for what, c in mine.items()],
                   [encode(c, names, what, ids) for what, c in theirs.items()], len(ids))  # fmt: skip
    warnings += strangers
    annotations = Annotations(
        sample_ids=ids.to_pylist(),
        given=plurality(votes),
        annotators=votes if votes.shape[1] > 1 else np.empty((len(ids), 0), np.int32),
        trusted=label,
        origin=origins(ruled["trusted_origin"], label, ids),
        propensity=propensities(ruled["propensity"], label, ids),
        split=splits(samples.roles, config, ids),
        class_names=names,
        own=samples.own if samples.own is None else samples.own.add_column(0, "sample_id", ids),
        dataset=config.name,
    )
    return annotations, Findings(not said, decisions.num_rows, [*samples.warnings, *warnings])


def column_of(table: pa.Table, name: str, rows: int) -> pa.ChunkedArray:
    """Take a column that may be absent."""
    return table[name] if name in table.column_names else pa.chunked_array([pa.nulls(rows, pa.string())])


def given_labels(roles: pa.Table, where: str = "given labels") -> dict[str, pa.ChunkedArray]:
    """Collect the columns of given labels, one per annotator."""
    found = [clean_labels(roles[name]) for name in roles.column_names if name.startswith("given_label_")]
    return {f"{where} ({i + 1})" if len(found) > 1 else where: column for i, column in enumerate(found)}


def side_labels(config: DatasetConfig, ids: pa.ChunkedArray) -> dict[str, pa.ChunkedArray]:
    """Collect the given labels of the side table."""
    if config.labels is None:
        return {}
    return given_labels(aligned(read_side(config.labels, "labels", "given_label", ids), ids), "dataset.labels")


def merged(mine: list[NDArray[np.int32]], theirs: list[NDArray[np.int32]], rows: int) -> NDArray[np.int32]:
    """Lay given labels side by side [N, A]; for the rows that the side table names, its labels win."""
    nothing = np.full(rows, NO_LABEL, np.int32)
    width = max(len(mine), len(theirs), 1)
    table = np.stack([*mine, *[nothing] * (width - len(mine))], axis=1)
    if theirs:
        side = np.stack([*theirs, *[nothing] * (width - len(theirs))], axis=1)
        table = np.where((side != NO_LABEL).any(axis=1, keepdims=True), side, table)
    return table


def trusted_rows(roles: pa.Table, config: DatasetConfig, ids: pa.ChunkedArray) -> pa.Table:
    """Collect trusted labels, their origin and propensity; table and side table may not contradict each other."""
    mine = pa.table({name: column_of(roles, name, len(ids)) for name in TRUST})
    if config.trusted is None:
        return mine
    side = aligned(read_side(config.trusted, "trusted", "trusted_label", ids), ids)
    theirs = pa.table({name: column_of(side, name, len(ids)) for name in TRUST})
    old, new = clean_labels(mine["trusted_label"]), clean_labels(theirs["trusted_label"])
    torn = pc.fill_null(pc.not_equal(old, new), False)
    if pc.any(torn).as_py():
        rows = zip(*(c.filter(torn).slice(0, 5).to_pylist() for c in (ids, old, new)), strict=True)
        raise DataError(
            f"trusted labels contradict each other for {pc.sum(torn)} rows: "
            + ", ".join(f"'{i}' is '{a}' in the table, '{b}' in dataset.trusted" for i, a, b in rows) + ".",
            "Keep one of the two.",
        )  # fmt: skip
    return pa.table({name: pc.coalesce(theirs[name], mine[name]) for name in TRUST})


def decided(trust: pa.Table, decisions: pa.Table, ids: pa.ChunkedArray) -> tuple[pa.Table, list[str]]:
    """Let human decisions win over all other trust; a decision without a name takes trust back."""
    if not decisions.num_rows:
        return trust, []
    strangers = decisions["sample_id"].filter(pc.invert(pc.is_in(decisions["sample_id"], value_set=ids)))
    rows = aligned(decisions, ids)
    said = pc.is_valid(rows["sample_id"])
    new = (rows["trusted_name"], rows["trusted_origin"], rows["propensity"].cast(pa.string()))
    ruled = {name: pc.if_else(said, column, trust[name]) for name, column in zip(TRUST, new, strict=True)}
    gone = f"{len(strangers)} decisions speak of rows that are no longer there: {naming(strangers)}"
    return pa.table(ruled), [gone] if len(strangers) else []


def derive_classes(
    given: dict[str, pa.ChunkedArray], trusted: dict[str, pa.ChunkedArray], own: pa.Table | None
) -> tuple[list[str], list[str]]:
    """Take the labels that occur as the class names; those that no given label has are a slip or worth a word."""
    names, warnings = find_classes({**given, **trusted}, own.column_names if own is not None else ())
    known = {label for column in given.values() for label in distinct(column)}
    fresh = sorted(label for column in trusted.values() for label in distinct(column) if label not in known)
    for label in fresh if not are_numbers(fresh) else ():
        if question := meant(label, sorted(known)):
            raise DataError(
                f"trusted label '{label}' is given to no row.",
                f"{question}Mend it; if it is a class of its own, list all classes in dataset.class_names.",
            )
    if fresh and known:
        warnings.append(f"{len(fresh)} classes occur only among trusted labels: {naming(fresh)}")
    return names, warnings


def origins(column: pa.ChunkedArray, label: NDArray[np.int32], ids: pa.ChunkedArray) -> NDArray[np.str_]:
    """Read where each trusted row comes from; unknown where it is not said."""
    values = pc.utf8_lower(pc.utf8_trim_whitespace(column))
    refuse_others(values, list(ORIGINS), "trusted_origin", ids)
    said = np.array(pc.fill_null(values, "unknown").to_pylist(), dtype=np.str_)
    return np.where(label != NO_LABEL, said, "")


def propensities(column: pa.ChunkedArray, label: NDArray[np.int32], ids: pa.ChunkedArray) -> NDArray[np.float64]:
    """Read the chance with which each trusted row was picked."""
    try:
        values = np.asarray(pc.fill_null(column.cast(pa.float64()), np.nan).to_numpy())
    except pa.ArrowInvalid as error:
        raise DataError(f"propensity is not a number: {error}.", "Expected: above 0, at most 1, or empty.") from error
    wrong = np.flatnonzero((values <= 0) | (values > 1))
    if len(wrong):
        shown = [f"{ids[int(i)]}: {values[i]:g}" for i in wrong[:5]]
        raise DataError(
            f"propensity of {len(wrong)} rows is out of range: {naming(shown, len(wrong))}.",
            "Expected: above 0, at most 1, or empty.",
        )
    return np.where(label != NO_LABEL, values, np.nan)


def splits(roles: pa.Table, config: DatasetConfig, ids: pa.ChunkedArray) -> NDArray[np.str_]:
    """Read every row's split; the side table wins for the rows that it names, nothing said means train."""
    column = column_of(roles, "split", len(ids))
    if config.splits is not None:
        side = aligned(read_side(config.splits, "splits", "split", ids), ids)
        column = pc.coalesce(side["split"], column)
    refuse_others(pc.utf8_lower(pc.utf8_trim_whitespace(column)), list(NAMES), "split", ids)
    words = pc.fill_null(column, "train").combine_chunks().dictionary_encode()
    names = np.array([split_of(word) for word in words.dictionary.to_pylist()], dtype=np.str_)
    return np.asarray(names[words.indices.to_numpy()]) if len(names) else np.empty(0, np.str_)


def refuse_others(column: pa.ChunkedArray, allowed: list[str], what: str, ids: pa.ChunkedArray) -> None:
    """Insist that a column holds allowed words only."""
    wrong = pc.and_(pc.is_valid(column), pc.invert(pc.is_in(column, value_set=pa.array(allowed))))
    if pc.any(wrong).as_py():
        rows, words = ids.filter(wrong), distinct(column.filter(wrong))
        raise DataError(
            f"{what} {naming(words)} of {len(rows)} rows is not known (first rows: {naming(rows)}).",
            f"{meant(words[0], allowed)}Allowed: {', '.join(allowed)}, or empty. Rename the others in the table"
            + (", or bring your own in a side table (dataset.splits)." if what == "split" else "."),
        )
