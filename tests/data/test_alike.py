"""Which texts count as one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.data.alike import same_text
from danlu.data.emoticons import with_emoji


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
        ("Hello.", "Hello"),
        ("good :)", "good :-)"),
        ("good :)", "Good :)))"),
        ("好的：）", "好的 :)"),
        ("good :)", "good 🙂"),
        ("good (:", "good :)"),
        ("注意：（一）好", "注意 一 好"),
        ("注意：（一）好", "注意（一）：好"),
        ("it is (as follows:) so", "it is as follows: so"),
        ("see http://a.b/c", "see http a.b c"),
        ("for (i = 0;;) do", "for i = 0 do"),
        ("a[1:] of f(x): a=(b)", "a 1 of f x a b"),
        ("1): one, a): two", "1 one a two"),
        ("| a | b |\n|:--|:--|\n", "a b"),
        ("**Note:** this", "note this"),
        ("either:/or", "either or"),
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
        ("good film :)", "good film :("),
        ("good film :)", "good film"),
        ("好的:)", "好的:("),
        ("好的：）", "好的。"),
        ("bad :( then good :)", "bad then good"),
        ("(what a film :)", "what a film"),
        ("(what a film :-))", "(what a film)"),
        ("well :/", "well"),
        ("well :|", "well :/"),
        ("hm ;)", "hm :)"),
        ("i <3 it", "i </3 it"),
        ("ok ^_^", "ok -_-"),
        ("ok T_T", "ok ^^"),
        (":)", ":("),
        ("why :'(", "why"),
        ("so =)", "so =("),
        ("): no", "(: no"),
    ],
)
def test_said_otherwise(one: str, other: str) -> None:
    assert same_text(one) != same_text(other)


@given(st.text(alphabet="ab ,.!?-'\"好，。！"), st.text(alphabet=":;=()[]/ ab好\\"))
def test_marks_alone_say_nothing_and_faces_are_kept_once(marks: str, signs: str) -> None:
    assert with_emoji(marks) == marks
    once = with_emoji(signs)
    assert [each for each in once if each in " ab好"] == [each for each in signs if each in " ab好"]
