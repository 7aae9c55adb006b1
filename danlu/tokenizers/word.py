"""One token a word, with a token for all others: as word-level models have it, and for comparisons with them.

A ``tokenizer.json`` has no segmenter. So the Chinese words that are learned were cut by one, and those of several
characters are found in a text by the longest match from the left (maximum matching), as added tokens are.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Annotated, Self

from pydantic import Field, SkipValidation, model_validator
from tokenizers import AddedToken, Regex, models, pre_tokenizers
from tokenizers import Tokenizer as Inner

from danlu import log
from danlu.recipe import Choice, OneOf
from danlu.text.words import HAN, Jieba, Segmenter
from danlu.tokenizers.special import Reserved, SpecialSet
from danlu.tokenizers.tokenizer import Tokenizer
from danlu.tokenizers.word_counts import parts

UNKNOWN = "[UNK]"
UNSPACED = "\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u0e01-\u0eff\u1000-\u109f\u1780-\u17ff"
"""Kana, Thai, Lao, Burmese and Khmer, for which there is no dictionary: a letter with its signs is a word."""
_ONIGURUMA_HAN = HAN.replace("\U00020000", r"\x{20000}").replace("\U0003ffff", r"\x{3ffff}")
_LETTER = rf"(?:(?![{_ONIGURUMA_HAN}{UNSPACED}])[\p{{L}}\p{{M}}\p{{N}}_])"
CUT = rf"[{_ONIGURUMA_HAN}]|[{UNSPACED}]\p{{M}}*|{_LETTER}+(?:['’]{_LETTER}+)*|\S"
"""A Chinese character, an unspaced letter, a word with its apostrophes, or a mark."""
MOST_WORDS = 1 << 21
"""Different words that are counted at once."""
CHINESE = re.compile(f"[{HAN}]+")
"""A run of Chinese characters."""


class Word(Choice):
    """Words between spaces and marks, marks one by one, and Chinese words.

    A word that is not in the vocabulary is ``[UNK]``, a Chinese one only where its characters are no words either; what
    is decoded has one space between tokens.
    """

    vocab_size: int = Field(default=30_000, ge=2, le=1_000_000)
    """Tokens, with the special ones: the most frequent words, of those as frequent the first by code point."""
    min_frequency: int = Field(default=2, ge=1)
    """A word that occurs less often is unknown."""
    segmenter: Annotated[SkipValidation[Segmenter], OneOf("segmenter")] = Jieba()
    """What cuts Chinese into the words that are learned."""
    sample_bytes: int = Field(default=1_000_000_000, ge=1)
    """Of a larger corpus, documents of about this many bytes are learned from; memory does not grow with them."""
    special: list[SpecialSet] = Field(default=[])
    """Special tokens besides ``<|endoftext|>`` and ``[UNK]``: ``bert`` to mask words (also for BART), ``t5`` to mask
    spans, ``fim`` to fill in the middle. Of several the first decides what is put around a text or a prompt."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        self._reserved().check_room(self.vocab_size, others=0, named="no words")
        return self

    def _reserved(self) -> Reserved:
        return Reserved.of(self.special, unknown=UNKNOWN)

    def train(self, texts: Iterable[str]) -> Tokenizer:
        """Count the words of ``texts``, which are read once, one at a time."""
        reserved, counts = self._reserved(), self._count(texts)
        ranked = sorted(
            (word for word in counts if counts[word] >= self.min_frequency), key=lambda each: (-counts[each], each)
        )
        words = ranked[: self.vocab_size - len(reserved.tokens)]
        vocabulary = {token: id for id, token in enumerate([*reserved.tokens, *words])}
        inner = Inner(models.WordLevel(vocabulary, unk_token=UNKNOWN))
        inner.pre_tokenizer = _cut()
        chinese = [word for word in words if len(word) > 1 and CHINESE.fullmatch(word)]
        inner.add_tokens([AddedToken(word, normalized=False, special=False) for word in chinese])
        inner.add_special_tokens(reserved.tokens)
        reserved.add_template(inner)
        known, every = sum(counts[word] for word in words), counts.total()
        log.say(f"tokenizer: {len(words):,} words, which are {known / max(1, every):.2%} of those of the text")
        return Tokenizer(inner, reserved.config)

    def _count(self, texts: Iterable[str]) -> Counter[str]:
        """How often each word occurs, or too little, which is told."""
        cut = _cut()
        counts, rare = count_words(texts, lambda text: (word for word, _ in cut.pre_tokenize_str(text)), self.segmenter)
        if rare >= self.min_frequency:
            log.say(f"tokenizer: there are very many words; each may be counted up to {rare} times too seldom")
        return counts


def count_words(
    texts: Iterable[str], cut: Callable[[str], Iterable[str]], segmenter: Segmenter | None
) -> tuple[Counter[str], int]:
    """How often each word occurs, and by how much that may be too little, where there are very many.

    Manku & Motwani 2002 (lossy counting): when the table is full, the rarest are forgotten.

    Args:
        cut: from a text to its words.
        segmenter: what cuts runs of Chinese characters, which ``cut`` is then not given; None: ``cut`` is.
    """
    segment, counts, rare = None if segmenter is None else segmenter.make(), Counter[str](), 0
    for text in texts:
        for part in parts(text):
            counts.update(cut(part if segment is None else CHINESE.sub(" ", part)))
            if segment is not None:
                for run in CHINESE.findall(part):
                    counts.update(segment(run))
        while len(counts) > MOST_WORDS:
            rare += 1
            counts = Counter({word: count - 1 for word, count in counts.items() if count > 1})
    return counts, rare


def _cut() -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split(Regex(CUT), "isolated")])
