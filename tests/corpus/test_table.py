"""What a store knows of its documents, on the disk in columns: against a list of dictionaries."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.corpus import table
from danlu.corpus.mapped import Spliced
from danlu.corpus.table import ROW, DocumentTable, Strings, TableWriter

Entry = dict[str, Any]

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=3)
ENTRIES = st.lists(
    st.fixed_dictionaries({
        "id": TEXTS, "language": st.sampled_from(["en", "zh", "und"]), "bytes": st.integers(0, 2**40),
        "source": st.sampled_from(["a/1", "a/2", "b/1", "书/一", ""]),
    }),
    max_size=30,
)  # fmt: skip


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a few documents are several blocks, and two sources more than a writer remembers."""
    monkeypatch.setattr(table, "AT_ONCE", 4)
    monkeypatch.setattr(table, "KEPT_ROWS", 3)
    monkeypatch.setattr(table, "KNOWN_SOURCES", 1)


def write(folder: Path, entries: list[Entry]) -> DocumentTable:
    writer = TableWriter(folder)
    for entry in entries:
        writer.add(entry["id"], language=entry["language"], size=entry["bytes"], source=entry["source"])
    writer.close()
    return DocumentTable.open(folder, [*writer.languages])


def joined(blocks: Iterator[Any]) -> list[Any]:
    found = list(blocks)
    assert all(len(block) <= 4 for block in found)
    return [each for block in found for each in block.tolist()]


@given(entries=ENTRIES, data=st.data())
def test_the_files_say_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, entries: list[Entry], data: st.DataObject
) -> None:
    found = write(tmp_path_factory.mktemp("table"), entries)
    for each in (found, DocumentTable.of(entries)):
        assert list(each) == entries and len(each) == len(entries) and each == entries
        assert each != [*entries, {}] and each != [*entries[1:], {"id": "another"}]
        cut = data.draw(st.slices(len(entries)))
        assert each[cut] == entries[cut]
        assert [each[number - len(entries)] for number in range(len(entries))] == entries
        for outside in (len(entries), -len(entries) - 1):
            with pytest.raises(IndexError):
                each[outside]
        assert [each.languages[number] for number in joined(each.spoken())] == [one["language"] for one in entries]
        assert joined(each.sizes()) == [one["bytes"] for one in entries]
        assert each.present() == sorted({one["language"] for one in entries})
        sources = sorted({one["source"] for one in entries})
        assert each.some_sources(9) == sources
        assert each.whole() and each.numbers_fit()


@given(entries=ENTRIES)
def test_what_is_chosen_is_asked_by_name_once(tmp_path_factory: pytest.TempPathFactory, entries: list[Entry]) -> None:
    found, asked = write(tmp_path_factory.mktemp("chosen"), entries), []
    flags = joined(found.chosen(lambda name: asked.append(name) or name != "zh", lambda name: name.startswith("a/")))
    assert flags == [one["language"] != "zh" and one["source"].startswith("a/") for one in entries]
    assert len(asked) == len({*asked}) == len({one["language"] for one in entries})


@given(entries=ENTRIES, data=st.data())
def test_a_part_of_a_table_is_the_table_of_that_part(
    tmp_path_factory: pytest.TempPathFactory, entries: list[Entry], data: st.DataObject
) -> None:
    borders = sorted(data.draw(st.sets(st.integers(0, len(entries)), max_size=8)))
    borders = borders[: len(borders) // 2 * 2]
    firsts, behind = (np.array(borders[place::2], dtype=np.int64) for place in (0, 1))
    expected = [entry for first, end in zip(firsts, behind, strict=True) for entry in entries[first:end]]
    for whole in (write(tmp_path_factory.mktemp("part"), entries), DocumentTable.of(entries)):
        found = whole.only(firsts, behind)
        assert list(found) == expected and found == expected and len(found) == len(expected)
        assert [found[number - len(expected)] for number in range(len(expected))] == expected
        assert found[1:] == expected[1:] and found.present() == sorted({one["language"] for one in expected})
        assert joined(found.sizes()) == [one["bytes"] for one in expected]
        assert isinstance(found.rows, Spliced)
        for outside in (len(expected), -len(expected) - 1):
            with pytest.raises(IndexError):
                found[outside]


def entry(number: int, source: str) -> Entry:
    return {"id": f"{number}", "language": "en", "bytes": number, "source": source}


def test_documents_that_follow_each_other_share_their_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that remembers two writes a third one's name again, and that which came last stays longest."""
    monkeypatch.setattr(table, "KNOWN_SOURCES", 2)
    order = ["a", "a", "b", "a", "c", "a", "b", "b"]
    found = write(tmp_path, [entry(number, source) for number, source in enumerate(order)])
    assert [found.sources[number] for number in range(len(found.sources))] == ["a", "b", "c", "b"]
    assert [one["source"] for one in found] == order
    assert found.rows["source"].tolist() == [0, 0, 1, 0, 2, 0, 3, 3]
    assert (tmp_path / "sources.bin").read_bytes() == b"abcb"
    assert found.some_sources(9) == ["a", "b", "c"]


def test_no_more_sources_are_named_than_asked_for(tmp_path: Path) -> None:
    found = write(tmp_path, [entry(number, f"s{number % 7}") for number in range(70)])
    assert found.some_sources(7) == [f"s{number}" for number in range(7)]
    assert found.some_sources(3) == ["s0", "s1", "s2"]


def test_what_an_entry_lacks_is_empty() -> None:
    [found] = DocumentTable.of([{}])
    assert found == {"id": "", "language": "und", "bytes": 0, "source": ""}


def strings(content: bytes, ends: list[int]) -> Strings:
    return Strings(np.frombuffer(content, dtype=np.uint8), np.array(ends, dtype="<i8"))


def made(rows: list[tuple[int, int, int]], ids: Strings, sources: Strings) -> DocumentTable:
    return DocumentTable(np.array(rows, dtype=ROW), ids, sources, ["en", "zh"])


IDS, SOURCES = strings(b"abbc", [1, 1, 2, 3, 4, 4]), strings(b"xy", [1, 2])
ROWS = [(1, 0, 0), (2, 1, 0), (3, 0, 1), (4, 1, 1), (5, 0, 0), (6, 1, 1)]


def test_columns_that_do_not_belong_together_are_told() -> None:
    assert made(ROWS, IDS, SOURCES).whole() and made([], strings(b"", []), strings(b"", [])).whole()
    for other in (
        made(ROWS[:-1], IDS, SOURCES),
        made(ROWS, strings(b"abb", [1, 1, 2, 3, 4, 4]), SOURCES),
        made(ROWS, IDS, strings(b"xyz", [1, 2])),
        made([], strings(b"a", []), SOURCES),
    ):
        assert not other.whole()


def test_numbers_that_lead_nowhere_are_told_in_any_block() -> None:
    """Six rows are two blocks here."""
    assert made(ROWS, IDS, SOURCES).numbers_fit()
    for place in range(6):
        for wrong in ((1, 2, 0), (1, 0, 2)):
            assert not made([*ROWS[:place], wrong, *ROWS[place + 1 :]], IDS, SOURCES).numbers_fit()
    for ends in ([1, 1, 2, 3, 2, 4], [-1, 1, 2, 3, 4, 4], [1, 1, 3, 2, 4, 4], [1, 1, 2, 5, 4, 4]):
        assert not made(ROWS, strings(b"abbc", ends), SOURCES).numbers_fit()
    assert not made(ROWS, IDS, strings(b"xy", [2, 1])).numbers_fit()


def test_what_is_sought_begins_and_ends_where_a_text_does() -> None:
    """The text that is sought also stands over a border, and within a longer one."""
    found = strings(b"abcabcbcbcbc", [2, 3, 6, 8, 9, 10, 12])
    assert [found.find(text) for text in ("ab", "c", "abc", "bc", "b", "ca", "", "bcb")] == [
        0, 1, 2, 3, 4, None, None, None
    ]  # fmt: skip
    assert strings(b"a", [1, 1, 1]).find("") == 1 and strings(b"", []).find("a") is None


def test_a_file_that_is_missing_or_cut_is_refused(tmp_path: Path) -> None:
    write(tmp_path, [entry(number, "a") for number in range(5)])
    for name in ("documents.bin", "id_ends.bin", "source_ends.bin"):
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[:-1])
        with pytest.raises(ValueError, match="multiple of the data-type size"):
            DocumentTable.open(tmp_path, ["en"])
        (tmp_path / name).write_bytes(whole)
    for name in table.FILES:
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).unlink()
        with pytest.raises(FileNotFoundError):
            DocumentTable.open(tmp_path, ["en"])
        (tmp_path / name).write_bytes(whole)
