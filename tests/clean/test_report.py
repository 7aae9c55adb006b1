"""The report: its figures are those of the text, hostile text stays text, and what is private is not shown."""

from __future__ import annotations

import json
import re
import tarfile
import zipfile
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cleaning import clean
from hypothesis import given
from hypothesis import strategies as st

from danlu.clean.counts import Counts, Size
from danlu.clean.groups import Groups
from danlu.clean.report import FOLDED, amount, report_page, safe_text, share, text_of
from danlu.clean.samples import KEPT, Example, read_examples
from danlu.clean.source_parts import SourcePart
from danlu.clean.tally import Tally
from danlu.text.document import read_documents

EVIL = "</p></details><script>alert(1)</script><img src=x onerror=alert(2)>&amp; \u202egnitrever\u2066 \x1b[31m \ud800"
VOID = {"meta", "link", "path", "rect", "wbr", "br"}


class Elements(HTMLParser):
    """Counts elements, and holds that each is closed where it should be."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.names: Counter[str] = Counter()
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names[tag] += 1
        self.attributes |= {name for name, _ in attrs}
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names[tag] += 1

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def counted(out: Path, **section: Any) -> dict[str, Any]:
    """Counts of a cleaning."""
    clean(out, **section)
    counts: dict[str, Any] = json.loads((out / "counts.json").read_text(encoding="utf-8"))
    return counts


def jsonl(path: Path, *texts: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


def test_counts_are_those_of_the_text(tmp_path: Path) -> None:
    """Beside what can be counted by hand: two sources, one of two files, with drops, copies, cuts and damage."""
    footer = "All rights reserved by the authors of this page."
    jsonl(tmp_path / "one/a.jsonl", "first", f"second\n{footer}", " ", "first", "first")
    jsonl(tmp_path / "one/b.jsonl", f"third\n{footer}", "话说天下大势")
    (tmp_path / "two.jsonl").write_text('{"text": "first"}\nno json\n{"text": "话说天下大势"}\n')
    sources = [{"path": str(tmp_path / name), "language": "en"} for name in ("one", "two.jsonl")]
    counts = counted(tmp_path / "out", sources=sources, duplicates=["exact", "lines"])
    assert {name: counts[name] for name in ("records", "in", "kept", "dropped", "quarantined")} == {
        "records": 10,
        "in": 10,
        "kept": 4,
        "dropped": {"empty": 1, "exact duplicate": 4},
        "quarantined": {"broken JSON": 1},
    }
    cut = len(footer)
    read = len("first") * 4 + len("second\n" + footer) + 1 + len("third\n" + footer) + 6 * 2
    kept = len("first") + len("second\n" + footer) + len("third\n") + 6
    assert counts["characters"] == {
        "in": read,
        "kept": kept,
        "dropped": {"empty": 1, "exact duplicate": 3 * len("first") + 6},
        "cut": cut,
    }
    assert counts["bytes"] == {"in": read + 24, "kept": kept + 12}
    assert counts["duplicates"] == {"exact duplicate": {"documents": 4, "groups": 2}}
    assert counts["languages"]["en"]["documents"] == {"in": 9, "kept": 4}
    assert counts["languages"]["en"]["lengths"] == {
        "kept": {"5": 1, "6": 2, "50": 1},
        "dropped": {"1": 1, "5": 3, "6": 1},
    }
    parts = [(Path(each["source"]).name, each["part"], each["files"], each["in"]) for each in counts["sources"]]
    assert parts == [("one", "a.jsonl", 1, 5), ("one", "b.jsonl", 1, 2), ("two.jsonl", "", 1, 3)]
    assert [each["kept"] for each in counts["sources"]] == [2, 2, 0]


def test_examples_are_documents_as_they_are_written_and_copies_show_what_they_repeat(tmp_path: Path) -> None:
    footer = "All rights reserved by the authors of this page."
    jsonl(tmp_path / "a.jsonl", "one", f"{footer}\nlong " + "x" * 5000, f"{footer}\nsecond", "one", "two", "one")
    clean(
        tmp_path / "out", sources=[{"path": str(tmp_path / "a.jsonl"), "language": "en"}], duplicates=["exact", "lines"]
    )
    kept = {document.id: document.text for document in read_documents(tmp_path / "out")}
    shown = list(read_examples(tmp_path / "out/examples_kept.jsonl"))
    assert {each.id: (each.text, each.characters) for each in shown} == {
        id: (text[:4000], len(text)) for id, text in kept.items()
    }
    assert kept["a.jsonl#2"] == "second"
    copies = list(read_examples(tmp_path / "out/examples.jsonl"))
    assert [(each.of, each.of_text, each.of_characters) for each in copies] == [("a.jsonl#0", "one", 3)] * 2


def test_the_page_says_what_the_counts_say_and_needs_no_other_file(tmp_path: Path) -> None:
    jsonl(tmp_path / "one/a.jsonl", *(f"Document {number} of them." for number in range(1234)), "", "x" * 40_000)
    clean(tmp_path / "out", sources=[{"path": str(tmp_path / "one"), "language": "en"}])
    page = (tmp_path / "out/report.html").read_text(encoding="utf-8")
    elements = Elements(page)
    assert re.sub(r"\s", "", elements.text).count("1,236camein=1,235kept+1dropped+0quarantined") == 1
    assert not elements.names["script"] and not re.search(r"https?://(?!www\.w3\.org/2000/svg)|url\(|@import", page)
    assert "rules:" in elements.text and "workers" not in elements.text


@pytest.mark.parametrize(("files", "folded"), [(30, False), (31, True)])
def test_many_files_are_folded_away(tmp_path: Path, files: int, folded: bool) -> None:
    for number in range(files):
        jsonl(tmp_path / f"one/{number:02d}.jsonl", f"Document {number}.", "")
    clean(tmp_path / "out", sources=[{"path": str(tmp_path / "one"), "language": "en"}])
    page = (tmp_path / "out/report.html").read_text(encoding="utf-8")
    elements = Elements(page)
    assert elements.text.count("17.jsonl") == 2  # once a table
    at_once = re.sub("<details.*?</details>", "", page, flags=re.DOTALL)
    assert ("17.jsonl" in Elements(at_once).text) != folded
    assert elements.text.count("Files and folders of each source (31)") == 2 * folded


def test_a_language_of_few_long_documents_has_its_lengths_drawn(tmp_path: Path) -> None:
    rows = [{"text": f"short {number}", "language": "en"} for number in range(300)]
    rows += [{"text": "lang " * 200, "language": "de"}, {"text": "kort", "language": "nl"}]
    for language in ("en", "de", "nl"):
        lines = (json.dumps({"text": row["text"]}) + "\n" for row in rows if row["language"] == language)
        (tmp_path / f"{language}.jsonl").write_text("".join(lines))
    sources = [{"path": str(tmp_path / f"{language}.jsonl"), "language": language} for language in ("en", "de", "nl")]
    clean(tmp_path / "out", sources=sources)
    page = (tmp_path / "out/report.html").read_text(encoding="utf-8")
    assert re.findall(r"<figcaption>(.*?)</figcaption>", page) == ["All documents: 302", "en: 300", "de: 1"]


def test_a_record_without_a_document_is_not_lost(tmp_path: Path) -> None:
    jsonl(tmp_path / "a.jsonl", "one\n\ntwo", " \n", "three")
    source = {"path": str(tmp_path / "a.jsonl"), "language": "en", "documents": "lines"}
    counts = counted(tmp_path / "out", sources=[source], rules=[])
    assert (counts["records"], counts["in"], counts["kept"], counts["dropped"]) == (3, 4, 3, {"empty": 1})
    line = {"id": "a.jsonl#1", "offset": len(json.dumps({"text": "one\n\ntwo"})) + 1, "reason": "empty"}
    assert json.loads((tmp_path / "out/dropped.jsonl").read_text()) == line


def test_what_a_later_rule_would_mask_is_not_shown(tmp_path: Path) -> None:
    """Neither of what an earlier rule drops, nor of copies, nor of what is kept."""
    many = "Please write to li@example.org about the house by the sea, and they will tell you all of it. " * 12
    jsonl(tmp_path / "a.jsonl", "Write to li@example.org.", many, many, "Call li@example.net now.")
    rules = ["gopher_quality", {"use": "private", "by_kind": {"secret": "drop"}}]
    source = {"path": str(tmp_path / "a.jsonl"), "language": "en"}
    counts = counted(tmp_path / "out", sources=[source], rules=rules)
    assert counts["kept"] == 1 and set(counts["dropped"]) == {"gopher_quality: too few words", "exact duplicate"}
    written = "".join(path.read_text(encoding="utf-8") for path in sorted((tmp_path / "out").iterdir()))
    assert "li@" not in written and "Write to [EMAIL]." in written
    jsonl(tmp_path / "b.jsonl", "The key is AKIAIOSFODNN7EXAMPLE here.", many)
    clean(tmp_path / "two", sources=[{"path": str(tmp_path / "b.jsonl"), "language": "en"}], rules=rules)
    page = (tmp_path / "two/report.html").read_text(encoding="utf-8")
    assert "AKIA" not in page and "Not shown: it holds private data." in page


def test_fields_and_names_that_are_private_are_nowhere_but_in_ids(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A record's fields are hidden as its text is; its id is the name of the user's file, and the way back to it."""
    folder = tmp_path / "mail"
    (folder / "li@qq.com").mkdir(parents=True)
    fields = {"author": "wang@example.org", "private": "wang@example.org", "nested": {"a": "wang@example.org"}}
    record = json.dumps({"text": "A letter about the sea.", **fields})
    header = json.dumps({"body": "no text", "wang@example.org": ""})
    (folder / "li@qq.com/1.jsonl").write_text(f"{record}\n{record}\n{header}\n")
    (folder / "other.txt").write_text("Another letter.")
    (folder / "li@qq.com.bak").write_text("What is left out has a name, too.")
    source = {"path": str(folder), "language": "en"}
    counts = counted(tmp_path / "out", sources=[source], rules=["private"])
    assert counts["in"] == counts["kept"] + sum(counts["dropped"].values()) + sum(counts["quarantined"].values()) == 4
    _, document = read_documents(tmp_path / "out")
    assert document.meta["author"] == "[EMAIL]" and document.meta["private"] == "email 1"
    for path in sorted((tmp_path / "out").iterdir()):
        assert "wang@" not in path.read_text(encoding="utf-8"), path.name
    for name in ("report.html", "examples.jsonl", "examples_kept.jsonl", "counts.json", "data_card.md"):
        assert "li@" not in (tmp_path / "out" / name).read_text(encoding="utf-8"), name
    (example,) = read_examples(tmp_path / "out/examples.jsonl")
    assert (example.id, example.of) == ("[EMAIL]/1.jsonl#1", "[EMAIL]/1.jsonl#0")
    assert "[EMAIL]/1.jsonl" in Elements((tmp_path / "out/report.html").read_text(encoding="utf-8")).text
    assert document.id == "li@qq.com/1.jsonl#0" and document.meta["source"] == "li@qq.com/1.jsonl"
    assert "clean: private data stands in names of files (2 of 3), which ids" in capsys.readouterr().out


def test_names_of_members_of_archives_that_are_private_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("li@qq.com/1.txt", "li@qq.com/2.txt", "other.txt"):
            archive.writestr(name, "A letter about the sea.")
    with tarfile.open(tmp_path / "b.tar", "w") as archive:
        (tmp_path / "x").write_text("Another letter.")
        archive.add(tmp_path / "x", "13812345678.txt")
    sources = [{"path": str(tmp_path / name), "language": "en"} for name in ("a.zip", "b.tar")]
    clean(tmp_path / "out", sources=sources, rules=["private"], workers=1)
    said = capsys.readouterr().out
    assert said.count("private data stands in") == 1
    assert "clean: private data stands in names of members of archives (3), which ids" in said
    assert "li@" not in (tmp_path / "out/report.html").read_text(encoding="utf-8")


def test_a_source_whose_name_is_private_is_hidden_where_people_read(tmp_path: Path) -> None:
    path = tmp_path / "li@qq.com.txt"
    path.write_text("A letter about the sea.")
    clean(tmp_path / "out", sources=[{"path": str(path), "language": "en"}], rules=["private"])
    for name in ("report.html", "counts.json", "data_card.md"):
        written = (tmp_path / "out" / name).read_text(encoding="utf-8")
        assert "li@" not in written and "EMAIL" in written, name


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    (tmp_path / "marks").mkdir()
    tally = Tally([SourcePart(EVIL, "", 1), SourcePart(EVIL, EVIL, 1)], Groups(tmp_path / "marks", 3))
    tally.groups.add(EVIL, np.array([1]))
    counts = Counts(records=2, documents_in=2)
    for reason in (EVIL, "copies"):
        counts.drop(reason, "en", Size(10_000, 10_000))
    tally.add({0: counts, 1: Counts(records=1, documents_in=1, quarantined=Counter({EVIL: 1}))})
    text = EVIL * 30
    tally.dropped.add(Example(EVIL, "1", EVIL, "en", text, 10_000))
    tally.dropped.add(Example("copies", "1", EVIL, "en", "x" * 4000, 10_000, EVIL, text, 4000))
    tally.kept.add(Example(KEPT, "1", EVIL, "en", text, 10_000))
    page = report_page(tally, title=EVIL, settings={"sources": [EVIL]}).decode("utf-8", errors="strict")
    elements = Elements(page)
    assert not elements.names.keys() & {"script", "img", "iframe"} and "onerror" not in elements.attributes
    assert not re.search("[\u202a-\u202e\u2066-\u2069\ud800-\udfff\x00-\x08\x0b-\x1f\x7f-\x9f]", page)
    assert "[U+202E]gnitrever[U+2066]" in page and "\ufffd[31m" in page


def test_the_user_is_told_where_the_report_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    jsonl(tmp_path / "a.jsonl", "one")
    clean(tmp_path / "out", sources=str(tmp_path / "a.jsonl"))
    assert f"clean: report: {tmp_path / 'out/report.html'}" in capsys.readouterr().out


@given(st.text(st.characters(codec="utf-8"), max_size=9), st.integers(0, 3 * FOLDED), st.integers(0, 100))
def test_a_long_text_is_folded_and_nothing_of_it_lost(piece: str, times: int, more: int) -> None:
    text = (piece * times)[: 3 * FOLDED]
    shown = text_of(text, len(text) + more)
    assert shown.seen + shown.folded == text and shown.left_out == more
    assert len(shown.seen) <= FOLDED + FOLDED // 4


@given(st.text(max_size=50))
def test_plain_text_is_shown_as_it_is(text: str) -> None:
    assert safe_text(safe_text(text)) == safe_text(text)
    assert text != text.encode("ascii", "ignore").decode() or not text.isprintable() or safe_text(text) == text


@pytest.mark.parametrize(
    ("part", "whole", "told"),
    [(0, 0, "0%"), (0, 5, "0%"), (5, 5, "100%"), (99_999, 100_000, ">99.9%"), (1, 100_000, "<0.1%"), (1, 3, "33.3%")],
)
def test_a_share_is_all_or_nothing_only_where_it_is_so(part: int, whole: int, told: str) -> None:
    assert share(part, whole) == told


def test_amounts_have_three_digits() -> None:
    told = [amount(number) for number in (0, 999, 1000, 12_345, 999_499, 999_500, 12_300_000, 5 * 10**12, -1500)]
    assert told == ["0", "999", "1.0 k", "12.3 k", "999 k", "1.0 M", "12.3 M", "5.0 T", "-1.5 k"]
