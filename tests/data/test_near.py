"""Texts that are alike against every pair compared by the definition."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from danlu.data.alike import same_text
from danlu.data.near import NEAR, near_pairs, pieces

texts = st.lists(st.text("ab我们", min_size=1, max_size=12), min_size=2, max_size=12)
several = st.lists(
    st.lists(st.one_of(st.text("ab", max_size=5), st.text("abc", min_size=6, max_size=30)), max_size=3).map(tuple),
    min_size=2, max_size=12,
)  # fmt: skip
pairs = st.lists(st.tuples(st.text("ab", min_size=3, max_size=8), st.text("ab", min_size=3, max_size=8)),
                 min_size=2, max_size=12)  # fmt: skip


def jaccard(one: str, other: str) -> float:
    first, second = set(pieces(one)), set(pieces(other))
    return len(first & second) / len(first | second)


@given(texts, st.sampled_from([0.3, 0.5, 0.8, 1.0]))
def test_every_pair_is_found_that_comparing_all_finds(written: list[str], share: float) -> None:
    asked = [(text,) for text in written]
    found = {
        (later, earlier) for later, earlier, _ in near_pairs(asked, lambda later, earlier: str(earlier), share=share)
    }
    expected = {
        (later, earlier)
        for later in range(len(written)) for earlier in range(later)
        if jaccard(written[later], written[earlier]) >= share - 1e-9
    }  # fmt: skip
    assert found == expected


@given(pairs, st.sampled_from([0.4, 0.7]))
def test_of_several_texts_each_has_to_be_alike(written: list[tuple[str, str]], share: float) -> None:
    found = {(a, b) for a, b, _ in near_pairs(written, lambda later, earlier: str(earlier), share=share)}
    expected = {
        (later, earlier)
        for later in range(len(written)) for earlier in range(later)
        if all(jaccard(x, y) >= share - 1e-9 for x, y in zip(written[later], written[earlier], strict=True))
    }  # fmt: skip
    assert found == expected


@given(several)
def test_what_has_another_number_of_texts_is_not_alike(written: list[tuple[str, ...]]) -> None:
    """Nor is a text with letters like one without any; two without are."""
    found = {(a, b) for a, b, _ in near_pairs(written, lambda later, earlier: str(earlier), share=0.5)}
    filled = [each or ("",) for each in written]
    expected = {
        (later, earlier)
        for later in range(len(filled)) for earlier in range(later)
        if len(filled[later]) == len(filled[earlier])
        and all(
            x == y or (x and y and jaccard(x, y) >= 0.5) for x, y in zip(filled[later], filled[earlier], strict=True)
        )
    }  # fmt: skip
    assert found == expected


def test_one_pair_of_each_kind_and_none_that_nobody_asks_for() -> None:
    same = [("abcdefgh",)] * 4
    assert len(list(near_pairs(same, lambda later, earlier: "any"))) == 3
    assert list(near_pairs(same, lambda later, earlier: None)) == []


def test_long_texts_are_all_found_and_only_likely_ones_are_compared() -> None:
    chance = random.Random(1)
    words = [f"{chance.choice('bdfgklmnprst')}{chance.choice('aeiou')}{n % 90}" for n in range(200)]
    first = [" ".join(chance.choices(words, k=chance.randint(40, 60))) for _ in range(30)]
    edited = [" ".join(word for word in text.split() if chance.random() > n / 150) for n, text in enumerate(first)]
    written = [*first, *edited]
    compared: list[tuple[int, int]] = []

    def kind(later: int, earlier: int) -> str:
        compared.append((later, earlier))
        return str(earlier)

    found = {(later, earlier) for later, earlier, _ in near_pairs([(text,) for text in written], kind)}
    assert found == {(a, b) for a in range(60) for b in range(a) if jaccard(written[a], written[b]) >= NEAR}
    assert 10 < len(found) < 30 and len(compared) < 60


def test_what_many_have_in_common_is_not_what_they_are_found_by() -> None:
    """As of SWAG's sentences, most of which are to be ended behind ``He``, or of questions for the best title."""
    rows = [(f"the {n} of {n * n} met {n * 7}", "he") for n in range(60)]
    compared: list[tuple[int, int]] = []

    def kind(later: int, earlier: int) -> str:
        compared.append((later, earlier))
        return str(earlier)

    assert list(near_pairs([*rows, rows[7]], kind)) == [(60, 7, "7")]
    assert len(compared) < 60


def test_texts_that_say_the_same_have_one_key() -> None:
    assert same_text("  It's GOOD!\n") == same_text("it s good") == "it s good"
    assert same_text("ＡＢＣ，很 好。") == same_text("abc 很好") == "abc很好"
    assert same_text("!?") == "!?" != same_text("?!")
    assert same_text("हिन्दी है") == "हिन्दी है"  # its vowels are marks, not punctuation
    assert same_text("10.5") != same_text("105")
