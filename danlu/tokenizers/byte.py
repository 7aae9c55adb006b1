"""One token a byte (Xue et al. 2022, ByT5, arXiv:2105.13626): nothing to learn, and any text comes back."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import Field
from tokenizers import Tokenizer as Inner
from tokenizers import decoders, models, pre_tokenizers

from danlu.recipe import Choice
from danlu.tokenizers.special import Reserved, SpecialSet
from danlu.tokenizers.spelling import BYTE_LETTERS
from danlu.tokenizers.tokenizer import Tokenizer


class Byte(Choice):
    """The 256 bytes, in order, behind the special tokens: a byte's token is its value and how many of those there are.

    Chinese takes three tokens a character.
    """

    special: list[SpecialSet] = Field(default=[])
    """Special tokens besides ``<|endoftext|>``: ``bert`` to mask words (also for BART), ``t5`` to mask spans, ``fim``
    to fill in the middle. Of several the first decides what is put around a text or a prompt."""

    @property
    def sample_bytes(self) -> int:
        """As little as may be: no text is read."""
        return 1

    def train(self, texts: Iterable[str]) -> Tokenizer:
        """The same whatever ``texts`` are."""
        reserved = Reserved.of(self.special)
        vocabulary = {token: id for id, token in enumerate([*reserved.tokens, *BYTE_LETTERS])}
        inner = Inner(models.BPE(vocabulary, []))
        inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        inner.decoder = decoders.ByteLevel()
        inner.add_special_tokens(reserved.tokens)
        reserved.add_template(inner)
        return Tokenizer(inner, reserved.config)
