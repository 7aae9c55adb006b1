"""Words of a text against seqeval's strict entities of the same words as tags, and their edges."""

from __future__ import annotations

import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval import metrics
from seqeval.scheme import IOBES

from danlu.errors import InputError
from danlu.metrics.segmentation import Words
from danlu.metrics.tally import overall

CUTS = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=0, max_size=12)


def cut(text: str, ends: list[bool]) -> list[str]:
    words, word = [], ""
    for character, end in zip(text, [*ends, True], strict=True):
        word += character
        if end:
            words, word = [*words, word], ""
    return words


def tags(words: list[str]) -> list[str]:
    return [tag for word in words for tag in (["S"] if len(word) == 1 else ["B", *"I" * (len(word) - 2), "E"])]


@settings(max_examples=60)
@given(st.lists(CUTS, min_size=1, max_size=5))
def test_equal_to_seqeval_on_tags(items: list[list[tuple[bool, bool]]]) -> None:
    texts = ["南京市长江大桥欢迎您来看"[: len(each) + 1].ljust(len(each) + 1, "啊") for each in items]
    gold = [cut(text, [one for one, _ in each]) for text, each in zip(texts, items, strict=True)]
    predicted = [cut(text, [other for _, other in each]) for text, each in zip(texts, items, strict=True)]
    figures = overall(Words().tally(gold, predicted))
    sides = [tags(words) for words in gold], [tags(words) for words in predicted]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, score in (
            ("precision", metrics.precision_score),
            ("recall", metrics.recall_score),
            ("f1", metrics.f1_score),
        ):
            assert figures[name] == pytest.approx(score(*sides, mode="strict", scheme=IOBES, zero_division=0))


def test_both_ends_of_a_word_have_to_be_right() -> None:
    figures = overall(Words().tally([["南京市", "长江", "大桥"]], [["南京", "市长", "江", "大桥"]]))
    assert figures == {"precision": 1 / 4, "recall": 1 / 3, "f1": 2 / 7}


def test_a_text_without_words_counts_nothing() -> None:
    assert overall(Words().tally([[]], [[]])) == {"precision": 0, "recall": 0, "f1": 0}
    assert overall(Words().tally([[], ["好"]], [[], ["好"]]))["f1"] == 1


@pytest.mark.parametrize(
    ("gold", "predicted", "message"),
    [
        (["ab"], ["ac"], r"spell different texts, from character 2 on$"),
        (["ab"], ["a"], r"spell different texts, from character 2 on$"),
        ([], ["a"], r"spell different texts, from character 1 on$"),
        (["a", ""], ["a"], r"a gold word is empty$"),
        ("ab", ["ab"], r"the gold words are one text, not a list of words$"),
    ],
)
def test_words_of_another_text_are_named_with_their_item(gold: list[str], predicted: list[str], message: str) -> None:
    with pytest.raises(InputError, match=rf"^item 2: .*{message}"):
        Words().tally([["a"], gold], [["a"], predicted])
