"""Lists of JSON as a stream, and lines of JSON in other encodings than UTF-8."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.readers.reading import read
from danlu.readers.record import LocalFile, Raw, Rejected, Wanted

Reads = Callable[..., list[Raw | Rejected]]
ROWS = [{"text": "话说天下大势，分久必合，合久必分。"}, {"text": "周末七国分争，并入于秦。", "title": "三国"}]
values = st.recursive(st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(), st.lists, max_leaves=5)


@pytest.mark.parametrize("encoding", ["gb18030", "utf-16", "utf-16-be", "utf-8-sig"])
def test_lines_and_lists_in_any_encoding(reads: Reads, encoding: str) -> None:
    said = {"gb18030": "gb18030", "utf-16": "utf-16-le", "utf-16-be": "utf-16-be"}.get(encoding)
    fields = {"encoding": said} if said else {}
    expected = [Raw(0, ROWS[0]["text"], fields), Raw(1, ROWS[1]["text"], {"title": "三国", **fields})]
    lines = "\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS)
    assert reads("a.jsonl", lines.encode(encoding)) == expected
    assert reads("a.json", json.dumps(ROWS, ensure_ascii=False).encode(encoding)) == expected


@given(st.lists(st.fixed_dictionaries({"text": st.text(), "other": values})), st.sampled_from([None, 0, 1, 4]))
def test_a_list_comes_back(tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]], indent: int) -> None:
    path = tmp_path_factory.mktemp("json") / "a.json"
    path.write_text(json.dumps(rows, indent=indent))
    records = list(read(LocalFile(path), Wanted()))
    for record, row in zip(records, rows, strict=True):
        lone = any("\ud800" <= letter <= "\udfff" for letter in json.dumps(row, ensure_ascii=False))
        assert record.reason == "not Unicode" if lone else record.text == row["text"]
        assert path.read_bytes()[record.offset :].startswith(b"{")


def test_a_long_list_is_read_in_pieces(tmp_path: Path) -> None:
    rows = [{"text": f"{number} " + "长" * (number % 700)} for number in range(4000)]
    (tmp_path / "a.json").write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    assert [record.text for record in read(LocalFile(tmp_path / "a.json"), Wanted())] == [row["text"] for row in rows]


@pytest.mark.parametrize(
    ("content", "reasons"),
    [
        ("", []),
        ("[]", []),
        (' [ {"text": "a"} ] ', [None]),
        ('{"text": "a"}', [None]),
        ('{"text": "a"}\n{"text": "b"}', [None, None]),
        ('[{"text": "a"}, 3, null, "x", {"body": "y"}, {"text": "b"}]', [
            None, "not a JSON object", "not a JSON object", "not a JSON object", "no field 'text'", None
        ]),
        ('[{"text": "a"}', [None, "broken JSON"]),
        ('[{"text": "a"}, ', [None, "broken JSON"]),
        ('[{"text": "a"}, {"text": "b', [None, "broken JSON"]),
        ('[{"text": "a"} {"text": "b"}]', [None, "broken JSON"]),
        ('[{"text": "a"},]', [None, "broken JSON"]),
        ("[" * 100_000, ["broken JSON"]),
        ("nonsense", ["broken JSON"]),
        ('[{"text": NaN}, {"text": "a", "n": ' + "9" * 4000 + "}]", ["field 'text' is not text", None]),
        ('[{"text": "\\ud800"}, {"text": "a", "text": "b"}]', ["not Unicode", None]),
    ],
)  # fmt: skip
def test_broken_lists_lose_what_follows(reads: Reads, content: str, reasons: list[str | None]) -> None:
    assert [getattr(record, "reason", None) for record in reads("a.json", content)] == reasons


def test_bytes_that_are_no_text(reads: Reads) -> None:
    good = '[{"text": "分久必合，合久必分。"}, {"text": "'.encode()
    records = reads("a.json", good * 1 + b"\xff" + b'"}]')
    assert [getattr(record, "reason", None) for record in records][-1] in ("not UTF-8", "unknown encoding")
    assert [record.reason for record in reads("a.json", b"\x7fELF\0\0")] == ["binary"]
    too_long, good_one = reads("a.json", '[{"text": "' + "x" * 5000 + '"}, {"text": "b"}]', record_bytes=100)
    assert too_long.reason == "too long" and good_one == Raw(1, "b")
    records = reads("a.json", '[{"text": "' + "x" * 5_000_000 + '"}, {"text": "b"}]', record_bytes=100)
    assert [record.reason for record in records] == ["too long"]


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv"])
def test_fields_that_are_called_as_those_of_readers_say_nothing_of_the_file(reads: Reads, name: str) -> None:
    row = {"text": "分久必合，合久必分。", "encoding": "x-user", "lost_parts": "7", "title": "a"}
    line = json.dumps(row, ensure_ascii=False) if name != "a.csv" else ",".join(row) + "\n" + ",".join(row.values())
    assert [record.fields for record in reads(name, line)] == [{"title": "a"}]
    assert [record.fields for record in reads(name, line.encode("gb18030"))] == [{"title": "a", "encoding": "gb18030"}]


def test_huge_numbers_in_a_line(reads: Reads) -> None:
    (record,) = reads("a.jsonl", '{"text": "a", "n": ' + "9" * 10_000 + "}")
    assert isinstance(record, Rejected) and record.reason == "broken JSON"  # Python's limit for digits
    assert reads("a.jsonl", '{"text": "a", "n": ' + "9" * 1000 + "}") == [Raw(0, "a")]
    assert reads("a.jsonl", '{"text": "a", "text": "b", "n": -1e999, "m": NaN}') == [Raw(0, "b")]


@given(st.dictionaries(st.sampled_from(["text", "body", "a"]), values | st.just("\ud800")), st.binary(max_size=2))
def test_the_fast_way_and_the_other_read_alike(
    tmp_path_factory: pytest.TempPathFactory, row: dict[str, Any], odd: bytes
) -> None:
    path = tmp_path_factory.mktemp("jsonl") / "a.jsonl"
    for ensure_ascii in (True, False):
        line = json.dumps(row, ensure_ascii=ensure_ascii).encode(errors="replace")
        path.write_bytes(line + odd + b"\n" + line)
        records = list(read(LocalFile(path), Wanted()))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("danlu.readers.json_files._fast", lambda line, text_field: None)
            assert list(read(LocalFile(path), Wanted())) == records


def test_a_number_that_two_pieces_hold_is_one(reads: Reads, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("danlu.readers.json_files._PIECE", 5)
    records = reads("a.json", '[123456789012345, {"text": "a"}, 1]')
    assert [getattr(record, "reason", None) for record in records] == ["not a JSON object", None, "not a JSON object"]
