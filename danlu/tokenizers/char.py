"""One token a character: for small experiments, and for comparisons with other character-level models."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import Field
from tokenizers import Tokenizer as Inner
from tokenizers import decoders, models

from danlu.recipe import Choice
from danlu.tokenizers.special import Reserved, SpecialSet
from danlu.tokenizers.tokenizer import UNKNOWN, Tokenizer


class Char(Choice):
    """The characters (Unicode code points) of the training text, in code point order.

    A character that was not there is encoded as ``<|unknown|>`` and decoded as U+FFFD.
    """

    special: list[SpecialSet] = Field(default=[])
    """Special tokens besides ``<|endoftext|>``: ``bert`` to mask words (also for BART), ``t5`` to mask spans, ``fim``
    to fill in the middle. Of several the first decides what is put around a text or a prompt."""

    @property
    def sample_bytes(self) -> None:
        """No sample: a character of any document must be known."""
        return None

    def train(self, texts: Iterable[str]) -> Tokenizer:
        """Collect the characters of ``texts``."""
        characters: set[str] = set()
        for text in texts:
            characters.update(text)
        reserved = Reserved.of(self.special, unknown=UNKNOWN)
        vocabulary = {token: id for id, token in enumerate([*reserved.tokens, *sorted(characters)])}
        # BPE without merges splits a text into characters, with none of WordLevel's cost a word.
        inner = Inner(models.BPE(vocab=vocabulary, merges=[], unk_token=UNKNOWN, fuse_unk=False))
        inner.add_special_tokens(reserved.tokens)
        inner.decoder = decoders.Fuse()
        reserved.add_template(inner)
        return Tokenizer(inner, reserved.config)
