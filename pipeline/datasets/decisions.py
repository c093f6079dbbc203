"""Human decisions: an append-only ledger in the store, never collected; its rows always win over trusted columns."""

import io

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import ContractError
from pipeline.store import Store

SCHEMA = pa.schema(
    [
        ("sample_id", pa.string()),
        ("trusted_name", pa.string()),  # class name; null takes the trust in this row back
        ("trusted_origin", pa.string()),
        ("propensity", pa.float64()),
        ("who", pa.string()),
        ("when", pa.string()),
    ]
)


def append_decisions(store: Store, dataset: str, table: pa.Table) -> int:
    """Write further decisions as the ledger's next file; return its number."""
    missing = [name for name in SCHEMA.names if name not in table.column_names]
    if missing or table["sample_id"].null_count:
        raise ContractError(
            f"decisions for '{dataset}' lack {', '.join(missing) or 'sample ids'}.",
            f"Expected columns: {', '.join(SCHEMA.names)}; sample_id is never null.",
        )
    sink = io.BytesIO()
    pq.write_table(table.select(SCHEMA.names).cast(SCHEMA), sink)
    number = max(_numbers(store, dataset), default=0) + 1
    while not store.create(_path(dataset, number), sink.getvalue()):  # another reviewer was faster
        number += 1
    return number


def read_decisions(store: Store, dataset: str) -> pa.Table:
    """Read the newest decision on every sample, in the order of the ledger."""
    tables = [SCHEMA.empty_table()]
    for number in sorted(_numbers(store, dataset)):
        data = store.read(_path(dataset, number))
        if data is not None:
            tables.append(pq.read_table(io.BytesIO(data)).cast(SCHEMA))
    everything = pa.concat_tables(tables)
    newest = {sample: row for row, sample in enumerate(everything["sample_id"].to_pylist())}
    return everything.take(pa.array(sorted(newest.values()), pa.int64()))


def _numbers(store: Store, dataset: str) -> list[int]:
    names = [name.removesuffix(".parquet") for name in store.children(f"decisions/{dataset}")]
    return [int(name) for name in names if name.isdigit()]


def _path(dataset: str, number: int) -> str:
    return f"decisions/{dataset}/{number}.parquet"
