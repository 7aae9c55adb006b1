"""A token a row as sentences, whatever parts them; and what nothing parts is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from danlu.data.dataset import Data, load
from danlu.data.read import read_rows
from danlu.data.tagged import TAG
from danlu.errors import InputError

SENTENCES = [[("Anna", "B-PER"), ("saw", "O"), ("New", "B-LOC"), ("York", "I-LOC")], [("So", "O"), ("it", "O")]] * 6
LINES = [[f"{token},{tag}" for token, tag in sentence] for sentence in SENTENCES]


def read(path: Path, text: str) -> list[list[tuple[str, str]]]:
    path.write_text(text, encoding="utf-8")
    rows = read_rows(path, sentences=True).rows
    return [list(zip(*list(row.cells.values())[-2:], strict=True)) for row in rows]


@pytest.mark.parametrize("header", ["word,tag\n", "Token,NER\n", ""])
@pytest.mark.parametrize("between", ["\n\n", "\n,\n", "\n\n\n"])
def test_blank_lines_of_a_table_part_sentences(tmp_path: Path, header: str, between: str) -> None:
    assert read(tmp_path / "a.csv", header + between.join(map("\n".join, LINES))) == SENTENCES


@pytest.mark.parametrize("first", ["word ner", "token label\n", "字 标签"])
def test_a_first_line_that_names_columns_is_no_token(tmp_path: Path, first: str) -> None:
    text = first + "\n" + "\n\n".join(map("\n".join, LINES)).replace(",", " ")
    assert read(tmp_path / "a.conll", text) == SENTENCES
    assert read(tmp_path / "b.tsv", text.replace(" ", "\t")) == SENTENCES
    assert read_rows(tmp_path / "a.conll").columns == tuple(first.split())


def test_a_token_that_is_called_as_a_column_is_one(tmp_path: Path) -> None:
    text = "word label\nword O\n\nso label\n"  # a tag that comes again
    assert read(tmp_path / "a.conll", text)[0] == [("word", "label"), ("word", "O")]


def test_the_columns_of_conllu_have_their_names(tmp_path: Path) -> None:
    line = "{0}\tw{0}\tl\t{1}\tNN\t_\t0\troot\t_\t_\n"
    (tmp_path / "a.conllu").write_text((line.format(1, "NOUN") + line.format(2, "VERB") + "\n") * 5)
    data = load(Data(train=tmp_path / "a.conllu", dev=tmp_path / "a.conllu"), TAG)
    assert data.columns == {"tokens": "form", "tags": "upos"} and data.labels == ("NOUN", "VERB")
    assert data.splits["train"][0].tokens == ("w1", "w2")


def test_what_nothing_parts_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("word,tag\n" + "\n".join(map("\n".join, LINES)))
    with pytest.raises(InputError, match=r"a\.csv: every sentence has one token; .* between sentences and none within"):
        load(Data(train=tmp_path / "a.csv"), TAG)


def test_a_text_with_line_ends_in_it_parts_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('word,tag,note\na,O,"x\n\ny"\nb,O,z\n')
    assert "sentences by blank lines" not in read_rows(path, sentences=True).notes
