"""Phrases of a user's file: found whole, leftmost and longest."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.errors import InputError
from danlu.text.lexicon import Lexicon


def found(text: str, *phrases: str) -> list[str]:
    return [text[start:end] for start, end in Lexicon.of(phrases).find(text)]


def test_the_longest_of_the_leftmost_wins() -> None:
    phrases = ("北京", "北京大学", "大学生", "生前来")
    assert found("北京大学生前来，在北京", *phrases) == ["北京大学", "生前来", "北京"]
    assert found("New York City and New York", "new york", "New York City", "City and") == ["New York City", "New York"]


@given(
    st.text(st.sampled_from("甲乙丙。"), max_size=30),
    st.sets(st.text(st.sampled_from("甲乙丙"), min_size=1, max_size=4), min_size=1),
)
def test_chinese_is_matched_as_a_regular_expression_would(text: str, phrases: set[str]) -> None:
    longest_first = "|".join(sorted(phrases, key=len, reverse=True))
    assert list(Lexicon.of(phrases).find(text)) == [match.span() for match in re.finditer(longest_first, text)]


def test_english_matches_whole_words_over_any_space_of_a_paragraph() -> None:
    text = "new  york, New\nYork; news york, new\n\nyork newyork new-york"
    assert found(text, "new york") == ["new  york", "New\nYork"]
    assert found("a state-of-the-art x", "state-of-the-art") == ["state-of-the-art"]
    assert found("C++和C", "c++") == ["C++"]


def test_capitals_are_asked_for_only_by_phrases_that_have_them() -> None:
    assert found("Give us the US flag. Machine Learning", "US", "machine learning") == ["US", "Machine Learning"]


def test_a_dictionary_of_jieba_with_tabs_is_read(tmp_path: Path) -> None:
    path = tmp_path / "lexicon.txt"
    path.write_bytes("\ufeff北京大学\t2053\tnt\r\n\r\nNew York\n  cafe\u0301 au lait  \n，\n".encode())
    lexicon = Lexicon.read(path)
    text = "北京大学，New York café au lait"
    assert [text[start:end] for start, end in lexicon.find(text)] == ["北京大学", "，", "New York", "café au lait"]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (None, r"cannot read the lexicon .*: No such file"),
        (b"ok\n\xff\xfe\n", r"the lexicon .* is not UTF-8 in line 2$"),
        (b"\n \n\t3\n", r"the lexicon .* holds no phrase"),
    ],
)
def test_a_file_that_is_no_lexicon(tmp_path: Path, content: bytes | None, line: str) -> None:
    if content is not None:
        (tmp_path / "l.txt").write_bytes(content)
    with pytest.raises(InputError, match=line):
        Lexicon.read(tmp_path / "l.txt")
