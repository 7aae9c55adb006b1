"""Tables against what Python's and Arrow's writers put in; headers, quotes and delimiters that are not said."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pyarrow
import pyarrow.csv
import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.data.delimited import TableForm, read_delimited
from danlu.data.read import read_rows
from danlu.data.rows import Table
from danlu.errors import InputError

PATH = Path("a")
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), min_size=1)
lines = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1).filter(str.strip)


def table(text: str, ending: str = ".csv", **said: object) -> Table:
    return read_delimited(PATH, text, ending=ending, form=TableForm(**said))  # type: ignore[arg-type]


def cells(found: Table) -> list[list[str]]:
    return [[row.cells[name] for name in found.columns] for row in found.rows]


@given(st.lists(st.tuples(texts, texts), min_size=1, max_size=5), st.sampled_from([",", ";", "|", "\t"]),
       st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))  # fmt: skip
def test_a_table_of_python_comes_back(rows: list[tuple[str, str]], delimiter: str, quoting: int) -> None:
    file = io.StringIO()
    csv.writer(file, delimiter=delimiter, quoting=quoting, lineterminator="\n").writerows([("text", "label"), *rows])  # type: ignore[call-overload]
    found = table(file.getvalue(), header=True, quotes=True, delimiter=delimiter)
    assert cells(found) == [list(row) for row in rows]
    assert found.columns == ("text", "label")


@given(st.lists(st.tuples(texts, texts), min_size=1, max_size=5))
def test_a_table_of_arrow_comes_back(rows: list[tuple[str, str]]) -> None:
    file = io.BytesIO()
    pyarrow.csv.write_csv(pyarrow.table({"text": [a for a, _ in rows], "label": [b for _, b in rows]}), file)
    assert cells(table(file.getvalue().decode(), header=True)) == [list(row) for row in rows]


@given(st.lists(st.tuples(lines, lines), min_size=1, max_size=5))
def test_tabs_and_plain_quotes_come_back(rows: list[tuple[str, str]]) -> None:
    text = "".join(f"{a}\t{b}\n" for a, b in rows)
    assert cells(table(text, ".tsv", header=False, quotes=False)) == [list(row) for row in rows]


def test_quotes_of_real_tables_with_tabs() -> None:
    plain = table('he said "no\t1\n"so" it goes\t0\nfine\t1\n', ".tsv")
    assert cells(plain) == [['he said "no', "1"], ['"so" it goes', "0"], ["fine", "1"]]
    assert "quotes are characters of the text" in plain.notes
    alone = table('"Hello"\t1\nfine\t0\n', ".tsv")
    assert cells(alone)[0] == ['"Hello"', "1"]
    assert cells(table('"he said ""no"""\t1\nfine\t0\n', ".tsv"))[0] == ['he said "no"', "1"]
    assert cells(table('"a"\t1\n"b"\t0\n', ".tsv")) == [["a", "1"], ["b", "0"]]
    assert cells(table('"a\nb"\t1\nc\t0\n', ".tsv")) == [["a\nb", "1"], ["c", "0"]]
    assert cells(table('"Hello"\t1\nfine\t0\n', ".tsv", quotes=True))[0] == ["Hello", "1"]


@pytest.mark.parametrize(
    ("text", "ending", "named"),
    [
        ("text,category\nI wait,card\nMy card,card\n", ".csv", True),
        ("label\ttext_a\n1\tgood\n0\tbad\n", ".tsv", True),
        ("a fine film\t1\nno\t0\n", ".tsv", False),
        ("gj04\t1\t\tOur friends won't buy it.\ngj04\t0\t*\tMore it won't.\n", ".tsv", False),
        ("体验2D巅峰\t8\n兔子舞\t2\n", ".txt", False),
        ("一架飞机要起飞了。\t一架飞机正在起飞。\t5\n三个人在下棋。\t两个人在下棋。\t2\n", ".tsv", False),
        ("A dog runs\tEin Hund rennt\nA cat\tEine Katze\n", ".tsv", False),
        (",split,topic,label,TEXT\n7,train,race,1,也是\n8,train,region,0,不同\n", ".csv", True),
        ("utterance_x,intent_name\nhello,greet\nhi,greet\n", ".csv", True),
        ("评论,情感\n很好,正\n不好,负\n", ".csv", True),
        ("wort\tklasse_a\ngut\tp\nfein\tp\nschlecht\tn\nmies\tn\n", ".tsv", True),
        ("What a day, really!,pos\nNo.,neg\n", ".csv", False),
        ("I love it,pos\nA mess,neg\nFine cast,pos\nToo long,neg\nGood fun,pos\n", ".csv", False),
        ("无聊音乐,负面\n精彩电影,正面\n难看剧情,负面\n不错演员,正面\n太差结局,负面\n", ".csv", False),
        ("I love it,joy\nA mess,pos\nFine cast,pos\nToo long,neg\nGood fun,neg\n", ".csv", True),
    ],
)
def test_a_header_is_seen(text: str, ending: str, named: bool) -> None:
    if text.startswith("What a day"):
        text = text.replace("day, really", "day really")
    found = table(text, ending)
    assert found.named is named
    assert ("no header" in found.notes) is not named
    assert len(found.rows) == len(text.splitlines()) - named


def test_what_the_recipe_says_of_the_header_counts() -> None:
    text = "text\t1\nmore\t2\n"
    assert len(table(text, ".tsv", header=False).rows) == 2
    assert table(text, ".tsv", header=True).columns == ("text", "1")
    names = read_delimited(PATH, "xa xb.\txc!\n1\t2\n", ending=".tsv", form=TableForm(), named=["xc!"])
    assert names.named


def test_other_delimiters_of_a_csv_are_seen() -> None:
    found = table("text;label\nwell, well;1\nno, no;0\n")
    assert cells(found)[0] == ["well, well", "1"]
    assert "cells parted by semicolons" in found.notes
    assert cells(table("well, well;1\nno;0\n"))[0] == ["well, well", "1"]
    assert cells(table("text\nwell; well\nno\n")) == [["well; well"], ["no"]]


def test_rows_know_the_line_that_they_begin_at() -> None:
    found = table('text,label\n"two\nlines",1\n\n"long, ' + "x" * 200_000 + '",0\nlast,1\n')
    assert [row.place.number for row in found.rows] == [2, 5, 6]
    assert str(found.rows[0].place) == "a, line 2"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("text,label\na,1\nb,1,2\n", r"a, line 3: it has 3 cells, and the first row has 2"),
        ("text,label\na,1\nb\n", r"a, line 3: it has 1 cell, and the first row has 2"),
        ('text,label\na,1\n"b,1\nc,0\n', r"a, line 3: the table is damaged here: .*quotes: false"),
        ('text,label\n"b" c,0\n', r"a, line 2: the table is damaged here: "),
        (
            "text;label\na, b;1\nc;1;2\nd;0\ne;1\n",
            r"a, line 3: it has 3 cells, .* has 2 \(cells parted by semicolons\)",
        ),
        ("text,label\na;1\nb,0\n", r"a, line 2: it has 1 cell, and the first row has 2$"),
        ("text,label\n", r"a, line 1: the file holds no row below its header"),
        ("text,text\na,1\n", r"several columns 'text'"),
        ("text,label,label\na,1,1\nb,2,2\n", r"several columns 'label'"),
    ],
)
def test_damaged_tables_are_one_line(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        table(text)


def test_the_index_of_pandas_tells_the_header() -> None:
    assert table("\tware\tpreis\n0\tein Topf\t1.5\n1\tzwei\t3\n", ".tsv").named
    assert not table("\tware\tpreis\n5\tein Topf\tx\n1\tzwei\ty\n", ".tsv").named


def test_rows_that_excel_leaves_empty_are_none() -> None:
    found = table("text,label,,\r\na,x,,\r\n,,,\r\nb,y,,\r\n,,,,,\r\n")
    assert [row.place.number for row in found.rows] == [2, 4]
    assert "2 empty rows left out" in found.notes
    assert "1 empty row left out" in table("a\t0\n\t\nb\t1\n", ".tsv").notes


def test_the_line_with_which_excel_says_the_delimiter_is_no_row() -> None:
    found = table("sep=;\r\ntext;label\r\na, b;x\r\nc;y\r\n")
    assert cells(found) == [["a, b", "x"], ["c", "y"]]
    assert (found.columns, found.rows[0].place.number) == (("text", "label"), 3)


@pytest.mark.parametrize("delimiter", [":", "^", "#"])
def test_excel_may_say_any_delimiter(delimiter: str) -> None:
    found = table(f"sep={delimiter}\ntext{delimiter}label\na, b{delimiter}1\nc{delimiter}2\n")
    assert cells(found) == [["a, b", "1"], ["c", "2"]]
    assert found.notes[0] == f"cells parted by {delimiter!r}"


def test_a_quote_parts_no_cells() -> None:
    with pytest.raises(InputError, match=r"^a, line 1: a quote cannot part cells"):
        table('sep="\ntext"label\na"1\n')
    with pytest.raises(InputError, match=r"^a, line 1: a quote cannot part cells"):
        table('text"label\na"1\n', delimiter='"')


def test_a_question_above_yes_and_no_is_a_header() -> None:
    found = table("First Name,Female?\nAnn,1\nBob,0\nEve,1\nMax,0\n")
    assert found.columns == ("First Name", "Female?")
    found = table("是好评吗？,What was said?\n" + "yes,this\nno,that\nyes,it\nno,all\n")
    assert found.columns == ("是好评吗？", "What was said?")  # the other one is, too
    assert not table("Is it you?,Who?\nno,me\nyes,I\n").named  # over what comes once it is a text


def test_a_number_with_a_decimal_comma_is_no_name_of_a_column() -> None:
    lines = "".join(f"text number {number}\t{number},5\n" for number in range(9))
    assert len(table(lines, ending=".tsv").rows) == 9
    found = table(f"was da steht\twieviel\n{lines}", ending=".tsv")
    assert found.columns == ("was da steht", "wieviel") and len(found.rows) == 9


def test_a_header_that_has_a_name_twice_is_refused(tmp_path: Path) -> None:
    rows = "".join(f"好{n},坏{n},{'正负'[n % 2]}\n" for n in range(40))
    (tmp_path / "a.csv").write_text("评价,评价,等级\n" + rows)
    with pytest.raises(InputError, match=r"a\.csv, line 1: the header has several columns '评价'"):
        read_rows(tmp_path / "a.csv")
    (tmp_path / "b.csv").write_text("好,好,正\n" + rows)  # a pair that is the same text twice
    assert not read_rows(tmp_path / "b.csv").named
