"""BLEU and chrF as sacreBLEU computes them, from 0 to 100, with its signature.

What is summed over items is sacreBLEU's own statistics of each, as in its significance tests, so that figures of
any choice of items are its figures of those items.

Axes: B choices of items, N items, S sums.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from danlu.errors import InputError
from danlu.metrics.languages import CODE, kind_of, language_of
from danlu.metrics.tally import Named, Numbers, Tally, by_sums, check_pairs
from danlu.optional import optional
from danlu.recipe import Choice
from danlu.ticks import ticking

Tokenization = Literal["13a", "intl", "zh", "ja-mecab", "ko-mecab", "char", "none"]
BY_LANGUAGE: dict[str, Tokenization] = {"zh": "zh", "ja": "ja-mecab", "ko": "ko-mecab", "th": "char"}
"""What sacreBLEU advises, and characters where no spaces are; 13a for all other languages."""
GUESSED: dict[str, Tokenization] = {"zh": "zh", "ja": "char", "th": "char"}
"""By what the letters say; without a package that need not be there when a training ends."""
PACKAGES = {"ja-mecab": "sacrebleu[ja]", "ko-mecab": "sacrebleu[ko]"}


class BLEU(Choice):
    """BLEU (Papineni et al. 2002; Post 2018, arXiv:1804.08771): n-grams of words that a translation shares."""

    main: ClassVar[str] = "bleu"
    """The figure that stands for all of them."""

    language: str | None = Field(default=None, pattern=CODE)
    """The language of the texts: it says how they are cut into words. By default it is known by the letters of the
    references: Chinese (zh) is cut as zh, Japanese and Thai by characters, all else as English."""
    tokenize: Tokenization | None = None
    """How texts are cut into words; by default as the language needs it (zh: Chinese characters apart)."""
    lowercase: bool = False
    """Take upper and lower case for the same."""

    def tally(self, gold: Sequence[str | Sequence[str]], predicted: Sequence[str]) -> Tally:
        """Figure ``bleu``; in ``notes`` sacreBLEU's signature, ``bleu.signature``. Without any match it is 0.

        A gold item is a reference or several.

        Raises:
            InputError: there is no item, lengths differ, or an item has no reference.
        """
        from sacrebleu.metrics.bleu import BLEU as Reference  # noqa: N811 (a class)

        tokenize = self._cut(references(gold, predicted))
        if tokenize in PACKAGES:
            module = "MeCab" if tokenize == "ja-mecab" else "mecab_ko"
            optional(module, purpose=f"BLEU with words by {tokenize}", install=PACKAGES[tokenize])
        metric = Reference(tokenize=tokenize, lowercase=self.lowercase, force=True)
        return _tally(metric, "bleu", gold, predicted)

    def settled(self, gold: Sequence[str | Sequence[str]]) -> BLEU:
        """With the words of all of ``gold``."""
        return self.model_copy(update={"tokenize": self._cut(references(gold, [""] * len(gold)))})

    def _cut(self, texts: Sequence[Sequence[str]]) -> Tokenization:
        said = None if self.language is None else kind_of(self.language)
        known = GUESSED.get(language_of(texts)) if said is None else BY_LANGUAGE.get(said)
        return self.tokenize or known or "13a"


class ChrF(Choice):
    """chrF (Popović 2015): n-grams of characters that a translation shares, of any language alike."""

    main: ClassVar[str] = "chrf"
    """The figure that stands for all of them."""

    word_order: int = Field(default=0, ge=0, le=2)
    """Longest n-gram of words that counts too; 2 is chrF++."""
    lowercase: bool = False
    """Take upper and lower case for the same."""

    def tally(self, gold: Sequence[str | Sequence[str]], predicted: Sequence[str]) -> Tally:
        """Figure ``chrf``; in ``notes`` sacreBLEU's signature, ``chrf.signature``. Without any match it is 0.

        A gold item is a reference or several.

        Raises:
            InputError: there is no item, lengths differ, or an item has no reference.
        """
        from sacrebleu.metrics.chrf import CHRF

        return _tally(CHRF(word_order=self.word_order, lowercase=self.lowercase), "chrf", gold, predicted)


def references(gold: Sequence[str | Sequence[str]], predicted: Sequence[str]) -> list[list[str]]:
    """The references of each item.

    Raises:
        InputError: there is no item, lengths differ, an item has no reference, or something is no text.
    """
    check_pairs(gold, predicted)
    found = [[each] if isinstance(each, str) else list(each) for each in gold]
    for number, (texts, answer) in enumerate(zip(found, predicted, strict=True), 1):
        if not texts:
            raise InputError(f"item {number}: there is no reference")
        if not all(isinstance(text, str) for text in (*texts, answer)):
            raise InputError(f"item {number}: prediction and references must be texts")
    return found


def _tally(metric: Any, name: str, gold: Sequence[str | Sequence[str]], predicted: Sequence[str]) -> Tally:
    texts = references(gold, predicted)
    most = max(len(each) for each in texts)
    streams = [ticking([each[place] if place < len(each) else None for each in texts]) for place in range(most)]
    sums_NS = np.array(metric._extract_corpus_statistics(ticking(predicted), streams), dtype=np.float64)

    def figures(sums_BS: Numbers) -> Named:
        whole = [[int(value) for value in sums_S] for sums_S in np.rint(sums_BS)]
        return {name: np.array([metric._compute_score_from_stats(sums).score for sums in whole])}

    return by_sums(sums_NS, figures, {f"{name}.signature": str(metric.get_signature())})
