"""Bytes to text: what Python's own writers and codecs made, and what is refused."""

from __future__ import annotations

import gzip
from pathlib import Path

import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.data.content import ending, read_text
from danlu.errors import InputError

CHINESE = "房间太小，其他的都一般。\n服务很好，下次还来！\n"


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.csv", ".csv"), ("a.CSV.gz", ".csv"), ("a.b.jsonl.zst", ".jsonl"), ("a.gz", ""), ("a", ""), ("a.txt", ".txt")],
)
def test_the_ending_is_that_of_what_is_packed(name: str, expected: str) -> None:
    assert ending(Path(name)) == expected


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1))
def test_packed_text_comes_back(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    folder = tmp_path_factory.mktemp("packed")
    content = text.encode()
    (folder / "a.txt").write_bytes(content)
    (folder / "a.txt.gz").write_bytes(gzip.compress(content))
    (folder / "a.txt.zst").write_bytes(pyarrow.compress(content, codec="zstd", asbytes=True))
    for name in ("a.txt", "a.txt.gz", "a.txt.zst"):
        assert read_text(folder / name) == (text.removeprefix("\ufeff"), "")


@pytest.mark.parametrize("name", ["utf-16", "utf-32", "utf-8-sig"])
def test_a_byte_order_mark_says_the_encoding(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.csv").write_bytes(CHINESE.encode(name))
    text, note = read_text(tmp_path / "a.csv")
    assert text == CHINESE
    assert note == ("" if name == "utf-8-sig" else f"read as {name}-le by its first bytes")


@pytest.mark.parametrize("name", ["gb18030", "gbk", "gb2312"])
def test_chinese_of_a_spreadsheet_is_recognised_and_said(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.csv").write_bytes(CHINESE.encode(name))
    assert read_text(tmp_path / "a.csv") == (CHINESE, "read as gb18030, as it is not UTF-8")


@pytest.mark.parametrize(
    ("text", "encoding", "name"),
    [
        ("a,b\ncafé,1\n", "latin-1", "cp1252"),
        ("評論,標籤\n房間太小，其他還不錯,0\n", "big5", "cp950"),
        ("a,b\n1,2\n", "utf-16-be", "utf-16-be"),
    ],
)
def test_what_is_certain_is_recognised_and_said(tmp_path: Path, text: str, encoding: str, name: str) -> None:
    (tmp_path / "a.csv").write_bytes(text.encode(encoding))
    assert read_text(tmp_path / "a.csv") == (text, f"read as {name}, as it is not UTF-8")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "a,b\nbyłaś,1\n".encode("cp1250"),
            r"line 2: it is not UTF-8: byte 0xb3; it would read .*'by³aœ,1' as cp1252.*save",
        ),
        ("a,b\nşifre için,1\n".encode("cp1254"), r"line 2: it is not UTF-8: byte 0xfe"),
        ((CHINESE * 20).encode() + b"\xe6\x88", r"line 41: .*though most of the file is"),
        (b"a\nb\0c", r"line 2: it holds a NUL.*set encoding"),
        (b"PK\x03\x04\x14\0\x06\0", r"a\.csv is no text, but packed as \.xlsx and \.zip are; save the table in it"),
    ],
)
def test_what_could_be_read_in_several_ways_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_text(tmp_path / "a.csv")
    assert "\n" not in str(caught.value)


def test_an_encoding_that_is_given_is_used(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("café".encode("cp1252"))
    assert read_text(tmp_path / "a.csv", encoding="cp1252") == ("café", "")
    with pytest.raises(InputError, match="encoding: Python knows no encoding 'latin-nine'"):
        read_text(tmp_path / "a.csv", encoding="latin-nine")
    with pytest.raises(InputError, match=r"a\.csv, line 1: it is not ascii: byte 0xe9"):
        read_text(tmp_path / "a.csv", encoding="ascii")


@pytest.mark.parametrize("name", ["a.txt.gz", "a.txt.zst"])
@pytest.mark.parametrize("damage", ["cut", "changed", "empty"])
def test_damage_in_what_packs_a_file_is_one_line(tmp_path: Path, name: str, damage: str) -> None:
    content = CHINESE.encode() * 50
    packed = gzip.compress(content) if name.endswith("gz") else pyarrow.compress(content, codec="zstd", asbytes=True)
    broken = {"cut": packed[: len(packed) // 2], "changed": b"no" + packed[2:], "empty": b""}[damage]
    (tmp_path / name).write_bytes(broken)
    with pytest.raises(InputError, match=r"a\.txt\.(gz|zst) is (damaged: |empty)"):
        read_text(tmp_path / name)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read .*: No such file"):
        read_text(tmp_path / "a.csv")
