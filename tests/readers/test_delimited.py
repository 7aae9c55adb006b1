"""Tables of text as streams; the truth is Python's csv module, and tables made by hand."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.readers.reading import read
from danlu.readers.record import LocalFile, Raw, Rejected, Wanted

Reads = Callable[..., list[Raw | Rejected]]
cells = st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from('",\n'), max_size=8)


@given(st.lists(st.tuples(cells, cells), max_size=6), st.sampled_from(["utf-8", "utf-8-sig"]))
def test_what_csv_writes_comes_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], encoding: str
) -> None:
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    with path.open("w", newline="", encoding=encoding) as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([("title", "text"), *rows])
    records = list(read(LocalFile(path), Wanted()))
    assert [(record.fields["title"], record.text) for record in records] == rows
    content = path.read_bytes()
    for record in records:
        reader = csv.reader(io.StringIO(content[record.offset :].decode(), newline=""))
        assert next(reader)[1] == record.text


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.csv", "text;n\na, b;1\n", [Raw(1, "a, b", {"n": "1"})]),
        ("a.csv", "sep=|\r\ntext|n\r\na|1\r\n", [Raw(2, "a", {"n": "1"})]),
        ("a.tsv", 'text\tn\n"Yes", he said.\t1\n', [Raw(1, '"Yes", he said.', {"n": "1"})]),
        ("a.tsv", '"text"\t"n"\n"a ""b"" c"\t"1"\n', [Raw(1, 'a "b" c', {"n": "1"})]),
        ("a.csv", 'text,n\n\n"a\n\nb",1\n', [Raw(2, "a\n\nb", {"n": "1"})]),
        ("a.csv", "", []),
        ("a.csv", "text,n\n", []),
        ("a.tsv", "a\tb", [Rejected(0, "no field 'text'", "the first row has: a, b")]),
    ],
)
def test_forms(reads: Reads, name: str, content: str, expected: list[Raw | Rejected]) -> None:
    assert reads(name, content) == expected


def test_a_table_without_names_counts_its_columns(reads: Reads) -> None:
    assert reads("a.tsv", "a film\t1\nbad\t0\n", text_field="1") == [
        Raw(0, "a film", {"2": "1"}),
        Raw(1, "bad", {"2": "0"}),
    ]
    assert reads("a.csv", '"x, y",1\n', text_field="1") == [Raw(0, "x, y", {"2": "1"})]


def test_a_broken_row_costs_itself_alone(reads: Reads) -> None:
    content = 'text,n\na,1\n"never ends,2\nb,3\nc,4,5\nd\n"e" f,6\ng,7\n'
    records = reads("a.csv", content)
    assert [getattr(record, "text", None) for record in records] == ["a", None, "b", None, None, None, "g"]
    details = [record.detail for record in records if isinstance(record, Rejected)]
    assert details[0].startswith("at byte 11, line 3: ")
    assert details[1:3] == [
        "at byte 29, line 5: it has 3 cells in place of 2",
        "at byte 35, line 6: it has 1 cells in place of 2",
    ]
    assert {record.reason for record in records if isinstance(record, Rejected)} == {"broken row"}


def test_two_quotes_that_stand_wrong_do_not_join_rows(reads: Reads) -> None:
    content = 'text,n\n"one,1\ntwo,2\n"three",3\nfour,4\n'
    records = reads("a.csv", content)
    assert [getattr(record, "text", None) for record in records] == [None, "two", "three", "four"]


def test_bytes_that_are_no_text(reads: Reads) -> None:
    content = "text,n\n分久必合合久必分,1\n".encode() + b"\xff,2\na\0b,3\nlast,4\n"
    records = reads("a.csv", content)
    assert [getattr(record, "reason", None) for record in records] == [None, "not UTF-8", "binary", None]
    (chinese,) = reads("a.csv", "text,n\n分久必合合久必分,1\n".encode("gb18030"))
    assert chinese == Raw(1, "分久必合合久必分", {"n": "1", "encoding": "gb18030"})


def test_long_rows_are_passed_over(reads: Reads) -> None:
    content = "text\n" + "x" * 100_000 + "\nshort\n"
    assert [getattr(record, "reason", None) for record in reads("a.csv", content, record_bytes=1000)] == [
        "too long",
        None,
    ]
    many_lines = 'text\n"' + "line\n" * 20_000 + "end\n"
    records = reads("a.csv", many_lines)
    assert isinstance(records[0], Rejected) and len(records) == 20_001
    assert isinstance(reads("a.csv", many_lines + '"\n')[0], Rejected)
