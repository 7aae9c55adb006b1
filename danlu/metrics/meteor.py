"""METEOR without synonyms: words that are equal, or of one stem, and how far they stand in one order.

What METEOR (Banerjee & Lavie 2005; Lavie & Agarwal 2007) takes for a synonym is in WordNet, which no package brings.
So the figure has a name of its own: it is nltk's with the stages exact and stem, and mostly lower than with all three.

Axes: N items.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from danlu.metrics.bleu import references
from danlu.metrics.languages import CODE, kind_of, language_of
from danlu.metrics.rouge import Tokens, tokens_of
from danlu.metrics.tally import Named, Numbers, Tally, by_sums
from danlu.recipe import Choice
from danlu.ticks import ticking

FIGURE = "meteor_exact_stem"

Units = Literal["english", "words", "characters"]
BY_LANGUAGE: dict[str, Units] = {"en": "english", "ja": "characters", "th": "characters"}


class METEOR(Choice):
    """METEOR's stages exact and stem, without its synonyms: not comparable with a METEOR that has them."""

    main: ClassVar[str] = FIGURE
    """The figure that stands for all of them."""

    language: str | None = Field(default=None, pattern=CODE)
    """The language of the texts: en counts English words and marks, ja and th characters, all else words, those of
    Chinese by jieba. By default it is known by the letters of the references; English stands for all in Latin ones."""
    units: Units | None = None
    """What is counted, by default as the language needs it: english (words and marks by nltk), words (without marks,
    Chinese by jieba), characters (of Chinese; other words whole)."""

    def tally(self, gold: Sequence[str | Sequence[str]], predicted: Sequence[str]) -> Tally:
        """Figure ``meteor_exact_stem``, the mean over items, from 0 to 1; an item without a word in common has 0.

        Of several references the best counts. In ``notes``, ``meteor``: what was counted, and by what.

        Raises:
            InputError: there is no item, lengths differ, or an item has no reference.
        """
        from nltk import __version__
        from nltk.translate.meteor_score import meteor_score

        texts = references(gold, predicted)
        units = self._counted(texts)
        tokens = _english() if units == "english" else tokens_of(units)
        sums_N2 = np.ones((len(texts), 2))
        for item, (all_references, answer) in enumerate(ticking(zip(texts, predicted, strict=True))):
            cut = [tokens(reference) for reference in all_references]
            sums_N2[item, 0] = meteor_score(cut, tokens(answer), wordnet=NoSynonyms())

        def figures(sums_B2: Numbers) -> Named:
            return {FIGURE: sums_B2[:, 0] / sums_B2[:, 1]}

        said = f"nltk {__version__}, {units}, stages exact and stem: no synonyms, as WordNet is not there"
        return by_sums(sums_N2, figures, {"meteor": said})

    def settled(self, gold: Sequence[str | Sequence[str]]) -> METEOR:
        """With the units of all of ``gold``."""
        return self.model_copy(update={"units": self._counted(references(gold, [""] * len(gold)))})

    def _counted(self, texts: Sequence[Sequence[str]]) -> Units:
        language = language_of(texts) if self.language is None else kind_of(self.language)
        return self.units or BY_LANGUAGE.get(language, "words")


class NoSynonyms:
    """What stands where nltk looks for WordNet: no word has a synonym."""

    def synsets(self, word: str) -> tuple[()]:
        """The meanings of a word, whose words are its synonyms."""
        return ()


def _english() -> Tokens:
    """Words and marks, as nltk's ``word_tokenize`` of one sentence."""
    from nltk.tokenize.destructive import NLTKWordTokenizer

    tokenize: Tokens = NLTKWordTokenizer().tokenize
    return tokenize
