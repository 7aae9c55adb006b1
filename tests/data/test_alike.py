"""Which texts count as one."""

from __future__ import annotations

import pytest

from danlu.data.alike import same_text


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Good, film!", "good film"),
        ("ＧＯＯＤ　film", "good film"),
        ("後來，她 走了。", "后来她走了"),
        ("好的😀", "好的 😀！"),
        ("good👍🏿", "Good 👍🏻"),
        ("I \u2764\ufe0f it", "i \u2764 it"),
        ("x^2", "x 2"),
        ("葛\U000e0100城", "葛城"),
        ("• good → film", "good film"),
    ],
)
def test_said_the_same(one: str, other: str) -> None:
    assert same_text(one) == same_text(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("好的😀", "好的😡"),
        ("good 👍", "good 👎"),
        ("good 👍", "good"),
        ("ok ★", "ok ★★★★★"),
        ("好⭐", "好⭐⭐⭐⭐⭐"),
        ("★", "★★"),
        ("late ⏰", "late"),
        ("是🅰", "是🅱"),
        ("我爱🇨🇳", "我爱🇫🇷"),
    ],
)
def test_said_otherwise(one: str, other: str) -> None:
    assert same_text(one) != same_text(other)
