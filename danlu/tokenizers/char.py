"""One token a character: for small experiments, and for comparisons with other character-level models."""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import Tokenizer as Inner
from tokenizers import decoders, models

from danlu.recipe import Choice
from danlu.tokenizers.tokenizer import END_OF_TEXT, UNKNOWN, Tokenizer, tokenizer_config


class Char(Choice):
    """The characters (Unicode code points) of the training text, in code point order.

    A character that was not there is encoded as ``<|unknown|>`` and decoded as U+FFFD.
    """

    @property
    def sample_bytes(self) -> None:
        """No sample: a character of any document must be known."""
        return None

    def train(self, texts: Iterable[str]) -> Tokenizer:
        """Collect the characters of ``texts``."""
        characters: set[str] = set()
        for text in texts:
            characters.update(text)
        vocabulary = {token: id for id, token in enumerate([END_OF_TEXT, UNKNOWN, *sorted(characters)])}
        # BPE without merges splits a text into characters, with none of WordLevel's cost a word.
        inner = Inner(models.BPE(vocab=vocabulary, merges=[], unk_token=UNKNOWN, fuse_unk=False))
        inner.add_special_tokens([END_OF_TEXT, UNKNOWN])
        inner.decoder = decoders.Fuse()
        config = tokenizer_config(bos_token=END_OF_TEXT, eos_token=END_OF_TEXT, unk_token=UNKNOWN)
        return Tokenizer(inner, config)
