"""A damaged text through ``clean``: what is kept, what is counted, and what leads back to the damage."""

from __future__ import annotations

import json
from pathlib import Path

from cleaning import clean

from danlu.text.document import read_documents
from danlu.trace.fates import Cleaned
from danlu.trace.walk import walk

LINES = [f"第{number}回，话说天下大势，分久必合，合久必分。\n" for number in range(200)]


def write_novels(folder: Path) -> dict[str, int]:
    """Novels of which two have a damaged line; where that line begins in each."""
    folder.mkdir()
    places = {}
    for name, encoding, bad in (
        ("gb.txt", "gb18030", b"\xff"),
        ("utf8.txt", "utf-8", b"\0"),
        ("whole.txt", "utf-8", b""),
    ):
        lines = [line.encode(encoding) for line in LINES]
        places[name] = len(b"".join(lines[:120]))
        lines[120] = lines[120][:4] + bad + lines[120][4:]
        (folder / name).write_bytes(b"".join(lines))
    return places


def test_a_damaged_line_is_counted_and_found(tmp_path: Path) -> None:
    places = write_novels(tmp_path / "novels")
    outs = [tmp_path / "one", tmp_path / "two"]
    for workers, out in enumerate(outs, start=1):
        figures = clean(out, sources=str(tmp_path / "novels"), duplicates=[], workers=workers)
        assert (figures["documents_in"], figures["documents_kept"], figures["documents_quarantined"]) == (5, 3, 2)
    names = ("documents-00000.jsonl", "quarantine.jsonl", "counts.json", "lineage.jsonl")
    assert all((outs[0] / name).read_bytes() == (outs[1] / name).read_bytes() for name in names)
    texts = {document.id: document for document in read_documents(outs[0])}
    assert texts["whole.txt#0"].text.splitlines() == [line.strip() for line in LINES]
    for name, reason in (("gb.txt", "not in its encoding"), ("utf8.txt", "binary")):
        document = texts[f"{name}#0"]
        assert document.text == texts["whole.txt#0"].text.replace(LINES[120], "")
        assert document.meta["lost_parts"] == "1"
        told = walk(Cleaned(outs[0]), f"{name}#1")
        assert told["clean"]["became"] == "quarantined" and told["clean"]["reason"] == reason
        assert told["source"]["file"] == str(tmp_path / "novels" / name)
        assert told["source"]["offset"] == places[name] and told["source"]["state"] == "unchanged"
        content = (tmp_path / "novels" / name).read_bytes()
        assert bytes.fromhex(told["source"]["raw_hex"]) == content[places[name] :][:400]
    lines = [json.loads(line) for line in (outs[0] / "quarantine.jsonl").read_text().splitlines()]
    assert [(line["record"], line["offset"]) for line in lines] == [(1, places["gb.txt"]), (1, places["utf8.txt"])]
