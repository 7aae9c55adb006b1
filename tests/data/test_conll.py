"""CoNLL files in the ways that they are written."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.data.conll import read_conll
from danlu.data.rows import Table
from danlu.errors import InputError

PATH = Path("a.conll")
words = st.text(st.characters(exclude_categories=["Cc", "Cs", "Z"]), min_size=1).filter(lambda w: w[0] not in "#-")
sentences = st.lists(st.lists(st.tuples(words, words), min_size=1, max_size=4), min_size=1, max_size=4)


def columns(table: Table) -> list[list[list[str]]]:
    return [[row.cells[name] for name in table.columns] for row in table.rows]


@given(sentences, st.sampled_from(["\t", " "]), st.sampled_from(["\n", "\r\n"]), st.sampled_from(["", "\t", " "]))
def test_sentences_come_back(written: list[list[tuple[str, str]]], mark: str, newline: str, blank: str) -> None:
    text = f"{newline}{blank}{newline}".join(newline.join(f"{a}{mark}{b}x" for a, b in each) for each in written)
    table = read_conll(PATH, text)
    assert columns(table) == [[[a for a, _ in each], [f"{b}x" for _, b in each]] for each in written]
    numbers = [number for row in table.rows for number in row.lines]
    assert numbers == [number for number, line in enumerate(text.split("\n"), 1) if line.strip()]


def test_comments_document_marks_and_hashtags() -> None:
    text = "# newdoc id = 1\n# text = a b\n#foo\tB\nb\tO\n\n-DOCSTART-\tO\n\n# sent_id = 2\nc\tO\n"
    assert columns(read_conll(PATH, text)) == [[["#foo", "b"], ["B", "O"]], [["c"], ["O"]]]
    text = "-DOCSTART- -X- O O\n\nEU NNP B-NP B-ORG\nrejects VBZ B-VP O\n\n# sent_id = 4\n# : : O\nx x x O\n"
    assert columns(read_conll(PATH, text))[1][0] == ["#", "x"]


def test_conllu_ranges_and_empty_nodes_are_no_tokens() -> None:
    text = "# text = vámonos\n1-2\tvámonos\t_\n1\tvamos\tVERB\n2\tnos\tPRON\n2.1\t_\t_\n"
    assert columns(read_conll(PATH, text)) == [[["1", "2"], ["vamos", "nos"], ["VERB", "PRON"]]]


def test_places_in_words_are_taken_off() -> None:
    text = "科0\tO\n技1\tO\n全0\tO\n\n 0\tO\n70\tO\n" * 2
    table = read_conll(PATH, text)
    assert [cells[0] for cells in columns(table)][:2] == [["科", "技", "全"], [" ", "7", "科", "技", "全"]]
    assert "each token without the digit of its place in the word" in table.notes
    assert columns(read_conll(PATH, "B2\tO\nC4\tO\nA1\tO\n" * 5))[0][0] == ["B2", "C4", "A1"] * 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\tO\nb\nc\tO\n", r"a\.conll, line 2: it has 1 column, and the lines before it 2: 'b'"),
        ("a O\n\nb X O\n", r"a\.conll, line 3: it has 3 columns, and the lines before it 2"),
        ("a\tO\n#b\nc\tO\n", r"line 2: it has 1 column"),
        ("\n\n# only = this\n", "holds no sentence"),
    ],
)
def test_a_line_of_another_width_is_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_conll(PATH, text)
