"""Parquet and Arrow: whole, cut and damaged."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pyarrow.feather
import pyarrow.parquet
import pytest

from danlu.readers.record import Raw, Rejected

Reads = Callable[..., list[Raw | Rejected]]
ROWS = 2000


def arrow(path: Path, table: pyarrow.Table, *, stream: bool) -> bytes:
    make = pyarrow.ipc.new_stream if stream else pyarrow.ipc.new_file
    with pyarrow.OSFile(str(path), "wb") as file, make(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=500)
    return path.read_bytes()


@pytest.mark.parametrize("stream", [True, False])
def test_arrow_gives_rows_and_their_strings(reads: Reads, tmp_path: Path, stream: bool) -> None:
    names = pyarrow.array(["a", "b", "a"]).dictionary_encode()
    table = pyarrow.table({"n": [1, 2, 3], "text": ["one", None, "三"], "title": names})
    assert reads("b.arrow", arrow(tmp_path / "a", table, stream=stream)) == [
        Raw(0, "one", {"title": "a"}),
        Rejected(1, "field 'text' is not text", "row 1: NoneType"),
        Raw(2, "三", {"title": "a"}),
    ]


@pytest.mark.parametrize("compression", ["uncompressed", "lz4", "zstd"])
def test_feather(reads: Reads, tmp_path: Path, compression: str) -> None:
    table = pyarrow.table({"text": [str(number) for number in range(ROWS)]})
    pyarrow.feather.write_feather(table, tmp_path / "a", compression=compression)
    assert reads("b.feather", (tmp_path / "a").read_bytes()) == [Raw(number, str(number)) for number in range(ROWS)]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("cut", [0, 1, 7, 100, 0.3, 0.7, -1])
def test_a_truncated_arrow_file_is_told(reads: Reads, tmp_path: Path, stream: bool, cut: float) -> None:
    table = pyarrow.table({"text": [str(number) * 10 for number in range(ROWS)]})
    whole = arrow(tmp_path / "a", table, stream=stream)
    length = round(cut * len(whole)) if 0 < cut < 1 else int(cut)
    records = reads("b.arrow", whole[:length])
    good = [record.text for record in records if isinstance(record, Raw)]
    assert good == [str(number) * 10 for number in range(len(good))]
    if cut != -1 or not stream:  # a stream may lack its last bytes: they say nothing but that it ends
        assert isinstance(records[-1], Rejected) and records[-1].reason in ("not arrow", "damaged arrow")


def test_arrow_with_wrong_offsets_is_refused_unread(reads: Reads, tmp_path: Path) -> None:
    whole = bytearray(arrow(tmp_path / "a", pyarrow.table({"text": ["one two three"] * 4}), stream=False))
    offsets = bytes(pyarrow.array([0, 13, 26, 39, 52], pyarrow.int32()).buffers()[1])[:20]
    at = whole.index(offsets)
    whole[at + 8 : at + 12] = (2_000_000_000).to_bytes(4, "little")
    (rejected,) = reads("b.arrow", bytes(whole))
    assert isinstance(rejected, Rejected) and rejected.reason == "not arrow"


def test_arrow_with_bytes_that_are_not_utf8(reads: Reads, tmp_path: Path) -> None:
    binary = pyarrow.array([b"good", b"\xff\xfe", b"also"], pyarrow.binary()).view(pyarrow.string())
    records = reads("b.arrow", arrow(tmp_path / "a", pyarrow.table({"text": binary}), stream=False))
    assert records == [Raw(0, "good"), Rejected(1, "not UTF-8", "row 1"), Raw(2, "also")]


def shared_bytes(values: list[bytes], indices: list[int]) -> pyarrow.DictionaryArray:
    """Rows that share values, which say that they are UTF-8."""
    text = pyarrow.array(values, pyarrow.binary()).view(pyarrow.string())
    return pyarrow.DictionaryArray.from_arrays(pyarrow.array(indices, pyarrow.int32()), text, safe=False)


@pytest.mark.parametrize("view", [False, True])
def test_values_that_are_not_utf8_stay_shared_while_they_are_looked_at(
    reads: Reads, tmp_path: Path, view: bool
) -> None:
    long = b"\xff" * 1_000_000
    shared = shared_bytes([b"good", long], [0, *[1] * 200])
    if view:  # a view is its length, and its bytes or their beginning, buffer and place
        views = struct.pack("<i12s", 4, b"good") + struct.pack("<i4sii", len(long), long[:4], 0, 0) * 200
        buffers = [None, pyarrow.py_buffer(views), pyarrow.py_buffer(long)]
        shared = pyarrow.Array.from_buffers(pyarrow.string_view(), 201, buffers)
    content = arrow(tmp_path / "a", pyarrow.table({"text": shared}), stream=False)
    whole = pyarrow.default_memory_pool()
    mine = pyarrow.proxy_memory_pool(whole)
    pyarrow.set_memory_pool(mine)
    try:
        first, *bad = reads("b.arrow", content)
    finally:
        pyarrow.set_memory_pool(whole)
    assert first == Raw(0, "good")
    assert [getattr(record, "reason", None) for record in bad] == ["not UTF-8"] * 200
    assert mine.max_memory() < 20_000_000


@pytest.mark.parametrize("column", ["text", "title"])
def test_indices_beyond_values_that_are_not_utf8(reads: Reads, tmp_path: Path, column: str) -> None:
    bad = shared_bytes([b"good", b"\xff"], [0, 1])
    table = pyarrow.table({"text": bad, column: shared_bytes([b"good", b"\xff"], [0, 7])})
    (rejected,) = reads("b.arrow", arrow(tmp_path / "a", table, stream=False))
    assert isinstance(rejected, Rejected) and rejected.reason == "not arrow"


@pytest.mark.parametrize("damage", ["zeros", "ones"])
def test_a_damaged_row_group_costs_itself_alone(reads: Reads, tmp_path: Path, damage: str) -> None:
    table = pyarrow.table({"text": [f"row {number} of many" for number in range(ROWS)]})
    path = tmp_path / "a"
    pyarrow.parquet.write_table(
        table, path, row_group_size=500, use_dictionary=False, compression="zstd", write_page_checksum=True
    )
    start = pyarrow.parquet.ParquetFile(path).metadata.row_group(1).column(0).data_page_offset
    whole = bytearray(path.read_bytes())
    whole[start + 60 : start + 160] = (b"\0" if damage == "zeros" else b"\xff") * 100
    records = reads("b.parquet", bytes(whole))
    (bad,) = [record for record in records if isinstance(record, Rejected)]
    assert (
        bad.number == 500 and bad.reason == "damaged parquet" and bad.detail.startswith("row group 1, rows 500 to 999")
    )
    good = [record for record in records if isinstance(record, Raw)]
    assert good == [Raw(n, f"row {n} of many") for n in range(ROWS) if not 500 <= n < 1000]


def test_long_cells_and_columns_of_one_name(reads: Reads, tmp_path: Path) -> None:
    pyarrow.parquet.write_table(pyarrow.table({"text": ["x" * 5000, "short"]}), tmp_path / "a")
    records = reads("b.parquet", (tmp_path / "a").read_bytes(), record_bytes=100)
    assert [getattr(record, "reason", None) for record in records] == ["too long", None]
    table = pyarrow.table({"text": ["one", "two"], "title": ["short", "x" * 5000]})
    records = reads("c.arrow", arrow(tmp_path / "c", table, stream=False), record_bytes=100)
    assert [getattr(record, "reason", None) for record in records] == [None, "too long"]
    twice = pyarrow.table([["a"], ["b"]], names=["text", "text"])
    (rejected,) = reads("c.arrow", arrow(tmp_path / "b", twice, stream=False))
    assert isinstance(rejected, Rejected) and rejected.reason == "columns of one name"


def test_a_checksum_tells_what_nothing_else_would(reads: Reads, tmp_path: Path) -> None:
    table = pyarrow.table({"text": ["one of two", "two of two"]})
    pyarrow.parquet.write_table(
        table, tmp_path / "a", use_dictionary=False, compression="none", write_page_checksum=True
    )
    whole = (tmp_path / "a").read_bytes()
    at = whole.index(b"two of two", whole.index(b"one of two"))
    (rejected,) = reads("b.parquet", whole[:at] + b"twX" + whole[at + 3 :])
    assert isinstance(rejected, Rejected) and rejected.reason == "damaged parquet"


@pytest.mark.parametrize("large", ["text", "title"])
@pytest.mark.parametrize("ending", ["parquet", "arrow"])
def test_one_value_that_many_rows_share_is_no_bomb(
    reads: Reads, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, large: str
) -> None:
    """Of a file of some kilobytes, whose rows are gigabytes."""
    shared = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * 3000, pyarrow.int32()), ["春" * 399_000])
    table = pyarrow.table({"text": ["one"] * 3000, "number": [1] * 3000, large: shared})
    path = tmp_path / f"bomb.{ending}"
    if ending == "parquet":
        pyarrow.parquet.write_table(table, path, compression="zstd", store_schema=False)
    else:
        options = pyarrow.ipc.IpcWriteOptions(compression="zstd")
        with pyarrow.ipc.new_file(path, table.schema, options=options) as file:
            file.write_table(table)
    monkeypatch.setattr("danlu.readers.limits.PLAIN_BYTES", 2_000_000)
    pool = pyarrow.default_memory_pool()
    before = pool.max_memory()
    *kept, rejected = reads(path.name, path.read_bytes(), unpacked_ratio=1)
    assert isinstance(rejected, Rejected) and rejected.reason == "unpacks to too much"
    assert [record.number for record in kept] == [0, 1, 2, 3, 4]
    assert pool.max_memory() <= max(before, 100_000_000)


def test_a_column_whose_name_is_damaged_in_one_place(reads: Reads, tmp_path: Path) -> None:
    pyarrow.parquet.write_table(pyarrow.table({"text": ["a b", "c d"]}), tmp_path / "a.parquet")
    content = (tmp_path / "a.parquet").read_bytes()
    places = [place for place in range(len(content)) if content.startswith(b"text", place)]
    for place in places:  # some are only read by other programs
        damaged = content[:place] + b"tex\0" + content[place + 4 :]
        assert all(isinstance(record, Raw | Rejected) for record in reads("b.parquet", damaged))
