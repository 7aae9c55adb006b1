"""WordPiece, as BERT's tokenizer has it (Wu et al. 2016, arXiv:1609.08144; Devlin et al. 2019, arXiv:1810.04805).

Here it is trained from text; ``vocab_txt.py`` reads what others have trained.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Self

from pydantic import Field, model_validator
from tokenizers import normalizers, trainers

from danlu import log
from danlu.recipe import Choice
from danlu.tokenizers.special import Reserved, SpecialSet
from danlu.tokenizers.tokenizer import Tokenizer
from danlu.tokenizers.vocab_txt import PREFIX, build_wordpiece

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
    sample_bytes: int = Field(default=100_000_000, ge=1)
    """Of a larger corpus, documents of about this many bytes are learned from, all of them held in memory."""
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
        """Learn pieces from ``texts``; the most frequent pair is merged first, as the tokenizers library does it."""
        held = list(texts)
        reserved, normaliser = self._reserved(), _normaliser(lowercase=self.lowercase)
        letters = self._letters(held, normaliser)
        # The library numbers the letters within words by chance, and the order of merges depends on the numbers: so
        # they are first found, without any merge, and then given to it in order, as if they were special tokens.
        found = _learn(held, normaliser, letters, vocab_size=0, min_frequency=1, first=reserved.tokens)
        pieces = sorted(found.keys() - reserved.tokens, key=lambda piece: (piece.startswith(PREFIX), piece))
        vocabulary = _learn(
            held, normaliser, letters, vocab_size=self.vocab_size, min_frequency=self.min_frequency,
            first=[*reserved.tokens, *pieces],
        )  # fmt: skip
        inner = build_wordpiece(vocabulary, normaliser, unknown=UNKNOWN)
        inner.add_special_tokens(reserved.tokens)
        reserved.add_template(inner)
        tokenizer = Tokenizer(inner, reserved.config)
        if tokenizer.vocab_size < self.vocab_size:
            log.say(
                f"tokenizer: the text has pairs for {tokenizer.vocab_size} tokens only, "
                f"of tokenizer.vocab_size {self.vocab_size}"
            )
        return tokenizer

    def _letters(self, texts: list[str], normaliser: normalizers.Normalizer) -> list[str]:
        """The most frequent characters; of those that are alike in this, the first by code point."""
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(normaliser.normalize_str(text))
        ranked = sorted((letter for letter in counts if not letter.isspace()), key=lambda each: (-counts[each], each))
        if len(ranked) > self._known():
            left_out = sum(counts[letter] for letter in ranked[self._known() :])
            log.say(
                f"tokenizer: knows the {self._known()} most frequent of {len(ranked)} characters; "
                f"the others stand {left_out} times in the text (tokenizer.alphabet)"
            )
        return ranked[: self._known()]


def _learn(
    texts: list[str],
    normaliser: normalizers.Normalizer,
    letters: list[str],
    *,
    vocab_size: int,
    min_frequency: int,
    first: list[str],
) -> dict[str, int]:
    """The vocabulary that the tokenizers library learns, ``first`` first; only ``letters`` are known."""
    inner = build_wordpiece({UNKNOWN: 0}, normaliser, unknown=UNKNOWN)
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size, min_frequency=min_frequency, special_tokens=first, initial_alphabet=letters,
        limit_alphabet=len(letters), continuing_subword_prefix=PREFIX, show_progress=False,
    )  # fmt: skip
    inner.train_from_iterator(texts, trainer)
    vocabulary: dict[str, int] = inner.get_vocab(with_added_tokens=False)
    return vocabulary


def _normaliser(*, lowercase: bool) -> normalizers.Normalizer:
    return normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=True, strip_accents=None, lowercase=lowercase
    )
