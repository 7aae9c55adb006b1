"""What leads from a shard back to its files: hashes, counts, offsets; the same however the work was divided."""

from __future__ import annotations

import gzip
import hashlib
import itertools
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from danlu.clean.lineage import read_lineage, read_portions
from danlu.clean.portions import Portion
from danlu.clean.stage import Clean
from danlu.errors import InputError
from danlu.recipe import Recipe, build
from danlu.runs import Job
from danlu.text.document import read_documents

FILES = ("lineage.json", "lineage.jsonl", "data_card.md")


def clean(out: Path, **section: Any) -> Path:
    stage = build(Clean, section, key="clean")
    out.mkdir(exist_ok=True)
    stage.run(Job(Recipe("test", out, 1, {"clean": stage}), {}, out))
    return out


def sources(folder: Path) -> list[dict[str, Any]]:
    """Two sources: a file of lines that is cut into parts, and small ones, one of them packed."""
    (folder / "web").mkdir(parents=True)
    lines = [json.dumps({"text": f"Line {number % 30} says something."}) for number in range(40)]
    lines += ['{"text": ""}', "no json"]
    (folder / "web/a.jsonl").write_text("\n".join(lines))
    (folder / "books").mkdir()
    (folder / "books/b.txt").write_text("First of all.\nLine 3 says something.\n\n \nLast.\n")
    (folder / "books/c.jsonl.gz").write_bytes(gzip.compress(b'{"text": "Packed."}\n{"text": "Two."}\n'))
    books = {"path": str(folder / "books"), "license": "CC-BY-4.0", "title": "Books", "origin": "a shelf"}
    return [
        {"path": str(folder / "web"), "language": "en"},
        {**books, "documents": "lines", "language": "en"},
    ]


@pytest.fixture
def small_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("danlu.clean.stage.PORTION_BYTES", 400)


def test_it_is_the_same_for_any_number_of_processes_and_after_a_kill(
    tmp_path: Path, small_portions: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = sources(tmp_path / "source")
    one, two = (clean(tmp_path / str(workers), sources=given, workers=workers) for workers in (1, 2))
    records = Portion.records

    def killed(portion: Portion) -> Any:
        yield from itertools.islice(records(portion), 2 if portion.number == 2 else None)
        if portion.number == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Portion, "records", killed)
        with pytest.raises(KeyboardInterrupt):
            clean(tmp_path / "killed", sources=given, workers=1)
    again = clean(tmp_path / "killed", sources=given, workers=1)
    for name in FILES:
        assert (one / name).read_bytes() == (two / name).read_bytes() == (again / name).read_bytes(), name


def test_each_shard_knows_its_files_by_hash(tmp_path: Path, small_portions: None) -> None:
    out = clean(tmp_path / "out", sources=sources(tmp_path / "source"), workers=1)
    lines = list(read_portions(out))
    parts = [file for line in lines for file in line.files if file.name == "a.jsonl"]
    content = (tmp_path / "source/web/a.jsonl").read_bytes()
    assert len(parts) > 2 and sum(part.bytes or 0 for part in parts) == len(content)
    for part in parts:
        read = content[part.start : part.start + (part.bytes or 0)]
        assert part.sha256 == hashlib.sha256(read).hexdigest()
        assert part.first == content[: part.start].count(b"\n") and part.records == len(read.splitlines())
    (packed,) = (file for line in lines for file in line.files if file.name == "c.jsonl.gz")
    stored = (tmp_path / "source/books/c.jsonl.gz").read_bytes()
    assert (packed.bytes, packed.sha256) == (len(stored), hashlib.sha256(stored).hexdigest())
    assert {line.shard for line in lines} - {None} == {path.name for path in out.glob("documents-*")}


def test_counts_of_portions_and_sources_add_up(tmp_path: Path, small_portions: None) -> None:
    out = clean(tmp_path / "out", sources=sources(tmp_path / "source"), workers=1)
    drops, lines, known = json.loads((out / "drops.json").read_text()), list(read_portions(out)), read_lineage(out)
    for rows in (
        [(line.documents_in, line.kept, line.dropped, line.quarantined) for line in lines],
        [(each["documents_in"], each["kept"], sum(each["dropped"].values()), sum(each["quarantined"].values()))
         for each in known["sources"]],
    ):  # fmt: skip
        totals = tuple(map(sum, zip(*rows, strict=True)))
        assert totals == (drops["in"], drops["kept"], sum(drops["dropped"].values()), 1)
        assert totals[0] == sum(totals[1:])
    for name in ("dropped", "quarantine"):
        content = (out / f"{name}.jsonl").read_bytes()
        places = [getattr(line, f"{name}_at") for line in lines]
        assert b"".join(content[begin:end] for begin, end in places) == content
    books = known["sources"][1]
    assert (books["title"], books["license"], books["origin"], books["files"]) == ("Books", "CC-BY-4.0", "a shelf", 2)


def test_every_kept_and_dropped_document_leads_to_its_bytes(tmp_path: Path, small_portions: None) -> None:
    out = clean(tmp_path / "out", sources=sources(tmp_path / "source"), workers=1)
    dropped = [json.loads(line) for line in (out / "dropped.jsonl").read_text().splitlines()]
    found = {document.id: int(document.meta["offset"]) for document in read_documents(out)}
    assert {each["reason"] for each in dropped} == {"exact duplicate", "empty"}
    assert next(each for each in dropped if each["reason"] == "empty")["rule"] == 0
    found |= {each["id"]: each["offset"] for each in dropped}
    unpacked = {
        "a.jsonl": (tmp_path / "source/web/a.jsonl").read_bytes(),
        "b.txt": (tmp_path / "source/books/b.txt").read_bytes(),
        "c.jsonl.gz": gzip.decompress((tmp_path / "source/books/c.jsonl.gz").read_bytes()),
    }
    assert len(found) == 41 + 3 + 2
    for identity, offset in found.items():
        name, _, number = identity.rpartition("#")
        lines = unpacked[name].split(b"\n")
        assert unpacked[name][offset:].split(b"\n")[0] == lines[int(number.split(".")[0])]


def test_row_groups_of_parquet_are_hashed_as_they_stand(tmp_path: Path, small_portions: None) -> None:
    table = pyarrow.table({"text": [f"Row {number} says something." for number in range(60)]})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet", row_group_size=20, compression="none")
    out = clean(tmp_path / "out", sources=[{"path": str(tmp_path / "a.parquet"), "language": "en"}], workers=1)
    parts = [line.files[0] for line in read_portions(out)]
    assert [(part.part, part.first, part.records) for part in parts] == [(True, 20 * each, 20) for each in range(3)]
    content = (tmp_path / "a.parquet").read_bytes()
    for part in parts:
        read = content[part.start : part.start + (part.bytes or 0)]
        assert part.sha256 == hashlib.sha256(read).hexdigest()
        assert b"Row %d says something." % part.first in read and b"Row %d says" % (part.first + 20) not in read


def test_it_says_what_decided(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Something.")
    (tmp_path / "words.txt").write_text("nothing\n")
    rules = [{"use": "bad_words", "lists": {"en": str(tmp_path / "words.txt")}}]
    out = clean(tmp_path / "out", sources=str(tmp_path / "a.txt"), rules=rules, workers=1)
    known = read_lineage(out)
    assert known["packages"]["ftfy"] == version("ftfy") and known["packages"]["py3langid"] == version("py3langid")
    assert known["settings"]["normalise"]["form"] == "NFC" and known["settings"]["rules"][0]["use"] == "bad_words"
    assert "workers" not in known["settings"]
    digest = hashlib.sha256((tmp_path / "words.txt").read_bytes()).hexdigest()
    assert known["rule_files"] == [{"path": str(tmp_path / "words.txt"), "sha256": digest}]


def test_a_folder_without_it_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"lineage.json is missing or damaged; run 'danlu clean'"):
        read_lineage(tmp_path)
    with pytest.raises(InputError, match=r"lineage.jsonl is missing; run 'danlu clean'"):
        list(read_portions(tmp_path))
    (tmp_path / "lineage.jsonl").write_text('{"portion": 0}\n')
    with pytest.raises(InputError, match="is damaged at line 1"):
        list(read_portions(tmp_path))
