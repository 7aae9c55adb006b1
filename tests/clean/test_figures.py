"""Figures of texts against plain Python, one character at a time."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.clean import figures
from danlu.clean.figures import UNSPACED_CLASS, Figures, figures_of

TEXTS = st.text(st.sampled_from("ab1 \n\t#.,-—一是的。，ァのก่ํ한é\u3000\u0301😀"), max_size=60)


def runs(text: str) -> list[str]:
    return [run for run in re.split(rf"[\s{UNSPACED_CLASS}]+", text) if run]


@given(TEXTS)
def test_words_are_what_spaces_part_and_shares_of_characters(text: str) -> None:
    words = [run for run in runs(text) if any(character.isalnum() for character in run)]
    han, kana, thai = (sum(character in some for character in text) for some in ("一是的", "ァの", "ก่ํ"))
    found = Figures(text)
    of_one = 1.35 if found.script_name == "hangul" else 1
    assert found.spaced_words == len(words)
    assert found.words == pytest.approx(of_one * len(words) + han / 1.5 + kana / 3 + thai / 5)
    if found.script.spaces:
        assert found.tokens == pytest.approx(of_one * len(runs(text)) + han / 1.5 + kana / 3 + thai / 5)
        lengths = [len(word) for word in words] or [0]
        assert found.mean_length == pytest.approx(sum(lengths) / len(lengths))
        lettered = [any(character.isalpha() for character in run) for run in runs(text)] or [False]
        assert found.letters == pytest.approx(sum(lettered) / len(lettered))
    else:
        assert found.tokens == found.words
        pieces = re.findall(r"[a-z1一是的ァのก่ํ한é]+", text)
        assert found.mean_length == pytest.approx(sum(map(len, pieces)) / len(pieces))
        letters = len(re.findall(r"[a-z一是的ァのก่ํ한é]", text))
        assert found.letters == pytest.approx(letters / len(re.sub(r"\s", "", text)))


@given(TEXTS)
def test_units_are_equal_where_they_are_written_alike(text: str) -> None:
    units = re.findall(rf"[{UNSPACED_CLASS}]|[^\s{UNSPACED_CLASS}]+", text)
    found = Figures(text)
    assert found.unit_lengths.tolist() == [len(unit) for unit in units]
    numbers = found.unit_ids.tolist()
    assert len(set(zip(numbers, units, strict=True))) == len(set(numbers)) == len(set(units))


@given(TEXTS, st.integers(1, 5), st.integers(1, 12))
def test_units_are_numbered_in_parts_and_may_be_long(text: str, at_once: int, longest: int) -> None:
    units = re.findall(rf"[{UNSPACED_CLASS}]|[^\s{UNSPACED_CLASS}]+", text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "AT_ONCE", at_once)
        patch.setattr(figures, "LONGEST", longest)
        numbers = Figures(text).unit_ids.tolist()
    assert len(set(zip(numbers, units, strict=True))) == len(set(numbers)) == len(set(units))


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("", "spaced"),
        ("the cat", "spaced"),
        ("Кот и пёс", "spaced"),
        ("고양이와 개", "hangul"),
        ("猫和狗。", "chinese"),
        ("貓和狗", "chinese"),
        ("猫と犬がいる。", "japanese"),
        ("カタカナ", "japanese"),
        ("แมวและหมา", "thai"),
        ("ຫມາ ແລະ ແມວ", "thai"),
        ("用 pip install numpy 安装这一个软件包，然后导入", "chinese"),  # more words than in Latin letters
        ("Install numpy with the tool pip and then import it, 谢谢", "spaced"),
    ],
)
def test_the_script_is_that_of_most_words(text: str, script: str) -> None:
    assert Figures(text).script_name == script


def test_half_a_surrogate_pair_has_figures_too() -> None:
    assert Figures("a \ud800 b").spaced_words == 2


def test_figures_are_kept_for_the_next_rule() -> None:
    text = "the same text"
    assert figures_of(text) is figures_of(text)
    assert figures_of.cache_info().maxsize == 1
