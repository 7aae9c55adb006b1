"""Byte-level byte-pair encoding: every text can be encoded, and comes back exactly.

Sennrich et al. 2016 (BPE); Radford et al. 2019 (on bytes).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

import numpy as np
from pydantic import Field, model_validator
from tokenizers import Regex, decoders, models, pre_tokenizers
from tokenizers import Tokenizer as Inner

from danlu import log
from danlu.recipe import Choice
from danlu.tokenizers.merges import learn_merges
from danlu.tokenizers.special import Reserved, SpecialSet
from danlu.tokenizers.spelling import BYTE_LETTERS
from danlu.tokenizers.tokenizer import Tokenizer
from danlu.tokenizers.word_counts import WordCounts, parts

WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""Merges never cross these: words with the space before them, runs of Chinese, digits by threes, punctuation.

It is Llama 3's pattern (GPT-4's but for ``\\s+$``), because converters such as llama.cpp know it.
"""


class BPE(Choice):
    """Byte-level BPE."""

    vocab_size: int = Field(default=8192, ge=257, le=1_000_000)
    """Tokens, with the 256 bytes and the special ones; a small text may not have so many pairs to merge."""
    min_frequency: int = Field(default=2, ge=1)
    """A pair is merged only if it occurs at least this often."""
    sample_bytes: int = Field(default=200_000_000, ge=1, le=1_000_000_000)
    """Of a larger corpus, documents of about this many bytes are learned from. Training takes up to 16 times as much
    memory, in languages with spaces far less."""
    special: list[SpecialSet] = Field(default=[])
    """Special tokens besides ``<|endoftext|>``: ``bert`` to mask words (also for BART), ``t5`` to mask spans, ``fim``
    to fill in the middle. Of several the first decides what is put around a text or a prompt."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        self._reserved().check_room(self.vocab_size, others=256, named="256 bytes")
        return self

    def _reserved(self) -> Reserved:
        return Reserved.of(self.special)

    def train(self, texts: Iterable[str]) -> Tokenizer:
        """Learn merges from ``texts``, which are read once, one at a time.

        The same texts, in any order, give the same merges: of pairs that are as frequent, that of the lower ids is
        merged first.
        """
        reserved, cut = self._reserved(), pre_tokenizers.Split(Regex(WORDS), behavior="isolated")
        counts = WordCounts()
        for text in texts:
            for part in parts(text):
                counts.add(word for word, _ in cut.pre_tokenize_str(part))
        spelled = [*reserved.tokens, *sorted(BYTE_LETTERS)]
        words = counts.symbols(np.array([spelled.index(letter) for letter in BYTE_LETTERS], dtype=np.int32))
        with log.progress("tokenizer: merging", self.vocab_size, "tokens") as progress:
            merges = learn_merges(
                words, spelled, vocab_size=self.vocab_size, min_frequency=self.min_frequency, tell=progress.update
            )
        inner = Inner(models.BPE({token: id for id, token in enumerate(spelled)}, merges))
        inner.pre_tokenizer = pre_tokenizers.Sequence(
            [cut, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
        )
        inner.decoder = decoders.ByteLevel()
        inner.add_special_tokens(reserved.tokens)
        reserved.add_template(inner)
        tokenizer = Tokenizer(inner, reserved.config)
        if tokenizer.vocab_size < self.vocab_size:
            log.say(
                f"tokenizer: the text has pairs for {tokenizer.vocab_size} tokens only, "
                f"of tokenizer.vocab_size {self.vocab_size}"
            )
        return tokenizer
