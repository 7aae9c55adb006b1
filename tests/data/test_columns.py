"""Which column holds what: said, guessed, shown, refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from danlu.data.columns import choose_columns, describe
from danlu.data.forms import FORMS
from danlu.data.read import read_rows
from danlu.data.rows import Table
from danlu.errors import InputError, RecipeError

SST2 = "a gorgeous , witty film .\t1\nno movement , no yuks .\t0\nit 's slow\t0\nfine\t1\n"
COLA = (
    "gj04\t1\t\tOur friends won't buy it.\ngj04\t0\t*\tMore it than won't.\n"
    "ks08\t1\t\tKim ran away today.\nks08\t1\t\tNo.\nad03\t1\t\tHe sleeps.\nad03\t1\t\tShe left us.\n"
)


def read(folder: Path, name: str, text: str, form: str) -> Table:
    (folder / name).write_text(text, encoding="utf-8")
    return read_rows(folder / name, sentences=FORMS[form].sentences)


@pytest.mark.parametrize(
    ("name", "text", "form", "expected"),
    [
        ("a.tsv", SST2, "classify", {"text": "1", "label": "2"}),
        ("a.tsv", "film one\ta slow film it is\t0\nfilm two\tit is fine\t1\n", "classify", {"text": "2", "label": "3"}),
        ("a.tsv", COLA, "classify", {"text": "4", "label": "2"}),
        ("a.tsv", "label\ttext_a\n1\tgood\n0\tbad\n", "classify", {"text": "text_a", "label": "label"}),
        ("a.csv", ",split,topic,label,TEXT\n7,train,race,1,也是\n8,train,age,0,不\n", "classify",
         {"text": "TEXT", "label": "label"}),
        ("a.csv", "bewertung,sterne\nganz gut ist das,5\nmies ist das,1\nso la la ist es,5\nna ja,1\n", "classify",
         {"text": "bewertung", "label": "sterne"}),
        ("a.tsv", "飞机要起飞了。\t飞机正起飞。\t5\n三人下棋。\t两人下棋。\t2.5\n", "similarity",
         {"first": "1", "second": "2", "number": "3"}),
        ("a.tsv", "split\tgenre\tscore\tsentence1\tsentence2\ntrain\tnews\t5.0\ta b\tc d\ntrain\tnews\t3.8\te\tf\n",
         "similarity", {"first": "sentence1", "second": "sentence2", "number": "score"}),
        ("a.jsonl", '{"sentence1": "a", "sentence2": "b", "label": "entailment", "label0": null}\n', "pair",
         {"first": "sentence1", "second": "sentence2", "label": "label"}),
        ("a.tsv", "A dog runs\tEin Hund rennt\nA cat\tEine Katze\n", "generate", {"source": "1", "target": "2"}),
        ("a.tsv", "Hi.\t嗨。\tCC-BY 2.0 (France) Attribution: one\nRun.\t跑。\tCC-BY 2.0 (France) Attribution: two\n",
         "generate", {"source": "1", "target": "2"}),
        ("a.conll", "1\t同样\tO\t-\n2\t北京\tB-LOC\t-\n\n1\t好\tO\t-\n", "tag", {"tokens": "2", "tags": "3"}),
        ("a.txt", "EU NNP B-NP B-ORG\nsays VBZ B-VP O\n\nNo UH O O\n", "tag", {"tokens": "1", "tags": "4"}),
        ("a.conll", "Kim NOUN\nran VERB\n\nNo INTJ\n", "tag", {"tokens": "1", "tags": "2"}),
        ("a.txt", "我们 爱 北京\n你 好\n", "segment", {"words": "1"}),
        ("a.jsonl", '{"instruction": "a", "input": "", "output": "b"}\n', "chat",
         {"instruction": "instruction", "input": "input", "response": "output"}),
        ("a.jsonl", '{"conversations": [], "tools": ""}\n', "chat", {"messages": "conversations", "tools": "tools"}),
        ("a.jsonl", '{"id": 1, "title": "t", "document": "d", "summary": "s", "references": ["s"]}\n', "generate",
         {"source": "document", "target": "summary", "references": "references"}),
        ("a.jsonl", '{"id": 1, "translation": {"en": "a", "zh": "b"}}\n', "generate",
         {"source": "translation.en", "target": "translation.zh"}),
        ("a.jsonl", '{"doc": {"text": "a"}, "meta": {"label": "x", "by": null}}\n', "classify",
         {"text": "doc.text", "label": "meta.label"}),
        ("a.csv", "reviews.date,reviews.text,sentiment\n1,a b,x\n2,c,y\n3,d e,x\n4,f,y\n", "classify",
         {"text": "reviews.text", "label": "sentiment"}),
        ("a.jsonl", '{"text": "a b", "head": {"name": "a", "type": "X"}, "tail": {"name": "b"}, "relation": "r"}\n',
         "relate", {"text": "text", "label": "relation", "head": "head", "tail": "tail"}),
    ],
)  # fmt: skip
def test_columns_are_guessed(tmp_path: Path, name: str, text: str, form: str, expected: dict[str, str]) -> None:
    table = read(tmp_path, name, text, form)
    assert choose_columns(table, FORMS[form].fields, {}) == expected


def test_what_was_guessed_is_shown(tmp_path: Path) -> None:
    table = read(tmp_path, "a.tsv", SST2, "classify")
    fields = FORMS["classify"].fields
    shown = describe(table, choose_columns(table, fields, {}), fields)
    assert shown == (
        f"{tmp_path / 'a.tsv'}: 4 rows; text from column 1, label from column 2 (2 values: 0, 1); no header"
    )


def test_values_that_cannot_be_seen_are_quoted(tmp_path: Path) -> None:
    table = read(tmp_path, "a.csv", 'text,label\na,good\nb,"good "\nc,"go\nod"\nd,\n', "classify")
    fields = FORMS["classify"].fields
    shown = describe(table, choose_columns(table, fields, {}), fields)
    assert "(4 values: '', 'go\\nod', good, 'good ')" in shown


def test_what_the_recipe_names_counts(tmp_path: Path) -> None:
    table = read(tmp_path, "a.tsv", COLA, "classify")
    assert choose_columns(table, FORMS["classify"].fields, {"label": 1}) == {"text": "4", "label": "1"}
    named = read(tmp_path, "a.csv", "text,title,label\na,b,1\nc,d,0\n", "classify")
    assert choose_columns(named, FORMS["classify"].fields, {"text": "title"})["text"] == "title"
    assert choose_columns(named, FORMS["classify"].fields, {"text": 2})["text"] == "title"


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"label": "lable"}, InputError, r"columns\.label: .*a\.csv has no column 'lable'; did you mean 'label'\?"),
        ({"text": 4}, InputError, r"columns\.text: .*a\.csv has columns 1 to 3; got 4"),
        ({"text": 0}, InputError, r"has columns 1 to 3; got 0"),
        ({"txt": "text"}, RecipeError, r"columns: this task reads no 'txt'; did you mean 'text'\? .*text, label"),
        ({"answers": "title"}, RecipeError, r"reads no 'answers'; leave it out of columns \(it reads text, label\)$"),
    ],
)
def test_a_wrong_column_is_one_line(
    tmp_path: Path, given: dict[str, Any], error: type[Exception], message: str
) -> None:
    table = read(tmp_path, "a.csv", "text,title,label\na,b,1\nc,d,0\n", "classify")
    with pytest.raises(error, match=message) as caught:
        choose_columns(table, FORMS["classify"].fields, given)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a,b\nwell said,oh\nhow so,no\nthere,yes\nnever,may\n",
            "which column holds the label; name it.*columns: a, b",
        ),
        ("text\none\ntwo\n", "holds the label; name it"),
    ],
)
def test_what_cannot_be_guessed_is_asked_for(tmp_path: Path, text: str, message: str) -> None:
    table = read(tmp_path, "a.csv", text, "classify")
    with pytest.raises(InputError, match=message):
        choose_columns(table, FORMS["classify"].fields, {})
    assert choose_columns(table, FORMS["classify"].fields, {}, gold=False)["text"] in table.columns


def test_a_dot_alone_makes_no_column_a_member(tmp_path: Path) -> None:
    """As pandas calls the second of two columns of one name."""
    for text, called in (("text,text.1,label", "text"), ("words,words.1,label", "words")):
        rows = "".join(f"a long comment {number},short {number},{number % 2}\n" for number in range(6))
        table = read(tmp_path, "a.csv", f"{text}\n{rows}", "classify")
        assert choose_columns(table, FORMS["classify"].fields, {}) == {"text": called, "label": "label"}
        pair = choose_columns(table, FORMS["pair"].fields, {})
        assert (pair["first"], pair["second"]) == (called, f"{called}.1")
