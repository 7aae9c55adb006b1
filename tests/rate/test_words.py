"""Both languages say the same things, and a browser gets the one that it asks for."""

from __future__ import annotations

import re

import pytest

from danlu.rate.words import CHINESE, ENGLISH, words_for


def test_both_languages_have_the_same_words() -> None:
    assert CHINESE.keys() == ENGLISH.keys()
    for name, text in ENGLISH.items():
        assert re.findall(r"{\w+}", text) == re.findall(r"{\w+}", CHINESE[name]), name


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", "en"), ("zh-CN,zh;q=0.9,en;q=0.8", "zh"), ("en-US,en;q=0.9,zh-CN;q=0.8", "en"), ("de, zh;q=0.1", "zh"),
        ("fr", "en"), ("zh;q=0", "en"), ("ZH-Hant", "zh"), ("zh;q=x, ;;,=", "en"),
    ],
)  # fmt: skip
def test_the_language_is_what_the_browser_likes_best(header: str, language: str) -> None:
    assert words_for(header)["lang"] == language
