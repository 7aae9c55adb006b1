"""ROUGE-1, ROUGE-2 and ROUGE-L (Lin 2004): English equal to ``rouge-score`` 0.1.2, and Chinese, of which that sees 0.

Axes: B choices of items, N items.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from itertools import pairwise
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from danlu.metrics.bleu import references
from danlu.metrics.languages import CODE, kind_of, language_of
from danlu.metrics.tally import Named, Numbers, Tally, by_sums
from danlu.recipe import Choice
from danlu.text.words import Characters, Jieba, Segmenter, word_starts
from danlu.ticks import ticking

Tokens = Callable[[str], list[str]]
Units = Literal["english", "stems", "characters", "words"]

BY_LANGUAGE: dict[str, Units] = {"en": "english"}
KINDS = ("rouge1", "rouge2", "rougeL")
_ENGLISH = re.compile("[a-z0-9]+")
_LETTER = re.compile(r"[^\W_]")


class ROUGE(Choice):
    """How much of a reference's words, pairs of words and order of words a summary has."""

    main: ClassVar[str] = "rougeL.f1"
    """The figure that stands for all of them."""

    language: str | None = Field(default=None, pattern=CODE)
    """The language of the texts: en counts English words, all else characters of Chinese and whole words. By default it
    is known by the letters of the references; English stands for all in Latin letters."""
    units: Units | None = None
    """What is counted, by default as the language needs it: english (runs of a-z and 0-9, rouge-score's default), stems
    (the same by Porter's stemmer, its use_stemmer), characters (of Chinese; other words whole), words (jieba's)."""

    def tally(self, gold: Sequence[str | Sequence[str]], predicted: Sequence[str]) -> Tally:
        """Figures ``rouge1.f1``, ``rouge1.precision``, ``rouge1.recall``, and of ``rouge2`` and ``rougeL``.

        Each is the mean over items, from 0 to 1; an item without a unit on either side has 0. Of several references
        the one with the highest F1 counts, for each kind alone. In ``notes``, ``rouge.units``: what was counted.

        Raises:
            InputError: there is no item, lengths differ, or an item has no reference.
        """
        texts = references(gold, predicted)
        units = self._counted(texts)
        tokens = tokens_of(units)
        sums_NS = np.ones((len(texts), 3 * len(KINDS) + 1))
        for item, (all_references, answer) in enumerate(ticking(zip(texts, predicted, strict=True))):
            answered = tokens(answer)
            scored = [scores(tokens(reference), answered) for reference in all_references]
            for place in range(len(KINDS)):
                sums_NS[item, 3 * place : 3 * place + 3] = max((each[place] for each in scored), key=lambda f: f[2])

        def figures(sums_BS: Numbers) -> Named:
            names = [f"{kind}.{name}" for kind in KINDS for name in ("precision", "recall", "f1")]
            return {name: sums_BS[:, place] / sums_BS[:, -1] for place, name in enumerate(names)}

        return by_sums(sums_NS, figures, {"rouge.units": units})

    def settled(self, gold: Sequence[str | Sequence[str]]) -> ROUGE:
        """With the units of all of ``gold``."""
        return self.model_copy(update={"units": self._counted(references(gold, [""] * len(gold)))})

    def _counted(self, texts: Sequence[Sequence[str]]) -> Units:
        language = language_of(texts) if self.language is None else kind_of(self.language)
        return self.units or BY_LANGUAGE.get(language, "characters")


def tokens_of(units: Units) -> Tokens:
    """The function that cuts a text into what is counted, in lower case and without punctuation."""
    if units == "english":
        return lambda text: _ENGLISH.findall(text.lower())
    if units == "stems":
        return _stems()
    segmenter: Segmenter = Characters() if units == "characters" else Jieba()
    segment = segmenter.make()

    def cut(text: str) -> list[str]:
        text = text.lower()
        starts = word_starts(text, segment)
        words = (text[start:end].strip() for start, end in pairwise([*starts, len(text)]))
        return [word for word in words if _LETTER.search(word)]

    return cut


def scores(reference: Sequence[str], answer: Sequence[str]) -> list[tuple[float, float, float]]:
    """Precision, recall and F1 of ROUGE-1, ROUGE-2 and ROUGE-L."""
    found = []
    for size in (1, 2):
        first, second = _ngrams(reference, size), _ngrams(answer, size)
        found.append(_shares(sum((first & second).values()), first.total(), second.total()))
    found.append(_shares(common_subsequence(reference, answer), len(reference), len(answer)))
    return found


def common_subsequence(first: Sequence[Hashable], second: Sequence[Hashable]) -> int:
    """The length of the longest common subsequence, by the bits of whole numbers (Hyyrö 2004)."""
    places: dict[Hashable, int] = {}
    for place, unit in enumerate(first):
        places[unit] = places.get(unit, 0) | 1 << place
    everything = (1 << len(first)) - 1
    row = everything
    for unit in second:
        matches = row & places.get(unit, 0)
        row = ((row + matches) | (row - matches)) & everything
    return len(first) - row.bit_count()


def _ngrams(tokens: Sequence[str], size: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(tokens[place : place + size]) for place in range(len(tokens) - size + 1))


def _shares(same: int, reference: int, answer: int) -> tuple[float, float, float]:
    if not same:
        return 0.0, 0.0, 0.0
    return same / answer, same / reference, 2 * same / (answer + reference)


def _stems() -> Tokens:
    from nltk.stem.porter import PorterStemmer

    stem = PorterStemmer().stem
    return lambda text: [stem(word) if len(word) > 3 else word for word in _ENGLISH.findall(text.lower())]
