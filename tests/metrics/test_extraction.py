"""SQuAD's and CMRC's scores: cases with the values that their own scripts print, and rules written out again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.errors import InputError
from danlu.metrics.extraction import CMRC, SQuAD, best_threshold, cmrc_units, longest_run
from danlu.metrics.tally import overall

SQUAD = [  # gold answers, prediction, exact match and F1 of evaluate-v1.1.py, and of evaluate-v2.0.py
    (["Denver Broncos"], "the Denver Broncos!", 1, 1, 1, 1),
    (["Denver Broncos"], "Broncos", 0, 2 / 3, 0, 2 / 3),
    (["Santa Clara, California", "Levi's Stadium"], "Levis stadium", 1, 1, 1, 1),
    (["a cat and a dog"], "cat dog dog", 0, 4 / 6, 0, 4 / 6),
    (["24–10"], "24-10", 0, 0, 0, 0),  # an en dash is no punctuation of ASCII; a hyphen is
    (["another"], "an other", 0, 0, 0, 0),
    (["x–the–y"], "x– –y", 1, 1, 1, 1),  # where an article was are two words
    (["gold"], "", 0, 0, 0, 0),
    (["the"], "a", 1, 0, 1, 1),  # nothing is left of either
    (["the"], "cat", 0, 0, 0, 0),
    (["É cole"], "é COLE", 1, 1, 1, 1),
    (["New York", "New York City"], "New York City area", 0, 6 / 7, 0, 6 / 7),
]

CMRC_CASES = [  # gold answers, prediction, exact match and F1 of cmrc2018_evaluate.py
    (["北京"], "北京", 1, 1),
    (["北京"], "北京。", 1, 1),
    (["《红楼梦》"], "红楼梦", 1, 1),
    (["中国北京市"], "北京", 0, 4 / 7),
    (["中国北京"], "中华北京", 0, 4 / 8),  # the longest run, not all that is common
    (["北京", "上海市"], "上海", 0, 4 / 5),
    (["光荣和ω-force"], "光荣和Ω-Force", 1, 1),
    (["光荣和ω-force"], "光荣", 0, 4 / 6),
    (["1998年"], "1998", 0, 2 / 3),  # a number is one unit
    (["98年"], "1998年", 0, 2 / 4),
    (["don't stop吧"], "don't吧", 0, 4 / 7),  # NLTK: do, n't
    (["他说……好"], "他说好", 0, 4 / 7),  # …… stays, though the script's list has it
    (["北京"], "", 0, 0),
    (["，"], "。", 1, 0),  # nothing is left of either
    (["北 京"], "北京", 0, 1),
]


@pytest.mark.parametrize(("gold", "predicted", "exact_1", "f1_1", "exact_2", "f1_2"), SQUAD)
def test_squad_scores_as_its_scripts_do(
    gold: list[str], predicted: str, exact_1: float, f1_1: float, exact_2: float, f1_2: float
) -> None:
    first = overall(SQuAD(version="1.1").tally([gold], [predicted]))
    assert first == pytest.approx({"exact_match": exact_1, "f1": f1_1})
    second = overall(SQuAD().tally([gold], [predicted]))
    assert (second["exact_match"], second["f1"]) == pytest.approx((exact_2, f1_2))
    assert (second["has_answer.exact_match"], second["has_answer.f1"]) == pytest.approx((exact_2, f1_2))
    assert "no_answer.f1" not in second


def test_questions_without_an_answer_stand_apart() -> None:
    gold = [["a cat"], [], [""], [], ["dog", "the"]]
    figures = overall(SQuAD().tally(gold, ["cat", "", "the", "cat", "dogs"]))
    assert figures == pytest.approx(
        {
            "exact_match": 3 / 5,
            "f1": 3 / 5,
            "has_answer.exact_match": 1 / 2,
            "has_answer.f1": 1 / 2,
            "no_answer.exact_match": 2 / 3,
            "no_answer.f1": 2 / 3,
        }
    )


def test_the_threshold_is_the_one_under_which_f1_is_highest() -> None:
    gold = [["a cat"], [], ["dog"], [], ["one bird"], ["fish"]]
    answers, doubts = ["cat", "mat", "dog", "", "bird", "x"], [0.1, 0.9, 0.4, 0.05, 0.5, 0.95]

    def f1(threshold: float) -> float:
        chosen = ["" if doubt > threshold else answer for answer, doubt in zip(answers, doubts, strict=True)]
        return overall(SQuAD().tally(gold, chosen))["f1"]

    threshold = best_threshold(gold, answers, doubts)
    assert threshold == 0.5
    assert f1(threshold) == max(f1(value) for value in [-1.0, *doubts])


def test_equal_doubts_are_on_one_side_of_the_threshold() -> None:
    """The script would stop between the two and count what no threshold can reach."""
    assert best_threshold([["cat"], [], []], ["cat", "x", "y"], [0.5, 0.5, 0.5]) == float("-inf")
    assert best_threshold([["cat"], ["dog"], []], ["cat", "dog", "y"], [0.5, 0.5, 0.5]) == 0.5
    with pytest.raises(InputError, match=r"^1 doubts for 2 questions: item 2 is missing in the doubts$"):
        best_threshold([["cat"], []], ["cat", ""], [0.5])
    with pytest.raises(InputError, match=r"^item 2: the doubt must be a number; got nan$"):
        best_threshold([["cat"], []], ["cat", ""], [0.5, float("nan")])


@pytest.mark.parametrize(("gold", "predicted", "exact", "f1"), CMRC_CASES)
def test_cmrc_scores_as_its_script_does(gold: list[str], predicted: str, exact: float, f1: float) -> None:
    figures = overall(CMRC().tally([gold], [predicted]))
    assert figures == pytest.approx({"exact_match": exact, "f1": f1, "average": (exact + f1) / 2})


def test_figures_are_means_over_items() -> None:
    figures = overall(CMRC().tally([gold for gold, *_ in CMRC_CASES], [answer for _, answer, *_ in CMRC_CASES]))
    assert figures["f1"] == pytest.approx(sum(case[3] for case in CMRC_CASES) / len(CMRC_CASES))


def test_units_are_chinese_characters_and_words_between_them() -> None:
    assert cmrc_units(" 《GPT-4》于2023年3月，it's New. ") == [
        "gpt4", "于", "2023", "年", "3", "月", "it", "'s", "new", ".",
    ]  # fmt: skip


@given(st.lists(st.sampled_from("abc"), max_size=10), st.lists(st.sampled_from("abc"), max_size=10))
def test_the_longest_run_is_the_longest_that_both_have(first: list[str], second: list[str]) -> None:
    one, other = "".join(first), "".join(second)
    runs = {one[start:end] for start in range(len(one) + 1) for end in range(start, len(one) + 1)}
    assert longest_run(first, second) == max(len(run) for run in runs if run in other)


def test_answers_of_another_form_are_named_with_their_item() -> None:
    with pytest.raises(InputError, match=r"^item 2: there is no gold answer; version 2.0 has questions without answer"):
        SQuAD(version="1.1").tally([["a"], []], ["a", ""])
    with pytest.raises(InputError, match=r"^item 1: there is no gold answer$"):
        CMRC().tally([[]], ["好"])
    for metric in (SQuAD(), CMRC()):
        with pytest.raises(InputError, match=r"^item 1: the gold answers must be a list of texts$"):
            metric.tally(["cat"], ["cat"])
        with pytest.raises(InputError, match=r"^item 1: the predicted answer must be text; of no answer it is empty$"):
            metric.tally([["cat"]], [None])  # type: ignore[list-item]
