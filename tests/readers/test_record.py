"""Every format, whole and damaged."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu import catalog
from danlu.readers.delimited import read_csv
from danlu.readers.json_files import read_json, read_jsonl
from danlu.readers.markup import read_html, read_markdown
from danlu.readers.plain import read_txt
from danlu.readers.reading import read, reader_for
from danlu.readers.record import LocalFile, Raw, Rejected, Wanted
from danlu.readers.tables import read_arrow, read_parquet
from danlu.readers.whole import read_whole


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def records_of(path: Path, **wanted: Any) -> list[Raw | Rejected]:
    return list(read(LocalFile(path), Wanted(**wanted)))


def reasons(records: list[Raw | Rejected]) -> list[str | None]:
    """The reason of each rejected record, None for each good one."""
    return [record.reason if isinstance(record, Rejected) else None for record in records]


@pytest.mark.parametrize(
    ("name", "reader"),
    [
        ("a.txt", read_txt),
        ("A.TXT", read_txt),
        ("a.jsonl", read_jsonl),
        ("a.txt.jsonl.gz", read_jsonl),
        ("a.TXT.gz", read_txt),
        ("a.parquet", read_parquet),
        ("a.gz", None),
        ("README.md", read_markdown),
        ("a.HTM", read_html),
        ("a.csv.gz", read_csv),
        ("a.json", read_json),
        ("a.feather", read_arrow),
        ("txt", None),
    ],
)
def test_the_ending_picks_the_reader(name: str, reader: object) -> None:
    assert reader_for(name) is reader


def test_the_longest_ending_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(catalog.CATALOG["reader"], ".log.jsonl", "danlu.readers.plain:read_txt")
    assert reader_for("a.jsonl.gz") is read_jsonl
    assert reader_for("a.log.jsonl.gz") is read_txt


def test_a_txt_file_is_one_record_byte_for_byte(tmp_path: Path) -> None:
    text = "\ufeffone\r\n\n二 \t\u2028three\x0c"
    assert records_of(write(tmp_path / "a.txt", text.encode())) == [Raw(0, text)]
    assert records_of(write(tmp_path / "b.txt", b"")) == [Raw(0, "")]


@pytest.mark.parametrize(
    ("content", "reason", "detail"),
    [
        (b"good \xff bad", "unknown encoding", "at byte 5: 0xff; it could be cp1252: set encoding of the source"),
        (("中文" * 20).encode() + b"\xff" + "中文".encode(), "not UTF-8", "at byte 120: 0xff"),
        (b"\x7fELF\x00\x01", "binary", "NUL at byte 4"),
    ],
)
def test_a_txt_file_that_is_no_text_is_rejected_whole(tmp_path: Path, content: bytes, reason: str, detail: str) -> None:
    assert records_of(write(tmp_path / "a.txt", content)) == [Rejected(0, reason, detail)]


def test_jsonl_goes_on_behind_a_bad_line(tmp_path: Path) -> None:
    lines = [
        b'{"text": "one", "id": "a", "size": 3}',
        b"",
        b"{broken",
        b'["text"]',
        b'{"body": "x"}',
        b'{"text": 3}',
        b'{"text": null}',
        b'{"text": "\xff"}',
        rb'{"text": "\ud800"}',
        b'{"text": ' + b"[" * 100_000,
        b'{"text": "a\0b"}',
        b"  ",
        b'{"text": "\\u0000\\ud83d\\ude00"}',
    ]
    content = b"\r\n".join(lines)
    records = records_of(write(tmp_path / "a.jsonl", content))
    assert [record.number for record in records] == [0, *range(2, 11), 12], "the numbers of lines"
    assert reasons(records) == [
        None,
        "broken JSON",
        "not a JSON object",
        "no field 'text'",
        "field 'text' is not text",
        "field 'text' is not text",
        "unknown encoding",
        "not Unicode",
        "broken JSON",
        "broken JSON",
        None,
    ]
    assert records[0] == Raw(0, "one", {"id": "a"})
    assert records[-1] == Raw(12, "\0😀")
    assert records[3] == Rejected(4, "no field 'text'", "at byte 60; it has: body")
    broken = records[6]
    assert isinstance(broken, Rejected)
    assert broken.detail.startswith(f"at byte {content.index(0xFF)}: 0xff")


def test_another_field_may_hold_the_text(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", b'\xef\xbb\xbf{"body": "one", "text": "two"}\n')
    assert records_of(path, text_field="body") == [Raw(0, "one", {"text": "two"})]


@given(st.integers(0, 10_000))
def test_a_truncated_gzip_keeps_what_is_whole(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    content = b"".join(json.dumps({"text": str(number) * 50}).encode() + b"\n" for number in range(100))
    packed = gzip.compress(content, mtime=0)
    length = cut % len(packed)
    path = write(tmp_path_factory.mktemp("gz") / "a.jsonl.gz", packed[:length])
    *good, last = records_of(path)
    assert isinstance(last, Rejected)
    assert last.reason == "truncated gzip"
    assert last.number == len(good)
    assert [record.text for record in good if isinstance(record, Raw)] == [
        str(number) * 50 for number in range(len(good))
    ]


def test_a_damaged_gzip_is_rejected(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(b'{"text": "a"}\n' * 5, mtime=0))
    assert reasons(records_of(write(tmp_path / "a.jsonl.gz", b"plain text"))) == ["not gzip"]
    packed[-6] ^= 0xFF  # the checksum
    records = records_of(write(tmp_path / "b.jsonl.gz", bytes(packed)))
    assert reasons(records) == [None] * 5 + ["damaged gzip"]
    packed[10] = 0xFF  # the deflated data: a kind of block that there is not
    assert reasons(records_of(write(tmp_path / "c.jsonl.gz", bytes(packed))))[-1] == "damaged gzip"


def test_parquet_gives_rows_and_their_strings(tmp_path: Path) -> None:
    table = pyarrow.table({"text": ["one", None, "三"], "title": ["a", "b", None], "size": [1, 2, 3]})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    assert records_of(tmp_path / "a.parquet") == [
        Raw(0, "one", {"title": "a"}),
        Rejected(1, "field 'text' is not text", "row 1: NoneType"),
        Raw(2, "三"),
    ]
    (rejected,) = records_of(tmp_path / "a.parquet", text_field="body")
    assert rejected == Rejected(0, "no field 'body'", "the columns are: text, title, size")
    assert reasons(records_of(tmp_path / "a.parquet", text_field="size")) == ["field 'size' is not text"] * 3


def test_parquet_of_several_batches_is_read_in_order(tmp_path: Path) -> None:
    pyarrow.parquet.write_table(
        pyarrow.table({"text": [str(number) for number in range(3000)]}), tmp_path / "a.parquet"
    )
    records = records_of(tmp_path / "a.parquet")
    assert records == [Raw(number, str(number)) for number in range(3000)]


def test_damaged_parquet_is_rejected(tmp_path: Path) -> None:
    pyarrow.parquet.write_table(pyarrow.table({"text": ["one " * 999]}), tmp_path / "a.parquet")
    whole = (tmp_path / "a.parquet").read_bytes()
    for content in (b"", b"plain text", whole[: len(whole) // 2], whole[:-3]):
        assert reasons(records_of(write(tmp_path / "b.parquet", content))) == ["not parquet"]
    binary = pyarrow.array([b"good", b"\xff\xfe"], pyarrow.binary()).view(pyarrow.string())
    pyarrow.parquet.write_table(pyarrow.table({"text": binary}), tmp_path / "c.parquet")
    assert reasons(records_of(tmp_path / "c.parquet")) == [None, "not UTF-8"]


def test_a_small_file_sets_little_aside(tmp_path: Path) -> None:
    sizes: list[int] = []

    class Asked(io.BytesIO):
        def read1(self, size: int | None = -1, /) -> bytes:
            sizes.append(size or 0)
            return super().read1(size)

    class Held(LocalFile):
        def open(self) -> BinaryIO:
            return Asked(self.path.read_bytes())

    small = write(tmp_path / "a.txt", b"small")
    assert read_whole(Held(small), Wanted()) == b"small"
    assert max(sizes) <= 1 << 16
    large = write(tmp_path / "b.txt", bytes(range(256)) * 9_000)
    assert read_whole(Held(large), Wanted()) == bytes(range(256)) * 9_000
