"""What stands at the place now: the very bytes, until the file changes."""

from __future__ import annotations

from pathlib import Path

import pytest
from traced import Made, make

from danlu.trace.fates import Cleaned
from danlu.trace.places import SHOWN_BYTES, Place, look


def at(made: Made, identity: str) -> Place:
    cleaned = Cleaned(made.folder.stage("clean"))
    fate = cleaned.find(identity)
    return look(fate, cleaned.source(fate.origin.portion.source))


def test_the_bytes_of_every_record_are_those_that_were_written(made: Made) -> None:
    for identity, record in made.records.items():
        place = at(made, identity)
        assert place.state == "unchanged" and place.problem is None, identity
        assert place.raw is not None and place.raw.startswith(record[:SHOWN_BYTES]), identity


def test_a_format_without_places_is_read_to_the_record(made: Made) -> None:
    place = at(made, "g.parquet#1")
    assert (place.state, place.raw, place.record) == ("unchanged", None, made.texts["g.parquet#1"][:SHOWN_BYTES])


def test_records_that_are_no_documents_are_shown_too(made: Made) -> None:
    assert (at(made, "a.jsonl#40").raw or b"").startswith(b"no json\n")
    assert (at(made, "short.jsonl#0").raw or b"").startswith(b'{"text": "Too short."}\n')


def test_changed_and_missing_files_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a file that was cut, each part by itself: what was appended or changed elsewhere does not matter to it."""
    monkeypatch.setattr("danlu.clean.stage.PORTION_BYTES", 3000)
    own = make(tmp_path, ["clean"])
    path = own.source / "web/a.jsonl"
    content = path.read_bytes()
    last = len(content) - 5
    path.write_bytes(content[:last] + b"X" + content[last + 1 :])
    assert at(own, "a.jsonl#41").state == "changed" and at(own, "a.jsonl#0").state == "unchanged"
    path.write_bytes(content[:100])
    cut = at(own, "a.jsonl#39")
    assert cut.state == "changed" and cut.raw == b""
    gz = own.source / "rest/c.jsonl.gz"
    gz.write_bytes(gz.read_bytes() + b"\0")
    assert at(own, "c.jsonl.gz#1").state == "changed"
    (own.source / "rest/e.tar.gz").write_bytes(b"no archive")
    broken = at(own, "e.tar.gz!/f.jsonl.gz#0")
    assert broken.state == "changed" and broken.raw is None and broken.problem
    (own.source / "books/b.txt").unlink()
    gone = at(own, "b.txt#1.0")
    assert gone.state == "missing" and "b.txt is not there any more" in (gone.problem or "")
