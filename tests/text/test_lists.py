"""Lists of texts against what Python's own writers of such files put in; what is refused, and where."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.errors import InputError, OutputError
from danlu.text.lists import check_new_file, read_list

letters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
texts = st.lists(st.text(letters, min_size=1).filter(str.strip), min_size=1, max_size=5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lists")


@given(texts, st.sampled_from([("csv", ",", "\r\n"), ("tsv", "\t", "\n")]), st.integers(0, 3))
def test_a_table_comes_back_as_it_was_written(
    folder: Path, written: list[str], form: tuple[str, str, str], blank: int
) -> None:
    ending, delimiter, newline = form
    path = folder / f"a.{ending}"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=delimiter, lineterminator=newline, quoting=csv.QUOTE_NONNUMERIC)
        writer.writerows([["id", "text"], *([place, text] for place, text in enumerate(written))])
        file.write(newline * blank)
    assert [line.text for line in read_list(path)] == written


@given(texts)
def test_objects_come_back_as_they_were_written(folder: Path, written: list[str]) -> None:
    path = folder / "a.jsonl"
    path.write_text("".join(json.dumps({"q": text}) + "\n" for text in written), encoding="utf-8")
    assert [line.text for line in read_list(path, field="q")] == written
    assert [line.number for line in read_list(path, default="q")] == list(range(1, len(written) + 1))


def test_a_line_is_a_text(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("\ufeffone\r\ntwo\u2028and\x0cthree\n  four ".encode())
    assert read_list(path) == [(1, "one"), (2, "two\u2028and\x0cthree"), (3, "  four ")]


def test_a_cell_has_any_length_and_lines_are_counted_where_they_begin(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    long = "word, " * 100_000
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["text"], ["two\nlines"], [long], ["last"]])
    assert read_list(path) == [(2, "two\nlines"), (4, long), (5, "last")]


@pytest.mark.parametrize("end", ["", "\n", "\n\n", "\r\n\r\n\r\n"])
def test_blank_lines_end_a_table_but_stand_nowhere_within(tmp_path: Path, end: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"text\na\nb" + end.encode())
    assert [line.text for line in read_list(path)] == ["a", "b"]
    path.write_bytes(b"text\na\n\nb" + end.encode())
    with pytest.raises(InputError, match=r"a\.csv, line 3: it is empty$"):
        read_list(path)
    path.write_bytes(b'text\na\n""' + end.encode())
    with pytest.raises(InputError, match=r"a\.csv, line 3: the text is empty$"):
        read_list(path)


def test_a_new_file_is_new(tmp_path: Path) -> None:
    check_new_file(tmp_path / "a.npy", ".npy")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "a.npy").touch()
    for path, words in (
        ("a.npy", "exists already"),
        ("a.txt", r"must end in \.npy"),
        ("b/a.npy", "there is no folder"),
    ):
        with pytest.raises(OutputError, match=words):
            check_new_file(tmp_path / path, ".npy")
