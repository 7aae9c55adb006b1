"""C4's rules: which lines stay, and which documents, in English, Chinese and Japanese."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.clean import c4
from danlu.clean.c4 import C4, has_words
from danlu.clean.ends import STOPS, ends_sentence
from danlu.clean.figures import Figures
from danlu.text.document import Document, pair

RULE = C4().make()
FIVE = "One is here. Two is here. Three is here. Four is here. Five is here."
FIVE_ZH = "这是第一句话。这是第二句话！这是第三句话？这是第四句话……这是第五句话。"


def kept(*lines: str) -> list[str]:
    """Those of ``lines`` that stay beside five sentences."""
    document = Document("a", "\n".join([FIVE, *lines]))
    assert RULE(document) is None
    return document.text.split("\n")[1:]


@pytest.mark.parametrize(
    "line",
    [
        "The end is here.",
        "Is it here?",
        "Here it is!",
        'He said "here it is"',
        "“Here it is.”",
        "这是一句话。",
        "“这是一句话。”",
        "这是一句话……",
        "这是一句话！",
        "これは日本語です。",
        "「これは日本語です」",
        "等一下再说⋯⋯",
        "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกัน",  # no mark ends a sentence in Thai
        "我们是谁。",  # 4 characters and no more are no three words, but 我们是谁呢 are
        "a " + "b" * 1000 + " c.",
    ],
)
def test_a_sentence_stays(line: str) -> None:
    assert kept(line) == ([] if line == "我们是谁。" else [line])


@pytest.mark.parametrize(
    "line",
    [
        "A line without an end",
        "Read more about it...",
        "It goes on…",
        "这是一句没有完的话，",
        "Two words.",
        "是我们的。",
        "หน้าแรก",
        "a " + "b" * 1001 + " c.",
        "Please enable JavaScript to see it.",
        "By reading you accept our Privacy Policy.",
        "请先阅读本网站的隐私政策。",
        "",
    ],
)
def test_what_is_no_sentence_of_the_text_falls(line: str) -> None:
    assert kept(line) == []


def test_marks_of_citations_are_taken_out() -> None:
    assert kept("It was so[12] for long.[citation needed]", "It was [a] so.") == [
        "It was so for long.",
        "It was [a] so.",
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (FIVE, None),
        (FIVE.removesuffix(" Five is here."), "c4: sentences"),
        (FIVE.replace(". ", ".\n"), None),
        (FIVE_ZH, None),
        (FIVE_ZH.removesuffix("这是第五句话。"), "c4: sentences"),
        (FIVE + "\nHere is lorem ipsum dolor.", "c4: lorem ipsum"),
        (FIVE + "\nlorem ipsum without an end", None),
        (FIVE + "\nHere is a {bracket} in it.", "c4: curly bracket"),
        (FIVE + "\nfunction() {", None),  # which fell before, as no sentence
        ("", "c4: sentences"),
        ("words without any end\n" * 10, "c4: sentences"),
    ],
)
def test_documents(text: str, reason: str | None) -> None:
    assert RULE(Document("a", text)) == reason


ARTICLE_1_TH = (
    "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ ต่างมีเหตุผลและมโนธรรม และควรปฏิบัติต่อกันด้วยเจตนารมณ์แห่งภราดรภาพ"
)


def test_thai_parts_sentences_by_spaces() -> None:
    assert RULE(Document("a", f"{ARTICLE_1_TH} {ARTICLE_1_TH}")) is None
    assert RULE(Document("a", f"{ARTICLE_1_TH}\n{ARTICLE_1_TH}")) is None
    assert RULE(Document("a", ARTICLE_1_TH)) == "c4: sentences"


def test_long_lines_are_counted_to_their_end_where_that_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(c4, "_LOOKED_AT", 30)
    assert RULE(Document("a", FIVE)) is None
    assert RULE(Document("a", FIVE.removesuffix(" Five is here."))) == "c4: sentences"


def test_of_a_pair_each_side_is_kept_apart() -> None:
    text, meta = pair(FIVE + "\nno end", "Sechs ist auch da.\nnoch eins")
    document = Document("a", text, dict(meta))
    assert RULE(document) is None
    assert document.sides == (FIVE, "Sechs ist auch da.")
    text, meta = pair(FIVE, "no end")
    assert RULE(Document("a", text, dict(meta))) == "c4: sentences"


@given(st.text(st.sampled_from("ab 1.。一是のก"), max_size=30), st.integers(0, 6))
def test_words_of_a_line_are_those_of_a_text(line: str, least: int) -> None:
    assert has_words(line, least) == (Figures(line).words >= least or len(line.split()) >= least)


def test_end_marks_are_those_of_unicode() -> None:
    regex = pytest.importorskip("regex", reason="needs the package regex, which nltk brings")
    known = regex.compile(r"\p{Sentence_Terminal}")
    assert {character for character in map(chr, range(0x110000)) if known.match(character)} == STOPS


@pytest.mark.parametrize("line", ["Here.", "Here?)", '"Here."', "在这里。”", "在这里……", "यहाँ।", "Here. "])
def test_lines_with_an_end(line: str) -> None:
    assert ends_sentence(line)


@pytest.mark.parametrize("line", ["", "Here", "Here…", "在这里，", "(here)", '"'])
def test_lines_without_an_end(line: str) -> None:
    assert not ends_sentence(line)
