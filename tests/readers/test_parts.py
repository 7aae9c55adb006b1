"""A file read in parts gives what it gives read in one."""

from __future__ import annotations

import pickle
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from danlu.readers.parts import cut_content
from danlu.readers.record import LocalFile, Raw, Rejected, Wanted
from danlu.readers.row_groups import RowGroups
from danlu.readers.sources import Source, SourceFile
from danlu.text.cuts import Blocks, Cut, Lines, Paragraphs

LINES = [
    b"", b" ", b"ascii\r", b'{"text": "a"}', '{"text": "合久必分"}'.encode(), "话说天下大势".encode("gb18030"), b"\xff",
    b"x" * 40, "\u3000".encode(), "été".encode("cp1252"), b"a\0b",
]  # fmt: skip


def describe(file: SourceFile) -> list[object]:
    return [(record, record.offset) for record in file.records()]


@pytest.mark.parametrize(
    ("name", "cut"), [("a.jsonl", None), ("a.txt", Lines()), ("a.txt", Paragraphs()), ("a.txt", Blocks())]
)
@given(lines=st.lists(st.sampled_from(LINES), max_size=20), size=st.integers(1, 120), end=st.sampled_from([b"", b"\n"]))
@example(lines=[b"ascii"] * 9 + [LINES[5]] * 3, size=30, end=b"\n")
def test_parts_give_the_records_of_the_whole(
    tmp_path_factory: pytest.TempPathFactory, name: str, cut: Cut | None, lines: list[bytes], size: int, end: bytes
) -> None:
    path = tmp_path_factory.mktemp("parts") / name
    path.write_bytes(b"\n".join(lines) + end)
    source = Source(path=path, record_bytes=30, **({"documents": cut} if cut is not None else {}))
    file = SourceFile(name, LocalFile(path), source)
    parts = [pickle.loads(pickle.dumps(part)) for part in file.parts(size)]
    assert [each for part in parts for each in describe(part)] == describe(file)
    assert sum(part.content.size or 0 for part in parts) == path.stat().st_size
    assert all(part.path == path for part in parts)


def test_large_files_of_lines_are_cut_and_others_are_not(tmp_path: Path) -> None:
    content = b'{"text": "line"}\n' * 1000

    def count(name: str, wanted: Wanted, size: int = 1000) -> int:
        (tmp_path / name).write_bytes(content)
        return len(cut_content(LocalFile(tmp_path / name), wanted, size))

    assert count("a.jsonl", Wanted()) == 17
    assert count("a.jsonl", Wanted(), size=17_000) == 1
    assert count("a.txt", Wanted(documents=Lines())) == 17
    assert count("a.txt", Wanted()) == count("a.txt", Wanted(documents=Blocks())) == 1
    assert count("a.txt", Wanted(documents=Paragraphs())) == 1, "it has no blank line"
    assert count("a.csv", Wanted()) == count("a.jsonl.gz", Wanted()) == 1
    assert count("a.parquet", Wanted()) == 1, "it is none"
    content = content.decode().encode("utf-16")
    assert count("b.jsonl", Wanted()) == 1


def test_a_part_ends_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"one\ntwo\n\nthree\n\n\nfour")
    by_lines = cut_content(LocalFile(tmp_path / "a.txt"), Wanted(documents=Lines()), 5)
    assert [part.open().read() for part in by_lines] == [b"one\ntwo\n", b"\nthree\n", b"\n\nfour"]
    assert [part.line for part in by_lines] == [0, 2, 4]
    by_paragraphs = cut_content(LocalFile(tmp_path / "a.txt"), Wanted(documents=Paragraphs()), 5)
    assert [part.open().read() for part in by_paragraphs] == [b"one\ntwo\n\n", b"three\n\n", b"\nfour"]


@settings(max_examples=25)
@given(rows=st.integers(0, 40), group=st.integers(1, 9), size=st.integers(1, 2000))
def test_parquet_is_cut_between_row_groups(
    tmp_path_factory: pytest.TempPathFactory, rows: int, group: int, size: int
) -> None:
    path = tmp_path_factory.mktemp("parts") / "a.parquet"
    table = pyarrow.table({"text": [f"text {row}" for row in range(rows)], "title": ["x" * row for row in range(rows)]})
    pyarrow.parquet.write_table(table, path, row_group_size=group)
    file = SourceFile("a.parquet", LocalFile(path), Source(path=path))
    parts = [pickle.loads(pickle.dumps(part)) for part in file.parts(size)]
    assert [each for part in parts for each in describe(part)] == describe(file)
    assert [record.number for part in parts for record in part.records()] == list(range(rows))
    assert sum(part.content.size or 0 for part in parts) == path.stat().st_size
    assert all(part.path == path for part in parts)
    assert len(parts) <= max(1, -(-rows // group))


def test_small_row_groups_are_read_together_and_a_damaged_one_alone_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    texts = [f"{row:05d}" * 200 for row in range(100)]
    pyarrow.parquet.write_table(
        pyarrow.table({"text": texts}), path, row_group_size=10, compression="none", use_dictionary=False,
        write_page_checksum=True, write_statistics=False,
    )  # fmt: skip
    content = bytearray(path.read_bytes())
    content[content.find(b"00035" * 3)] ^= 1
    path.write_bytes(content)
    file = SourceFile("a.parquet", LocalFile(path), Source(path=path))
    parts = file.parts(35_000)
    assert [part.content.row for part in parts if isinstance(part.content, RowGroups)] == [0, 30, 60, 90]
    assert [each for part in parts for each in describe(part)] == describe(file)
    records = list(file.records())
    assert [record.number for record in records if isinstance(record, Rejected)] == [30]
    assert sum(isinstance(record, Raw) for record in records) == 90
