"""ROUGE against rouge-score on random texts: its own English, and its arithmetic on our Chinese units."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer
from rouge_score.tokenizers import Tokenizer

from danlu.errors import InputError
from danlu.metrics.rouge import KINDS, ROUGE, Tokens, Units, common_subsequence, tokens_of
from danlu.metrics.tally import overall

WORDS = ["the", "cats", "running", "flies", "U.S.", "3.5", "naïve", "_x_", "今天天气", "很好", "，", "\n", "Don't"]
TEXTS = st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join)


@dataclass
class Cut(Tokenizer):
    tokens: Tokens

    def tokenize(self, text: str) -> list[str]:
        return self.tokens(text)


def expected(scorer: RougeScorer, items: list[tuple[list[str], str]]) -> dict[str, float]:
    found = [scorer.score_multi(references, answer) for references, answer in items]
    return {
        f"{kind}.{name}": sum(getattr(each[kind], field) for each in found) / len(found)
        for kind in KINDS
        for name, field in (("precision", "precision"), ("recall", "recall"), ("f1", "fmeasure"))
    }


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.lists(TEXTS, min_size=1, max_size=3), TEXTS), min_size=1, max_size=4),
    st.sampled_from(["english", "stems", "characters", "words"]),
)
def test_equal_to_rouge_score(items: list[tuple[list[str], str]], units: Units) -> None:
    if units in ("english", "stems"):
        scorer = RougeScorer(list(KINDS), use_stemmer=units == "stems")
    else:
        scorer = RougeScorer(list(KINDS), tokenizer=Cut(tokens_of(units)))
    figures = overall(ROUGE(units=units).tally([gold for gold, _ in items], [answer for _, answer in items]))
    assert figures == pytest.approx(expected(scorer, items))


def test_english_is_rouge_scores_default_and_chinese_is_counted_by_characters() -> None:
    gold, predicted = ["今天天气很好"], ["今天的天气好"]
    tally = ROUGE(language="zh").tally(gold, predicted)
    assert tally.notes == {"rouge.units": "characters"}
    assert overall(tally)["rouge1.f1"] == pytest.approx(5 / 6)
    assert overall(tally)["rougeL.recall"] == pytest.approx(5 / 6)
    english = ROUGE(language="en").tally(gold, predicted)
    assert (english.notes, overall(english)["rouge1.f1"]) == ({"rouge.units": "english"}, 0)


@pytest.mark.parametrize(
    ("units", "tokens"),
    [
        ("english", ["the", "u", "s", "ran", "3", "5", "km"]),
        ("characters", ["the", "u", "s", "今", "天", "ran", "3", "5", "km"]),
        ("words", ["the", "u", "s", "今天", "ran", "3", "5", "km"]),
    ],
)
def test_units(units: Units, tokens: list[str]) -> None:
    assert tokens_of(units)("The U.S., 今天 ran 3.5 km！") == tokens


def test_a_word_of_three_letters_has_no_stem() -> None:
    assert tokens_of("stems")("running was does") == ["run", "was", "doe"]


def test_the_longest_common_subsequence_by_bits_is_that_of_the_table() -> None:
    noise = random.Random(7)
    for _ in range(200):
        first, second = (noise.choices("abcd", k=noise.randrange(90)) for _ in range(2))
        table = [[0] * (len(second) + 1) for _ in range(len(first) + 1)]
        for i, one in enumerate(first):
            for j, other in enumerate(second):
                table[i + 1][j + 1] = table[i][j] + 1 if one == other else max(table[i][j + 1], table[i + 1][j])
        assert common_subsequence(first, second) == table[-1][-1]


@pytest.mark.parametrize(("gold", "predicted"), [("a cat", ""), ("", "a cat"), ("", ""), ("，。", "！")])
def test_an_item_without_a_unit_has_0(gold: str, predicted: str) -> None:
    for language in ("en", "zh"):
        assert set(overall(ROUGE(language=language).tally([gold], [predicted])).values()) == {0}


def test_an_item_without_a_reference_is_an_error() -> None:
    with pytest.raises(InputError, match=r"^item 2: there is no reference$"):
        ROUGE().tally(["a", []], ["a", "b"])


def test_chinese_is_known_by_its_letters() -> None:
    gold, said = ["今天天气很好"], ["今天天气不好"]
    assert ROUGE().tally(gold, said).notes["rouge.units"] == "characters"
    assert overall(ROUGE().tally(gold, said))["rouge1.f1"] == pytest.approx(5 / 6)
    assert ROUGE().tally(["the cats, 很好"], ["the cats"]).notes["rouge.units"] == "english"
