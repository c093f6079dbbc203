"""Human decisions: an append-only ledger in the store, never collected; its rows always win over trusted columns."""

import io
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.errors import ContractError
from pipeline.store import Store

SKIP = "skip"  # looked at and left open: no decision, but not shown again
SCHEMA = pa.schema(
    [
        ("sample_id", pa.string()),
        ("trusted_name", pa.string()),  # class name; null takes the trust in this row back
        ("trusted_origin", pa.string()),
        ("propensity", pa.float64()),  # relative to an even draw, which has 1; null where the row was picked
        ("who", pa.string()),
        ("when", pa.string()),
        ("choice", pa.string()),  # accept · keep · choose · skip; null where nobody said
        ("review", pa.string()),  # key of the review that showed the row; null where there was none
    ]
)
LATER = ("choice", "review")  # columns that older files lack


def append_decisions(store: Store, dataset: str, table: pa.Table) -> int:
    """Write further decisions as the ledger's next file; return its number."""
    missing = [name for name in SCHEMA.names if name not in (*table.column_names, *LATER)]
    if missing or table["sample_id"].null_count:
        raise ContractError(
            f"decisions for '{dataset}' lack {', '.join(missing) or 'sample ids'}.",
            f"Expected columns: {', '.join(SCHEMA.names)}; sample_id is never null.",
        )
    sink = io.BytesIO()
    pq.write_table(_complete(table), sink)
    number = newest_number(store, dataset) + 1
    while not store.create(_path(dataset, number), sink.getvalue()):  # another reviewer was faster
        number += 1
    return number


def read_ledger(store: Store, dataset: str, upto: int | None = None) -> pa.Table:
    """Read all that was ever written down, in the order of the ledger, as far as one of its files."""
    tables = [SCHEMA.empty_table()]
    for number in sorted(_numbers(store, dataset)):
        data = store.read(_path(dataset, number)) if upto is None or number <= upto else None
        if data is not None:
            tables.append(_complete(pq.read_table(io.BytesIO(data))))
    return pa.concat_tables(tables)


def read_decisions(store: Store, dataset: str, upto: int | None = None) -> pa.Table:
    """Read the newest decision on every sample, in the order of the ledger; what was skipped is none."""
    everything = read_ledger(store, dataset, upto)
    everything = everything.filter(pc.fill_null(pc.not_equal(everything["choice"], SKIP), True))
    newest = {sample: row for row, sample in enumerate(everything["sample_id"].to_pylist())}
    return everything.take(pa.array(sorted(newest.values()), pa.int64()))


def newest_number(store: Store, dataset: str) -> int:
    """Return the number of the ledger's newest file, 0 where there is none."""
    return max(_numbers(store, dataset), default=0)


def _complete(table: pa.Table) -> pa.Table:
    """Bring a table into the ledger's form; what an older one lacks is null."""
    absent: Sequence[str] = [name for name in LATER if name not in table.column_names]
    for name in absent:
        table = table.append_column(name, pa.nulls(table.num_rows, pa.string()))
    return table.select(SCHEMA.names).cast(SCHEMA)


def _numbers(store: Store, dataset: str) -> list[int]:
    names = [name.removesuffix(".parquet") for name in store.children(f"decisions/{dataset}")]
    return [int(name) for name in names if name.isdigit()]


def _path(dataset: str, number: int) -> str:
    return f"decisions/{dataset}/{number}.parquet"
