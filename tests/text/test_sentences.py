"""Where sentences begin, in English and Chinese, as a person would cut them."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.text.sentences import sentence_starts


def sentences(text: str) -> list[str]:
    starts = sentence_starts(text)
    return [text[start:end] for start, end in pairwise([*starts, len(text)])]


@pytest.mark.parametrize(
    "parts",
    [
        ["One. ", "Two! ", "Three? ", "Four"],
        ["He left... ", "Then he came back."],
        ["He waited... and waited . . . and left. ", "Then?"],
        ['"Is it?" she asked. ', '"It is."\n', "(See below.) ", "“Yes.” ", "‘No!’"],
        ["Mr. Smith and Dr. J. K. Jones vs. the U.S. Navy in Washington, D.C. on Jan. 5. ", "Then May came."],
        ["It cost $3.50, i.e. 3.2 kg of it (cf. Sec. 3 and pp. 5-6, fig. 2). ", "No. ", "He said no."],
        ["We met at 5 p.m. ", "It was I. ", "In 1990. ", "30 people came."],
        ["1. Cats\n", "2. Dogs and apples\n", "iv. Birds. ", "They fly."],
        ["Visit www.example.com or v1.2.3 of it. ", "Done."],
        ["Что это? ", "Это дом г. Иванова. ", "Да."],
        ["यह एक वाक्य है। ", "दूसरा वाक्य।"],
    ],
)
def test_languages_with_spaces(parts: list[str]) -> None:
    assert sentences("".join(parts)) == parts


@pytest.mark.parametrize(
    "parts",
    [
        ["他来了。", "你呢？", "好！", "第一；", "第二"],
        ["他说：“你好。”", "然后走了。"],
        ["「真的吗？！」", "她问。", "（完。）", "结束"],
        ["今天是3.5度……", "明天呢？？？", "不知道。\n", "再见。"],
        ['他说："好。"', '"不好。"', "我说。"],
        ["你好!", "我是A.I.公司的Mr.王,你呢?", "好的!"],
        ["《你好！》", "是一本书，共1,200页。"],
        ["标题\n\n", "正文，没有句号\n", "下一段。"],
        ["全角．不是句号，网址http://a.cn?b=1也不是。", "OK。"],
    ],
)
def test_chinese(parts: list[str]) -> None:
    assert sentences("".join(parts)) == parts


def test_blank_lines_and_headings_part_and_wrapped_lines_do_not() -> None:
    prose = (
        "It is a truth universally acknowledged, that a single man in possession\n"
        "of a good fortune, must be in want of a wife, as Mrs. Bennet and all of\n"
        "Hertfordshire knew. "
    )
    parts = ["Chapter One\n", "The Beginning\n\n", prose, "However little known.\n\n", "the end"]
    assert sentences("".join(parts)) == parts
    verse = ["To be, or not to be, that is the question:\n", "Whether 'tis nobler in the mind to suffer\n"]
    assert sentences("".join(verse)) == verse


@given(st.text(st.one_of(st.sampled_from(" \n.!?…。！？”\"')A中a1，"), st.characters(exclude_categories=["Cs"]))))
def test_sentences_begin_with_something_and_lose_nothing(text: str) -> None:
    starts = sentence_starts(text)
    assert starts == sorted(set(starts))
    assert not any(text[start].isspace() for start in starts)
    assert text[: starts[0]].strip() == "" if starts else not text.strip()


@pytest.mark.parametrize("unit", [".", "。", " ", "\n", ". ", "…", ".)", '。"', "a", "!", "中!", " .\n"])
def test_long_runs_take_no_more_than_their_length(unit: str) -> None:
    """Rules look ahead and back; where that grew with a run, these 200,000 characters would take minutes."""
    assert sentence_starts("A" + unit * (200_000 // len(unit)))[0] == 0
