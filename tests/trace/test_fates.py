"""What became of a document, by its id alone."""

from __future__ import annotations

import pytest
from traced import Made

from danlu.errors import InputError
from danlu.text.document import Document, read_documents
from danlu.trace.fates import Cleaned, origins_of


def test_every_document_is_found_in_its_shard(made: Made) -> None:
    cleaned, kept = Cleaned(made.folder.stage("clean")), set()
    for document in read_documents(cleaned.folder):
        fate = cleaned.find(document.id)
        assert fate.became == "kept" and fate.text == document.text == made.texts[document.id]
        lines = (cleaned.folder / str(fate.origin.portion.shard)).read_bytes().splitlines()
        assert Document.from_line(lines[fate.line - 1]).id == document.id
        kept.add(document.id)
    assert kept == set(made.texts)
    assert len({cleaned.find(f"a.jsonl#{number}").origin.portion.shard for number in range(40)}) > 2  # it was cut


@pytest.mark.parametrize(
    ("identity", "rule", "reason", "of"),
    [
        ("a.jsonl#41", "clean.duplicates.0 (exact)", "exact duplicate", "a.jsonl#3"),
        ("short.jsonl#0", "clean.rules.1 (gopher_quality)", "gopher_quality: too few words", None),
        ("short.jsonl#1", "clean.rules.0 (empty)", "empty", None),
    ],
)
def test_what_was_dropped_names_its_rule(made: Made, identity: str, rule: str, reason: str, of: str | None) -> None:
    fate = Cleaned(made.folder.stage("clean")).find(identity)
    assert (fate.became, fate.rule, fate.reason, fate.of) == ("dropped", rule, reason, of)


def test_what_could_not_be_read_is_found_by_the_number_of_its_record(made: Made) -> None:
    fate = Cleaned(made.folder.stage("clean")).find("a.jsonl#40")
    assert (fate.became, fate.reason) == ("quarantined", "broken JSON")
    assert fate.offset == sum(len(made.records[f"a.jsonl#{number}"]) for number in range(40))


@pytest.mark.parametrize(
    ("identity", "told"),
    [
        ("a.txt", r"an id is FILE#RECORD, such as 'a.jsonl#0'$"),
        ("b.txt#2.7", r"nearest: 'b.txt#2.0', 'b.txt#[13].0', 'b.txt#[13].0'$"),
        ("a.jsonl#99", r"nearest: 'a.jsonl#41'"),
        ("a.jsnol#3", r"no file 'a.jsnol' was read; did you mean 'a.jsonl'\?$"),
        ("data/rest/g.parquet#0", r"did you mean 'g.parquet'\?$"),
        ("e.tar.gz!/in.zip!/deep/x.jsonl#0", r"nearest: 'e.tar.gz!/"),
        ("nothing of the kind#0", r"no file 'nothing of the kind' was read$"),
    ],
)
def test_unknown_ids_are_told_with_the_nearest(made: Made, identity: str, told: str) -> None:
    with pytest.raises(InputError, match=told) as error:
        Cleaned(made.folder.stage("clean")).find(identity)
    assert "\n" not in str(error.value)


def test_names_with_marks_of_their_own(made: Made) -> None:
    """A file may be called what an id of a member looks like."""
    cleaned = Cleaned(made.folder.stage("clean"))
    found = list(origins_of(cleaned.folder, "e.tar.gz!/in.zip!/deep/d.jsonl", 1))
    assert [(each.file.name, each.member) for each in found] == [("e.tar.gz", "in.zip!/deep/d.jsonl")]
