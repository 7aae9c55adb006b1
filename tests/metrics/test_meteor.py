"""METEOR without synonyms against its formula, where there is one alignment only, and against published scores."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nltk.stem.porter import PorterStemmer

from danlu.errors import InputError
from danlu.metrics.meteor import METEOR
from danlu.metrics.tally import of_each, overall

WORDS = ["cats", "run", "flying", "happily", "danlu", "question", "times", "night"]
STEMS = ["cat", "running", "fly", "happily", "danlu", "questions", "time", "nights"]
"""Of each word another form, or the word itself."""


def expected(reference: list[str], answer: list[str]) -> float:
    """The formula of Lavie & Agarwal 2007, of texts of which no two words have one stem."""
    stem = PorterStemmer().stem
    place_of = {stem(word): place for place, word in enumerate(reference)}
    pairs = [(place, place_of[stem(word)]) for place, word in enumerate(answer) if stem(word) in place_of]
    if not pairs:
        return 0.0
    precision, recall = len(pairs) / len(answer), len(pairs) / len(reference)
    mean = precision * recall / (0.9 * precision + 0.1 * recall)
    parts = 1 + sum(b != (a[0] + 1, a[1] + 1) for a, b in itertools.pairwise(pairs))
    return mean * (1 - 0.5 * (parts / len(pairs)) ** 3)


@st.composite
def texts(draw: st.DrawFn) -> list[str]:
    places = draw(st.lists(st.sampled_from(range(len(WORDS))), unique=True, max_size=8))
    return [(WORDS if draw(st.booleans()) else STEMS)[place] for place in places]


@settings(max_examples=80)
@given(st.lists(st.tuples(texts(), texts()), min_size=1, max_size=4), st.sampled_from(["english", "words"]))
def test_the_figure_is_that_of_the_formula(items: list[tuple[list[str], list[str]]], units: str) -> None:
    gold, answers = ([" ".join(each[side]) for each in items] for side in (0, 1))
    tally = METEOR(units=units).tally(gold, answers)  # type: ignore[arg-type]
    alone = [expected(*each) for each in items]
    assert of_each(tally)["meteor_exact_stem"].tolist() == pytest.approx(alone)
    assert overall(tally) == {"meteor_exact_stem": pytest.approx(math.fsum(alone) / len(alone))}


@pytest.mark.parametrize(("answer", "score"), [  # https://en.wikipedia.org/wiki/METEOR
    ("on the mat sat the cat", 0.5), ("the cat sat on the mat", 0.9977), ("the cat was sat on the mat", 0.9654),
])  # fmt: skip
def test_published_scores(answer: str, score: float) -> None:
    assert round(overall(METEOR().tally(["the cat sat on the mat"], [answer]))["meteor_exact_stem"], 4) == score


def test_synonyms_do_not_count_and_the_notes_say_so() -> None:
    tally = METEOR().tally(["a big automobile"], ["a large car"])
    assert overall(tally)["meteor_exact_stem"] == pytest.approx(expected(["a", "big", "automobile"], ["a", "x", "y"]))
    assert "no synonyms" in tally.notes["meteor"] and "exact and stem" in tally.notes["meteor"]


def test_chinese_is_counted_by_words_or_characters() -> None:
    gold, answer = ["今天天气很好，我们出去走走。"], ["我们今天出去，天气很好"]
    words = METEOR(language="zh").tally(gold, answer)
    assert overall(words)["meteor_exact_stem"] == pytest.approx(
        expected(["今天天气", "很", "好", "我们", "出去", "走走"], ["我们", "今天", "出去", "天气", "很", "好"])
    )
    characters = overall(METEOR(language="zh", units="characters").tally(["天下大势"], ["大势天下"]))
    assert characters["meteor_exact_stem"] == pytest.approx(1 - 0.5 * (2 / 4) ** 3)
    assert overall(METEOR(language="zh").tally(["天下"], ["天下"]))["meteor_exact_stem"] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("reference", "answer", "language"),
    [
        ("今天天气很好，我们出去走走。", "我们今天出去，天气很好", "zh"),
        ("今日は良い天気だ", "今日は天気だ", "ja"),
        ("the cat sat", "a cat, 猫", "en"),
    ],
)
def test_chinese_is_known_by_its_letters(reference: str, answer: str, language: str) -> None:
    found, said = (METEOR(language=each).tally([reference], [answer]) for each in (None, language))
    assert overall(found) == overall(said) and found.notes == said.notes


def test_of_several_references_the_best_counts_and_nothing_in_common_is_0() -> None:
    gold = [["the cat", "a dog ran home"], ["x"], [""]]
    figures = of_each(METEOR().tally(gold, ["a dog ran home", "y", ""]))["meteor_exact_stem"]
    assert figures.tolist() == pytest.approx([expected(["a", "dog", "ran", "home"], ["a", "dog", "ran", "home"]), 0, 0])
    with pytest.raises(InputError, match="item 1: there is no reference"):
        METEOR().tally([[]], ["x"])
