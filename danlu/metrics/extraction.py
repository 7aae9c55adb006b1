"""Metrics of extractive question answering: SQuAD's exact match and F1, and CMRC 2018's of Chinese.

Both follow the data sets' own scripts; as shares from 0 to 1, where those print 0 to 100. A gold item is all its
answers, of which the one nearest to the prediction counts.

Axes: B choices of items, N items.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from danlu.errors import InputError
from danlu.metrics.tally import Named, Numbers, Tally, by_sums, check_lengths, check_pairs, of_each, share
from danlu.recipe import Choice
from danlu.ticks import ticking

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_CHINESE = re.compile("[\u4e00-\u9fa5]")
_CMRC_MARKS = frozenset("-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』")
"""What CMRC's script drops. Its list names …… as well, which never matches as it looks at single characters."""


class SQuAD(Choice):
    """Answers that are parts of a text, in languages with spaces (Rajpurkar et al. 2016, arXiv:1606.05250)."""

    version: Literal["1.1", "2.0"] = "2.0"
    """2.0 has questions without an answer (Rajpurkar et al. 2018, arXiv:1806.03822): gold has none, or the empty one,
    and the empty prediction is right."""

    def tally(self, gold: Sequence[Sequence[str]], predicted: Sequence[str]) -> Tally:
        """Figures ``exact_match``, ``f1``; of 2.0 also ``has_answer.…`` and ``no_answer.…`` of either kind of question.

        Both compare words in lower case without punctuation and articles. Where one side has no word left, F1 is 0 in
        1.1, and in 2.0 it is 1 if the other has none either. Answers that are nothing but punctuation and articles
        are none in 2.0.

        Raises:
            InputError: there is no item, lengths differ, or in 1.1 an item has no answer.
        """
        if self.version == "1.1":
            return _best(gold, predicted, _exact_words, _f1_words, hint="; version 2.0 has questions without answer")
        check_pairs(gold, predicted)
        check_answers(gold, predicted)
        answers = [[answer for answer in each if squad_words(answer)] or [""] for each in gold]
        # The script asks the file whether there is an answer, before it drops those that are none.
        has_N = np.array([any(each) for each in gold], np.float64)
        scores_N2 = _scores(answers, predicted, _exact_words, _f1_words_or_none)
        sums_N6 = np.concatenate([scores_N2, scores_N2 * has_N[:, None], np.stack([has_N, 1 - has_N], axis=1)], axis=1)

        def figures(sums_B6: Numbers) -> Named:
            has_B, none_B = sums_B6[:, 4], sums_B6[:, 5]
            found = {}
            for place, name in enumerate(("exact_match", "f1")):
                all_B, with_B = sums_B6[:, place], sums_B6[:, 2 + place]
                found[name] = share(all_B, has_B + none_B)
                found[f"has_answer.{name}"] = np.where(has_B > 0, share(with_B, has_B), np.nan)
                found[f"no_answer.{name}"] = np.where(none_B > 0, share(all_B - with_B, none_B), np.nan)
            return found

        return by_sums(sums_N6, figures)


class CMRC(Choice):
    """Answers that are parts of a Chinese text (Cui et al. 2019, arXiv:1810.07366)."""

    no_answer: bool = False
    """Whether gold may have no answer, where the empty prediction is right, as in SQuAD 2.0; CMRC 2018 has no such."""

    def tally(self, gold: Sequence[Sequence[str]], predicted: Sequence[str]) -> Tally:
        """Figures ``exact_match``, ``f1`` and ``average``, their mean.

        F1 is of the longest run of units that both have, where a unit is a Chinese character or a word of NLTK's
        tokenizer between them. What stands between two Chinese characters is taken for one sentence, as NLTK's
        division into sentences needs data that its package lacks: where several English sentences are in an answer,
        their inner full stops stay with the word before.

        Raises:
            InputError: there is no item, lengths differ, or without ``no_answer`` an item has no answer.
        """
        if self.no_answer:
            gold = [answers or [""] for answers in gold]
        tally = _best(gold, predicted, _exact_characters, _f1_run_or_none if self.no_answer else _f1_run, hint="")

        def figures(times_BN: Numbers) -> Named:
            found = tally.figures(times_BN)
            return {**found, "average": (found["exact_match"] + found["f1"]) / 2}

        return Tally(tally.items, figures)


def best_threshold(
    gold: Sequence[Sequence[str]],
    answers: Sequence[str],
    doubts: Sequence[float],
    *,
    metric: SQuAD | CMRC = SQuAD(),  # noqa: B008 (a frozen record)
) -> float:
    """The highest doubt with which an answer is still given, so that the F1 of ``metric`` is the highest.

    What was doubted more is to be answered with the empty text; of equal ones the lowest threshold is taken, and it
    is minus infinity where every question is better left without an answer. Unlike in SQuAD's script, questions with
    equal doubts are on one side. Find it on other questions than those that are scored.

    Args:
        answers: the best answer to each question, even where the model would rather give none.
        doubts: how likely there is no answer, on any scale.
        metric: one that knows questions without an answer.

    Raises:
        InputError: as for the metric; or a doubt is not a number.
    """
    check_lengths(doubts, len(gold), what="doubts", of="questions")
    for number, doubt in enumerate(doubts, 1):
        if doubt != doubt:
            raise InputError(f"item {number}: the doubt must be a number; got {doubt}")
    given_N = of_each(metric.tally(gold, answers))["f1"]
    left_out_N = of_each(metric.tally(gold, [""] * len(gold)))["f1"]
    values_U, unique_N = np.unique(np.asarray(doubts, dtype=np.float64), return_inverse=True)
    gains_U = np.cumsum(np.bincount(unique_N.reshape(-1), given_N - left_out_N))
    return float([-np.inf, *values_U][int(np.argmax([0.0, *gains_U]))])


def squad_words(text: str) -> list[str]:
    """Words in lower case without punctuation and articles."""
    return _ARTICLES.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split()


def cmrc_units(text: str) -> list[str]:
    """Chinese characters, and the words of what stands between them, in lower case without CMRC's marks."""
    from nltk.tokenize.destructive import NLTKWordTokenizer

    units, other = [], ""
    tokenizer = NLTKWordTokenizer()
    for character in _without_marks(text):
        if _CHINESE.match(character):
            units += [*tokenizer.tokenize(other), character] if other else [character]
            other = ""
        else:
            other += character
    return [*units, *tokenizer.tokenize(other)]


def longest_run(first: Sequence[str], second: Sequence[str]) -> int:
    """How many units the longest run has that both have."""
    places: dict[str, list[int]] = {}
    for place, unit in enumerate(second):
        places.setdefault(unit, []).append(place)
    best = 0
    before: dict[int, int] = {}  # how long the run is that ends at each place of ``second``; as difflib has it
    for unit in first:
        before = {place: before.get(place - 1, 0) + 1 for place in places.get(unit, ())}
        best = max(best, *before.values()) if before else best
    return best


def check_answers(gold: Sequence[Sequence[str]], predicted: Sequence[str]) -> None:
    """Raise InputError where an item's answers are not a list of texts or its prediction is no text."""
    for number, (answers, answer) in enumerate(zip(gold, predicted, strict=True), 1):
        if isinstance(answers, str) or not all(isinstance(each, str) for each in answers):
            raise InputError(f"item {number}: the gold answers must be a list of texts")
        if not isinstance(answer, str):
            raise InputError(f"item {number}: the predicted answer must be text; of no answer it is empty")


Compare = Callable[[str, str], float]


def _best(gold: Sequence[Sequence[str]], predicted: Sequence[str], exact: Compare, f1: Compare, *, hint: str) -> Tally:
    """A tally of the means of two comparisons with the nearest gold answer."""
    check_pairs(gold, predicted)
    check_answers(gold, predicted)
    for number, answers in enumerate(gold, 1):
        if not answers:
            raise InputError(f"item {number}: there is no gold answer{hint}")

    def figures(sums_B3: Numbers) -> Named:
        return {name: sums_B3[:, place] / sums_B3[:, 2] for place, name in enumerate(("exact_match", "f1"))}

    scores_N2 = _scores(gold, predicted, exact, f1)
    return by_sums(np.concatenate([scores_N2, np.ones((len(gold), 1))], axis=1), figures)


def _scores(gold: Sequence[Sequence[str]], predicted: Sequence[str], *comparisons: Compare) -> Numbers:
    return np.array(
        [
            [max(compare(right, answer) for right in answers) for compare in comparisons]
            for answers, answer in ticking(zip(gold, predicted, strict=True))
        ],
        dtype=np.float64,
    )


def _exact_words(right: str, answer: str) -> float:
    return float(squad_words(right) == squad_words(answer))


def _f1_words(right: str, answer: str) -> float:
    first, second = squad_words(right), squad_words(answer)
    return _f1(sum((Counter(first) & Counter(second)).values()), len(first), len(second))


def _f1_words_or_none(right: str, answer: str) -> float:
    first, second = squad_words(right), squad_words(answer)
    if not first or not second:
        return float(first == second)
    return _f1(sum((Counter(first) & Counter(second)).values()), len(first), len(second))


def _exact_characters(right: str, answer: str) -> float:
    return float(_without_marks(right) == _without_marks(answer))


def _f1_run(right: str, answer: str) -> float:
    first, second = cmrc_units(right), cmrc_units(answer)
    return _f1(longest_run(first, second), len(first), len(second))


def _f1_run_or_none(right: str, answer: str) -> float:
    return _f1_run(right, answer) if right and answer else float(right == answer)


def _f1(same: int, first: int, second: int) -> float:
    return 2 * same / (first + second) if same else 0.0


def _without_marks(text: str) -> str:
    return "".join(character for character in text.lower().strip() if character not in _CMRC_MARKS)
