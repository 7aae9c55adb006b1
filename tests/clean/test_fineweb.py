"""FineWeb's rules just within and just beyond every limit."""

from __future__ import annotations

import pytest

from danlu.clean.fineweb import FineWeb
from danlu.text.document import Document

RULE = FineWeb().make()


def lines(*kinds: tuple[int, str]) -> str:
    """So many lines of each kind, all different."""
    return "\n".join(
        f"{number:02d}{place}{line}" for place, (count, line) in enumerate(kinds) for number in range(count)
    )


LONG = " is a line of some words and it is long enough"
LONG_ZH = "是一行相当长的中文，有不少字"

CASES = [
    ("lines with an end mark", lines((3, LONG + "."), (22, LONG)), lines((2, LONG + "."), (23, LONG))),
    ("lines with an end mark", lines((3, LONG_ZH + "。”"), (22, LONG_ZH)), lines((2, LONG_ZH + "。”"), (23, LONG_ZH))),
    ("short lines", lines((67, " x y z a b c d e f g h i jklm."), (33, LONG)), lines((68, " x y z."), (32, LONG))),
    ("short lines", lines((67, "是一行相短的。"), (33, LONG_ZH)), lines((68, "是一行相短的。"), (32, LONG_ZH))),
    ("short lines", lines((68, "是一行相当短的。"), (32, LONG_ZH)), lines((68, "是一行相短的。"), (32, LONG_ZH))),
]


@pytest.mark.parametrize(("figure", "good", "bad"), CASES)
def test_just_within_and_just_beyond(figure: str, good: str, bad: str) -> None:
    assert RULE(Document("a", good)) is None
    assert RULE(Document("a", bad)) == f"fineweb: {figure}"


def test_a_hundredth_of_the_characters_may_stand_in_lines_again() -> None:
    twice = "x" * 9 + ".\n" + "x" * 9 + ".\n"  # 10 characters again
    assert RULE(Document("a", twice + "y " * 490)) is None  # of 1,000
    assert RULE(Document("a", twice + "y " * 489 + "y")) == "fineweb: characters in duplicate lines"


TWICE = ["x" * 9 + "."] * 2
TWICE_ZH = ["是" * 9 + "。"] * 2


@pytest.mark.parametrize(
    ("language", "again", "rest", "most"),
    [
        ("en", TWICE, "y ", 0.01),
        ("en-GB", TWICE, "y ", 0.01),  # as a source may say it
        ("de", TWICE, "y ", 0.1),  # as FineWeb-2 has it for all languages but English
        ("und", TWICE, "y ", 0.1),
        ("zh", TWICE_ZH, "的", 0.1),
        ("en", TWICE_ZH, "的", 0.1),  # whatever the language is said to be
    ],
)
def test_other_languages_may_repeat_more(language: str, again: list[str], rest: str, most: float) -> None:
    whole = round(10 / most)  # characters of a text in which the second line is just the share
    body = rest * whole
    meta = {"language": language}
    assert RULE(Document("a", "\n".join([*again, body[: whole - 20]]), meta)) is None
    too_much = "fineweb: characters in duplicate lines"
    assert RULE(Document("a", "\n".join([*again, body[: whole - 21]]), meta)) == too_much


def test_a_share_that_is_set_holds_in_every_language() -> None:
    text = "\n".join([*TWICE_ZH, "的" * 300])
    assert RULE(Document("a", text, {"language": "zh"})) is None
    strict = FineWeb(max_duplicate_line_characters=0.03).make()
    assert strict(Document("a", text, {"language": "zh"})) == "fineweb: characters in duplicate lines"


def test_thai_and_lao_end_no_sentence_with_a_mark() -> None:
    thai = "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ"
    lao = "ມະນຸດເກີດມາມີສິດເສລີພາບ ແລະສະເໝີໜ້າກັນໃນທາງກຽດຕິສັກ"
    for line in (thai, lao):
        assert RULE(Document("a", lines((10, line)), {"language": "th"})) is None


def test_three_line_ends_for_ten_words() -> None:
    line = "This is a line that is long enough for the rule, it seems."  # 13 words
    ten = " ".join(["wordswords"] * 10)
    assert RULE(Document("a", ten + ".\n\n\n")) is None
    assert RULE(Document("a", ten + ".\n\n\n\n")) == "fineweb: line ends to words"
    assert RULE(Document("a", line + "\n" * 3)) is None
    assert RULE(Document("a", "我们的家在山上面的那边啊呀。" + "\n" * 2)) is None  # 13 characters are 8.7 words
    assert RULE(Document("a", "我们的家在山上面的那边啊呀。" + "\n" * 3)) == "fineweb: line ends to words"


def test_blank_text_has_no_lines() -> None:
    assert RULE(Document("a", " \n \n")) == "fineweb: lines"
