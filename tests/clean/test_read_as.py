"""Files of kinds that no reader takes: what is left out is named, and ``read_as`` takes them in."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from cleaning import clean

from danlu.errors import InputError, RecipeError
from danlu.readers.reading import read
from danlu.readers.record import Raw
from danlu.readers.sources import Source, find_files
from danlu.recipe import build
from danlu.text.cuts import Lines
from danlu.text.document import read_documents
from danlu.trace.fates import Cleaned
from danlu.trace.walk import walk


def fill(folder: Path) -> Path:
    folder.mkdir()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr("in/deep.log", "Deep in the archive.\n")
    (folder / "a.txt").write_text("A text.\n")
    (folder / "b.srt").write_text("A subtitle.\n")
    (folder / "README").write_text("No ending at all.\n")
    (folder / "c.log.gz").write_bytes(gzip.compress(b"A packed log.\n", mtime=0))
    (folder / "d.zip").write_bytes(packed.getvalue())
    (folder / "e.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\r")
    (folder / ".hidden").write_text("Not this.\n")
    return folder


def source(folder: Path, **settings: Any) -> dict[str, Any]:
    return {"path": str(folder), "language": "en", **settings}


def test_what_is_left_out_is_named_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures = clean(tmp_path / "out", sources=[source(fill(tmp_path / "source"))])
    assert (figures["files"], figures["files_ignored"]) == (2, 5)
    lines = [json.loads(line) for line in (tmp_path / "out/left_out.jsonl").read_text().splitlines()]
    unread = "of kinds that no reader takes"
    assert {line["file"]: line["why"] for line in lines} == {
        ".hidden": "hidden", "README": unread, "b.srt": unread, "c.log.gz": unread, "e.png": unread
    }  # fmt: skip
    assert "each of them in left_out.jsonl" in capsys.readouterr().out
    assert (
        "(1 hidden, 4 of kinds that no reader takes); `left_out.jsonl`" in (tmp_path / "out/data_card.md").read_text()
    )


def test_read_as_takes_them_in_and_trace_finds_them(tmp_path: Path) -> None:
    folder = fill(tmp_path / "source")
    figures = clean(tmp_path / "out", sources=[source(folder, read_as=".txt")])
    assert (figures["files_ignored"], figures["documents_quarantined"]) == (1, 1), "the picture is no text"
    texts = {document.id: document.text for document in read_documents(tmp_path / "out")}
    assert texts == {
        "README#0": "No ending at all.\n",
        "a.txt#0": "A text.\n",
        "b.srt#0": "A subtitle.\n",
        "c.log.gz#0": "A packed log.\n",
        "d.zip!/in/deep.log#0": "Deep in the archive.\n",
    }
    for identity, text in texts.items():
        assert bytes.fromhex(walk(Cleaned(tmp_path / "out"), identity)["source"]["raw_hex"]).decode() == text


def test_they_are_cut_and_read_in_parts_as_any_other(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("".join(f"line {number}\n" for number in range(900)))
    one = Source(path=tmp_path / "a.log", read_as=".txt", documents=Lines())
    (file,) = find_files([one], key="sources").files
    parts = file.parts(2000)
    assert len(parts) > 3
    records = [record for part in parts for record in part.records()]
    assert records == list(read(file.content, one.wanted())) and isinstance(records[899], Raw)


def test_other_names_of_known_kinds(tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").write_text('{"text": "one"}\n')
    (tmp_path / "b.text").write_text("two\n")
    (tmp_path / "c.xhtml").write_text("<p>three</p>")
    (tmp_path / "d.SHTML").write_text("<p>four</p>")
    clean(tmp_path / "out", sources=[source(tmp_path)])
    assert [document.text.strip() for document in read_documents(tmp_path / "out")] == ["one", "two", "three", "four"]


def test_an_ending_that_nothing_reads_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"read_as.*such as \.txt; got '\.text1'; did you mean '\.text'\?"):
        build(Source, source(tmp_path, read_as=".text1"), key="clean.sources.0")
    (tmp_path / "b.srt").write_text("A subtitle.\n")
    with pytest.raises(InputError, match=r"by its ending \(choices: .*; read_as of the source says"):
        find_files([Source(path=tmp_path / "b.srt")], key="clean.sources")
