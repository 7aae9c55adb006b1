"""Documents written are documents read."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.errors import InputError
from danlu.text.document import TARGET_START, Document, _next_line, read_documents, read_shard, shard_path

texts = st.text(max_size=200)
keys = texts.filter(lambda key: key != TARGET_START)  # which means something
documents = st.builds(Document, id=texts, text=texts, meta=st.dictionaries(keys, texts, max_size=3))


@given(st.lists(documents, min_size=1, max_size=20), st.integers(1, 5))
def test_shards_give_back_what_was_written(written: list[Document], each: int) -> None:
    """In the order of their numbers, however many digits those have."""
    with TemporaryDirectory() as name:
        for number, start in enumerate(range(0, len(written), each), start=99_998):
            lines = [document.line() for document in written[start : start + each]]
            shard_path(Path(name), number).write_bytes(b"".join(lines))
        assert list(read_documents(Path(name))) == written


def test_a_folder_without_shards_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no documents in .*: it holds no documents-\*\.jsonl"):
        list(read_documents(tmp_path))


def test_a_shard_that_the_stage_did_not_write_is_told(tmp_path: Path) -> None:
    """Its documents would be read, and nothing would say where they are from."""
    for number in range(2):
        shard_path(tmp_path, number).write_bytes(Document("a", "text").line())
    (tmp_path / "done.json").write_text(json.dumps({"outputs": {"documents-00000.jsonl": "ab"}}))
    with pytest.raises(InputError, match=r"documents-00001\.jsonl is not listed in done\.json beside it"):
        list(read_documents(tmp_path))


@pytest.mark.parametrize("damage", [b'{"id": "b", "te', b'{"id": "b"}\n', b"[]\n", b"\xff\n"])
def test_a_damaged_shard_is_named_with_its_line(tmp_path: Path, damage: bytes) -> None:
    shard = shard_path(tmp_path, 0)
    shard.write_bytes(Document("a", "text").line() + damage)
    with pytest.raises(InputError, match=r"documents-00000\.jsonl is damaged at line 2"):
        list(read_documents(tmp_path))


@pytest.mark.parametrize(
    ("field", "value", "line"),
    [("text", None, "text is NoneType, not str"), ("text", 5, "text is int"), ("text", ["a"], "text is list"),
     ("id", {}, "id is dict"), ("meta", None, "meta is NoneType, not dict"), ("meta", "x", "meta is str"),
     ("meta", {"language": 5}, "meta.language is int, not str"), ("meta", {"source": None}, "meta.source is NoneType"),
     *(("meta", {TARGET_START: start}, "target_start is no place") for start in ("", "b", "0", "-1", "1", "9" * 9999))],
)  # fmt: skip
def test_a_line_with_fields_of_other_kinds_is_damage(tmp_path: Path, field: str, value: object, line: str) -> None:
    """Else it would be found where its text is used, or not at all."""
    record = {"id": "a", "text": "a\nb", "meta": {TARGET_START: "2"}}
    shard = shard_path(tmp_path, 0)
    shard.write_text(f"{json.dumps(record)}\n{json.dumps({**record, field: value})}\n")
    with pytest.raises(InputError, match=rf"documents-00000\.jsonl is damaged at line 2: .*{line}"):
        list(read_documents(tmp_path))


@given(st.lists(documents, max_size=8), st.lists(st.integers(0, 3000), max_size=4), st.data())
def test_cuts_anywhere_part_the_documents_of_a_shard(
    written: list[Document], cuts: list[int], data: st.DataObject
) -> None:
    """A document is read with the bytes that its line begins in, wherever that line ends."""
    with TemporaryDirectory() as name:
        shard, lines = shard_path(Path(name), 0), [document.line() for document in written]
        shard.write_bytes(b"".join(lines))
        places = [sum(map(len, lines[:number])) for number in range(len(lines))]
        near = data.draw(st.lists(st.sampled_from([at + by for at in places for by in (0, 1)]))) if places else []
        borders = sorted({0, *cuts, *near, shard.stat().st_size})
        for start, end in pairwise(borders):
            begin = [document for document, place in zip(written, places, strict=True) if start <= place < end]
            assert list(read_shard(shard, start, end)) == begin
        assert list(read_shard(shard, borders[-1])) == []


def test_a_stretch_within_a_long_line_is_not_read_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("danlu.text.document._PIECE", 10)
    shard = shard_path(tmp_path, 0)
    shard.write_bytes(Document("a", "x" * 1000).line() + b"no line\n")
    assert list(read_shard(shard, 100, 200)) == []
    with shard.open("rb") as file:
        assert 200 <= _next_line(file, 100, 200) < 210
    with pytest.raises(InputError, match="damaged at line 2: "):
        list(read_shard(shard, 100))
