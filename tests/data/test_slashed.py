"""Words with their tag behind a slash: PFR, Brown, and what is none of these."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.data.dataset import Data, load, load_inputs
from danlu.data.read import read_rows
from danlu.data.slashed import read_slashed
from danlu.data.tagged import SEGMENT, TAG
from danlu.errors import InputError

PFR = """\
19980101-01-001-001/m  迈向/v  新/a  世纪/n  （/w  附/v  图片/n  １/m  张/q  ）/w

19980101-01-003-002/m  [中国/ns  政府/n]nt  将/d  坚持/v  “/w  一国两制/j  ”/w
19980101-01-003-003/m  [/w  江/nr  泽民/nr  说/v  ]/w
"""
WANTED = [
    (each.split(), tags.split())
    for each, tags in (
        ("迈向 新 世纪 （ 附 图片 １ 张 ）", "v a n w v n m q w"),
        ("中国 政府 将 坚持 “ 一国两制 ”", "ns n d v w j w"),
        ("[ 江 泽民 说 ]", "w nr nr v w"),
    )
]


def rows(path: Path) -> list[tuple[list[str], list[str]]]:
    return [(row.cells["tokens"], row.cells["tags"]) for row in read_rows(path, sentences=True).rows]


@pytest.mark.parametrize("name", ["a.txt", "a.tsv", "a.csv"])
@pytest.mark.parametrize("header", ["", "text\n"])
def test_the_peoples_daily(tmp_path: Path, name: str, header: str) -> None:
    (tmp_path / name).write_text(header + PFR, encoding="utf-8")
    assert rows(tmp_path / name) == WANTED
    assert read_rows(tmp_path / name, sentences=True).notes == ("tags behind slashes",)


def test_cells_of_a_table_beside_others(tmp_path: Path) -> None:
    said = [("1", "The/DT cat/NN ,/, 1/2/CD ./."), ("2", "It/PRP is/VBZ '/' //SYM so/RB ./.")]
    with (tmp_path / "a.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("id", "sentence"), *said])
    (tmp_path / "b.jsonl").write_text("".join(json.dumps({"id": n, "sentence": each}) + "\n" for n, each in said))
    wanted = [
        (["The", "cat", ",", "1/2", "."], ["DT", "NN", ",", "CD", "."]),
        (["It", "is", "'", "/", "so", "."], ["PRP", "VBZ", "'", "SYM", "RB", "."]),
    ]
    assert rows(tmp_path / "a.csv") == rows(tmp_path / "b.jsonl") == wanted


@pytest.mark.parametrize(("header", "end"), [("id,sentence\n", ""), ("", ""), ("id;sentence\n", ""), ("", ",b")])
def test_commas_part_cells_and_no_words(tmp_path: Path, header: str, end: str) -> None:
    mark = ";" if ";" in header else ","
    lines = [f"{n}{mark}我/r 爱/v 北京/ns{end}\n" for n in range(9)]
    (tmp_path / "a.csv").write_text(header + "".join(lines), encoding="utf-8")
    assert rows(tmp_path / "a.csv") == [(["我", "爱", "北京"], ["r", "v", "ns"])] * 9


def test_who_names_the_column_of_the_file_is_told_what_became_of_it(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,sentence\n" + "".join(f"{n},我/r 爱/v 北京/ns\n" for n in range(9)))
    told = "has no column 'sentence' .*tags behind slashes of column 'sentence', which is read as tokens and tags"
    with pytest.raises(InputError, match=told):
        load(Data(train=tmp_path / "a.csv", columns={"tokens": "sentence"}), TAG)


NONE = "line 6: the tags must be a list of tags; got None"


@pytest.mark.parametrize(("odd", "told"), [
    ({"x": 1}, NONE), ({"text": ""}, NONE), ({"text": "  "}, NONE),
    ({"text": 5}, r"line 6: token 1 \('5'\): the tag is empty"),
])  # fmt: skip
def test_a_row_without_a_sentence_is_told(odd: dict[str, Any], told: str, tmp_path: Path) -> None:
    rows = [{"text": f"我/r 爱/v 第{n}/m 北京/ns"} for n in range(40)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(each) + "\n" for each in [*rows[:5], odd, *rows[5:]]))
    with pytest.raises(InputError, match=told):
        load(Data(train=tmp_path / "a.jsonl"), TAG)


def test_a_comma_may_be_a_word_or_part_of_one(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("1,000/CD men/NNS ,/, so/RB\nyes/UH ,/, so/RB\n")
    assert rows(tmp_path / "a.csv")[0] == (["1,000", "men", ",", "so"], ["CD", "NNS", ",", "RB"])


def test_sentences_that_are_lists_already_stay(tmp_path: Path) -> None:
    row = {"words": ["a", "b"], "labels": ["O", "O"], "files": "src/main docs/index"}
    (tmp_path / "a.jsonl").write_text((json.dumps(row) + "\n") * 9)
    assert read_rows(tmp_path / "a.jsonl", sentences=True).columns == ("words", "labels", "files")


def test_low_lines(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("上海_NR 浦东_NR 开发_NN\n我们_PN 看_VV a_b_NN\n")
    assert rows(tmp_path / "a.txt")[1] == (["我们", "看", "a_b"], ["PN", "VV", "NN"])
    (tmp_path / "b.txt").write_text("我_r 爱_v 北京_ns\n我们_r 看_v 书_n\n")  # THULAC's
    assert rows(tmp_path / "b.txt")[1] == (["我们", "看", "书"], ["r", "v", "n"])


@pytest.mark.parametrize("text", [
    "this and/or that is so\nhe or/and she\n",
    "https://a.b/c https://a.b/d\nhttps://a.b/e https://f.g/h\n",
    "1/2 3/4 5/6\n7/8 9/10 11/12\n",
    "a/b\nc/d\n",
    "a/v b/n\t1\nc/v d/n\t0\n",
    "src/main.py docs/index.md\nsrc/main.py docs/guide.md\n",
    "get_user_name load_data\nset_user_name load_data\n",
    "a/very-long-part-of-a-path b/another-long-part-of-one\n",
])  # fmt: skip
def test_what_is_none(text: str) -> None:
    assert read_slashed(Path("a.txt"), text) is None


def test_they_are_learned_from_and_predicted(tmp_path: Path) -> None:
    text = "".join(PFR.replace("江/nr", f"江{number}/nr") for number in range(8))
    (tmp_path / "a.txt").write_text(text)
    data = load(Data(train=tmp_path / "a.txt"), TAG)
    assert {"v", "ns", "nr", "w"} <= set(data.labels) and data.scheme == "none" and "nt" not in data.labels
    words = load(Data(train=tmp_path / "a.txt"), SEGMENT).splits["train"]
    assert ("中国", "政府", "将", "坚持", "“", "一国两制", "”") in {each.words for each in words}
    (tmp_path / "b.txt").write_text("我们 爱 北京\n")
    asked = load_inputs(tmp_path / "b.txt", Data(train=tmp_path / "a.txt"), TAG, columns=data.columns)
    assert asked.splits["test"][0].tokens == ("我们", "爱", "北京")
    (tmp_path / "c.txt").write_text(PFR)
    asked = load_inputs(tmp_path / "c.txt", Data(train=tmp_path / "a.txt"), TAG, columns=data.columns)
    assert [list(each.tokens) for each in asked.splits["test"]] == [tokens for tokens, _ in WANTED]


def test_a_word_without_a_tag_is_told_with_its_line(tmp_path: Path) -> None:
    text = "".join(PFR.replace("江/nr", f"江{number}/nr") for number in range(8))
    (tmp_path / "a.txt").write_text(text + "江/nr 泽民 说/v\n")
    with pytest.raises(InputError, match=r"a\.txt, line 33: token 2 \('泽民'\): the tag is empty"):
        load(Data(train=tmp_path / "a.txt"), TAG)
    data = load(Data(train=tmp_path / "a.txt", mend=True), TAG)
    assert sum(map(len, data.splits.values())) == 24


words = st.text("ab北京/.", min_size=1, max_size=4)


@given(st.lists(st.lists(st.tuples(words, st.sampled_from(["n", "v", "NN"])), min_size=2, max_size=6), min_size=2))
def test_what_was_joined_comes_apart(sentences: list[list[tuple[str, str]]]) -> None:
    text = "".join(" ".join(f"{word}/{tag}" for word, tag in each) + "\n" for each in sentences)
    table = read_slashed(Path("a.txt"), text)
    assert table is not None
    found = [list(zip(row.cells["tokens"], row.cells["tags"], strict=True)) for row in table.rows]
    assert found == sentences
