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
