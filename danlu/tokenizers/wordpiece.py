"""WordPiece, as BERT's tokenizer has it (Wu et al. 2016, arXiv:1609.08144; Devlin et al. 2019, arXiv:1810.04805).

Here it is trained from text; ``vocab_txt.py`` reads what others have trained.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator
from tokenizers import normalizers, pre_tokenizers

from danlu import log
from danlu.recipe import Choice
from danlu.tokenizers.merges import learn_merges
from danlu.tokenizers.special import Reserved, SpecialSet
from danlu.tokenizers.tokenizer import Tokenizer
from danlu.tokenizers.vocab_txt import PREFIX, build_wordpiece
from danlu.tokenizers.word_counts import CODE_POINTS, WordCounts, parts

UNKNOWN = "[UNK]"


class WordPiece(Choice):
    """BERT's WordPiece: words and punctuation apart, every Chinese character a word, spaces not kept.

    A word with a character that is not known is ``[UNK]`` as a whole, and what is decoded has single spaces and, where
    ``lowercase``, neither capitals nor accents: for models that read, not for those that write.
    """

    vocab_size: int = Field(default=8192, ge=8, le=1_000_000)
    """Tokens, with the special ones; a small text may not have so many pairs to merge."""
    lowercase: bool = True
    """Whether capitals and accents are dropped, as for BERT's uncased models."""
    alphabet: int | None = Field(default=None, ge=1)
    """Characters that are known, the most frequent ones; by default a third of ``vocab_size``. Each may take two
    tokens, for the beginning of a word and for within."""
    min_frequency: int = Field(default=2, ge=1)
    """A pair is merged only if it occurs at least this often."""
    sample_bytes: int = Field(default=200_000_000, ge=1, le=1_000_000_000)
    """Of a larger corpus, documents of about this many bytes are learned from. Where neither spaces nor Chinese
    characters part words, training takes up to 10 times as much memory, in other languages far less."""
    special: list[SpecialSet] = Field(default=["bert"])
    """Special tokens besides ``<|endoftext|>`` and ``[UNK]``: ``bert`` to mask words (also for BART), ``t5`` to mask
    spans, ``fim`` to fill in the middle. Of several the first decides what is put around a text or a prompt."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        known = self._known()
        self._reserved().check_room(self.vocab_size, others=2 * known, named=f"two for each of {known} characters")
        return self

    def _known(self) -> int:
        return self.alphabet or self.vocab_size // 3

    def _reserved(self) -> Reserved:
        return Reserved.of(self.special, unknown=UNKNOWN)

    def train(self, texts: Iterable[str]) -> Tokenizer:
        """Learn pieces from ``texts``, which are read once, one at a time.

        The most frequent pair is merged first, of pairs that are as frequent that of the lower ids: the same texts, in
        any order, give the same pieces. As in the tokenizers library, a character that is not known is left out of its
        word while pieces are learned.
        """
        reserved, normaliser = self._reserved(), _normaliser(lowercase=self.lowercase)
        cut, counts = pre_tokenizers.BertPreTokenizer(), WordCounts()
        for text in texts:
            for part in parts(text):
                counts.add(word for word, _ in cut.pre_tokenize_str(normaliser.normalize_str(part)))
        first, within = counts.letters()
        letters = self._known_of(first + within)
        spelled = [*reserved.tokens, *letters, *(f"{PREFIX}{letter}" for letter in letters if letter in within)]
        words = counts.symbols_of_letters(_ids(letters, spelled), _ids(letters, spelled, prefix=PREFIX))
        with log.progress("tokenizer: merging", self.vocab_size, "tokens") as progress:
            learn_merges(
                words, spelled, vocab_size=self.vocab_size, min_frequency=self.min_frequency, join=_join,
                tell=progress.update,
            )  # fmt: skip
        inner = build_wordpiece({token: id for id, token in enumerate(spelled)}, normaliser, unknown=UNKNOWN)
        inner.add_special_tokens(reserved.tokens)
        reserved.add_template(inner)
        tokenizer = Tokenizer(inner, reserved.config)
        if tokenizer.vocab_size < self.vocab_size:
            log.say(
                f"tokenizer: the text has pairs for {tokenizer.vocab_size} tokens only, "
                f"of tokenizer.vocab_size {self.vocab_size}"
            )
        return tokenizer

    def _known_of(self, counts: Counter[str]) -> list[str]:
        """The most frequent characters, by code point; of those as frequent, the first ones."""
        ranked = sorted(counts, key=lambda each: (-counts[each], each))
        if len(ranked) > self._known():
            left_out = sum(counts[letter] for letter in ranked[self._known() :])
            log.say(
                f"tokenizer: knows the {self._known()} most frequent of {len(ranked)} characters; "
                f"the others stand {left_out} times in the text (tokenizer.alphabet)"
            )
        return sorted(ranked[: self._known()])


def _ids(letters: list[str], spelled: list[str], *, prefix: str = "") -> NDArray[np.int32]:
    """By code point, the place of ``prefix`` and that letter in ``spelled``; -1 where it is not there."""
    place = {token: id for id, token in enumerate(spelled)}
    ids = np.full(CODE_POINTS, -1, dtype=np.int32)
    for letter in letters:
        ids[ord(letter)] = place.get(f"{prefix}{letter}", -1)
    return ids


def _join(left: str, right: str) -> str:
    return left + right.removeprefix(PREFIX)


def _normaliser(*, lowercase: bool) -> normalizers.Normalizer:
    return normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=True, strip_accents=None, lowercase=lowercase
    )
