import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.datasets.decisions import SCHEMA, append_decisions, newest_number, read_decisions
from pipeline.errors import ContractError
from pipeline.store.local import FileStore


def decided(*rows: tuple[str, str | None]) -> pa.Table:
    count = len(rows)
    columns = [[r[0] for r in rows], [r[1] for r in rows], ["selected"] * count, [0.5] * count, ["me"] * count]
    return pa.table([*columns, ["now"] * count, [None] * count, [None] * count], schema=SCHEMA)


def test_the_newest_decision_on_a_sample_counts(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    assert read_decisions(store, "toys").num_rows == 0
    assert append_decisions(store, "toys", decided(("a", "cat"), ("b", "dog"))) == 1
    assert append_decisions(store, "toys", decided(("a", None), ("c", "cat"), ("c", "dog"))) == 2
    found = read_decisions(store, "toys")
    assert found.schema == SCHEMA
    assert dict(zip(found["sample_id"].to_pylist(), found["trusted_name"].to_pylist(), strict=True)) == {
        "a": None, "b": "dog", "c": "dog",
    }  # fmt: skip
    assert read_decisions(store, "others").num_rows == 0


def test_later_files_win_by_number_not_by_name(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    for number in range(1, 12):
        assert append_decisions(store, "toys", decided(("a", str(number)))) == number
    assert read_decisions(store, "toys")["trusted_name"].to_pylist() == ["11"]


def test_reviewers_at_once_lose_nothing(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(lambda i: append_decisions(store, "toys", decided((f"s{i}", "cat"))), range(24)))
    assert sorted(numbers) == list(range(1, 25))
    assert read_decisions(store, "toys").num_rows == 24


def test_decisions_of_another_shape_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="lack trusted_name, trusted_origin"):
        append_decisions(FileStore(tmp_path), "toys", pa.table({"sample_id": ["a"]}))
    with pytest.raises(ContractError, match="lack sample ids"):
        append_decisions(
            FileStore(tmp_path), "toys", pa.table([[None], *[["x"]] * 2, [0.1], *[["x"]] * 4], schema=SCHEMA)
        )


def test_ledgers_of_older_versions_are_read(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    older = decided(("a", "cat")).drop_columns(["choice", "review"])
    sink = io.BytesIO()
    pq.write_table(older, sink)
    assert store.create("decisions/toys/1.parquet", sink.getvalue())
    assert append_decisions(store, "toys", older) == 2
    assert read_decisions(store, "toys").schema == SCHEMA
    assert read_decisions(store, "toys")["choice"].to_pylist() == [None]


def test_a_ledger_can_be_read_as_it_was(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    append_decisions(store, "toys", decided(("a", "cat")))
    append_decisions(store, "toys", decided(("a", "dog")))
    assert newest_number(store, "toys") == 2
    assert read_decisions(store, "toys", upto=1)["trusted_name"].to_pylist() == ["cat"]
