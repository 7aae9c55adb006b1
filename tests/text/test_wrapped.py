"""Lines broken at a width are joined; what has lines of its own keeps them."""

from __future__ import annotations

import textwrap

import pytest

from danlu.text.wrapped import join_lines

PROSE = [
    "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of foolishness, "
    "it was the epoch of belief, it was the epoch of incredulity, it was the season of Light, it was the season of "
    "Darkness, it was the spring of hope, it was the winter of despair, we had everything before us.",
    "There were a king with a large jaw and a queen with a plain face, on the throne of England; there were a king "
    "with a large jaw and a queen with a fair face, on the throne of France. In both countries it was clearer than "
    "crystal to the lords of the State preserves of loaves and fishes, that things in general were settled for ever.",
    "Short last words.",
]
CHINESE = (
    "话说天下大势，分久必合，合久必分。周末七国分争，并入于秦。及秦灭之后，楚、汉分争，又并入于汉。汉朝自高祖斩白蛇而起义，"
    "一统天下，后来光武中兴，传至献帝，遂分为三国。推其致乱之由，殆始于桓、灵二帝。桓帝禁锢善类，崇信宦官。及桓帝崩，"
    "灵帝即位，大将军窦武、太傅陈蕃共相辅佐。时有宦官曹节等弄权，窦武、陈蕃谋诛之，机事不密，反为所害，中涓自此愈横。"
)
SONNET = """\
Shall I compare thee to a summer's day?
Thou art more lovely and more temperate:
Rough winds do shake the darling buds of May,
And summer's lease hath all too short a date:
Sometime too hot the eye of heaven shines,
And often is his gold complexion dimm'd;
And every fair from fair sometime declines,
By chance, or nature's changing course, untrimm'd;
But thy eternal summer shall not fade,
Nor lose possession of that fair thou ow'st,
Nor shall death brag thou wander'st in his shade,
When in eternal lines to time thou grow'st;
So long as men can breathe, or eyes can see,
So long lives this, and this gives life to thee."""
TANG = "慈母手中線，遊子身上衣。臨行密密縫，意恐遲遲歸。\n誰言寸草心，報得三春暉。誰言寸草心，報得三春暉。\n" * 4
LIST = "\n".join(
    f"- entry number {number} of the list, which is as long as a line of wrapped text {number}" for number in range(9)
)
NUMBERED = LIST.replace("- ", "1. ")
CODE = "\n".join(
    f"    result_{number} = compute_something(argument, another_argument, a_third_one)" for number in range(9)
)
TABLE = "\n".join(
    f"row {number}   | a value that is long enough here | another value of the same width" for number in range(9)
)
LINES = "\n".join(
    [
        "First comes this.",
        "Then there is a longer line of text here.",
        "Ok.",
        "A last one, longer than all the others are.",
    ]
    * 4
)

UNEVEN = "\n".join(
    f"{'word after word ' * (number % 4 + 1)}and no end {'x' * (number * 7 % 20)}" for number in range(40)
)


@pytest.mark.parametrize("width", [45, 60, 65, 70, 72, 80, 90])
@pytest.mark.parametrize("gap", ["\n\n", "\n    "])
def test_what_textwrap_broke_is_whole_again(width: int, gap: str) -> None:
    text = gap.join(PROSE)
    wrapped = gap.join(textwrap.fill(paragraph, width, break_on_hyphens=False) for paragraph in PROSE)
    assert join_lines(wrapped) == text
    assert join_lines(text) == text


@pytest.mark.parametrize("width", [20, 30, 35, 40])
def test_chinese_is_joined_without_a_space(width: int) -> None:
    paragraphs = [CHINESE, CHINESE[::-1]]
    broken = "\n\n".join("\n".join(p[at : at + width] for at in range(0, len(p), width)) for p in paragraphs)
    assert join_lines(broken) == "\n\n".join(paragraphs)


def test_a_word_broken_by_a_hyphen_is_whole_and_one_with_a_hyphen_keeps_it() -> None:
    words = "It was the spring of hope and the winter of despair and all were going direct to heaven exam-\n"
    text = words[16:] + "ple of a kind; we had everything before us, and nothing was known of the well-\n"
    text += "known matters, for a well is a well and what is known is known to all of us, so co-\n"
    text += "operate, as they say; and those who co-operate now are those who once were told of it.\n"
    joined = join_lines(text)
    assert "heaven example of" in joined and "the well-known matters" in joined and "so co-operate, as" in joined


@pytest.mark.parametrize("text", [SONNET, TANG, LIST, NUMBERED, CODE, TABLE, LINES, UNEVEN, "", "\n", "one line"])
def test_lines_that_mean_something_stay(text: str) -> None:
    assert join_lines(text) == text


@pytest.mark.parametrize("text", [SONNET, LIST, CODE, TABLE])
def test_they_stay_in_the_midst_of_wrapped_prose(text: str) -> None:
    wrapped = "\n\n".join(textwrap.fill(paragraph, 72, break_on_hyphens=False) for paragraph in PROSE * 3)
    assert join_lines(f"{wrapped}\n\n{text}\n\n{wrapped}") == "\n\n".join([*PROSE * 3, text, *PROSE * 3])


def test_a_book_without_a_blank_line_is_one_paragraph() -> None:
    words = " ".join(f"{PROSE[0].rstrip('.')} {number} and" for number in range(6000))
    broken = textwrap.fill(words, 70, break_on_hyphens=False)
    assert join_lines(broken) == words


def test_a_text_too_short_to_be_sure_stays() -> None:
    """Joined, no line of it would be wider than a wrapped one, and the next look would see lines to join again."""
    text = "\n\n".join(["it was the best of times and then it was the worst of all\ntimes, and so on"] * 4)
    assert join_lines(text) == text
