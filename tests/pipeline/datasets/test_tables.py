from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.datasets.tables import read_table, table_schema
from pipeline.errors import DataError

ROWS = [{"id": "007", "label": "a,b"}, {"id": "1e3", "label": None}, {"id": "ü", "label": 'say "x"\nagain'}]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_csv_is_read_as_text_whatever_its_dialect(tmp_path: Path, delimiter: str, mark: bytes, end: str) -> None:
    lines = ["id,label", '007,"a|b"', "1e3,", 'ü,"say ""x""\nagain"']
    text = end.join(line.replace(",", delimiter) for line in lines).replace("|", ",")
    path = tmp_path / "rows.csv"
    path.write_bytes(mark + text.encode())
    assert read_table(path).to_pylist() == ROWS
    assert read_table(path, ["label"]).column_names == ["label"]
    assert table_schema(path).names == ["id", "label"]


def test_parquet_keeps_types(tmp_path: Path) -> None:
    path = tmp_path / "ROWS.PARQUET"
    pq.write_table(pa.table({"id": [1], "x": [0.5]}), path)
    assert read_table(path, ["x"]).to_pylist() == [{"x": 0.5}]
    assert table_schema(path).field("id").type == pa.int64()


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.csv", b"", "is empty"),
        ("a.csv", b"x,x\n1,2\n", "several columns named 'x'"),
        ("a.csv", b"x,y\n1,2\n1,2,3\n", "cannot be read: .*Expected 2 columns, got 3"),
        ("a.csv", "x,y\nä,2\n".encode("latin-1"), "cannot be read: .*UTF-8"),
        ("a.csv", "x,y\n1,2\n".encode("utf-16"), "cannot be read: .*UTF-8"),
        ("a.parquet", b"hello", "a.parquet cannot be read"),
    ],
)
def test_tables_that_cannot_be_read_say_what_is_expected(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(DataError, match=message):
        read_table(path)


def test_compressed_csv_is_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv.gz"
    with pa.output_stream(str(path), compression="gzip") as stream:
        stream.write(b"x,y\n1,2\n")
    assert read_table(path).to_pylist() == [{"x": "1", "y": "2"}]
