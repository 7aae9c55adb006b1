"""Unigram pieces: a text is its likeliest sequence of them (Kudo 2018, arXiv:1804.10959); learned by SentencePiece.

Bytes stand for characters that have no piece, and spaces stay spaces in the pieces, so that any text comes back:
SentencePiece's own ``▁`` would make a space of one that is written in the text. ``spiece.py`` writes its file.
"""

from __future__ import annotations

import io
import re
import string
from collections.abc import Iterable, Iterator
from typing import Self

from pydantic import Field, model_validator
from tokenizers import Tokenizer as Inner
from tokenizers import decoders, models, pre_tokenizers

from danlu import log
from danlu.errors import InputError
from danlu.optional import optional
from danlu.recipe import Choice
from danlu.tokenizers.sentencepiece import NORMAL, SPACE, SentencePieceFile
from danlu.tokenizers.special import Reserved, SpecialSet
from danlu.tokenizers.spiece import GRID
from danlu.tokenizers.tokenizer import Tokenizer
from danlu.tokenizers.word_counts import parts

UNKNOWN = "<unk>"
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
ALWAYS = [*string.digits, *string.ascii_letters, *string.punctuation, " ", "\n", "\r", "\t"]
"""Characters that have pieces whatever the text is: those that special tokens are spelled with, and white space."""
SENTENCE = 1000
"""Characters of a line that are learned from as one; SentencePiece takes twice as many."""
THREADS = 8
"""Sums depend on the number, so that it is the same on every machine."""
RESERVED_BY_TRAINER = str.maketrans({SPACE: " ", "\u2585": " ", "\0": " ", "\r": " ", "\t": " "})
"""What SentencePiece's trainer uses itself, or cannot read; each has its bytes all the same."""


class Unigram(Choice):
    """Unigram pieces with bytes for what has none; a piece holds no space but at its beginning."""

    vocab_size: int = Field(default=8192, ge=8, le=1_000_000)
    """Tokens, with the 256 bytes, the characters of ASCII and the special ones; a small text may not have so many."""
    character_coverage: float = Field(default=0.9995, gt=0.9, le=1.0)
    """The share of the characters of the text that have pieces; those of the rarest ones are bytes."""
    sample_bytes: int = Field(default=20_000_000, ge=1, le=1_000_000_000)
    """Of a larger corpus, documents of about this many bytes are learned from. Training takes some 25 times as much
    memory."""
    special: list[SpecialSet] = Field(default=[])
    """Special tokens besides ``<|endoftext|>`` and ``<unk>``: ``bert`` to mask words (also for BART), ``t5`` to mask
    spans, ``fim`` to fill in the middle. Of several the first decides what is put around a text or a prompt."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        others = len(BYTES) + len(ALWAYS)
        named = f"{len(BYTES)} bytes, {len(ALWAYS)} characters"
        self._reserved().check_room(self.vocab_size, others=others, named=named)
        return self

    def _reserved(self) -> Reserved:
        return Reserved.of(self.special, unknown=UNKNOWN)

    def train(self, texts: Iterable[str]) -> Tokenizer:
        """Learn pieces from ``texts``, which are read once, one at a time.

        Raises:
            InputError: the text has more characters than the vocabulary has room for.
        """
        reserved = self._reserved()
        first = [*reserved.tokens, *BYTES]
        pieces = self._learn(texts, room=self.vocab_size - len(first) - len(ALWAYS))
        least = min(pieces.values(), default=-10.0)
        pieces = dict.fromkeys(ALWAYS, least) | pieces
        # A text that spells a special token or a byte is cheaper in characters than as that token.
        never = 2 * least * max(map(len, first)) - 10.0
        scored = [(token, never) for token in first]
        scored += [(piece, score) for piece, score in pieces.items() if piece not in set(first)]
        inner = Inner(models.Unigram(scored, first.index(UNKNOWN), byte_fallback=True))
        inner.pre_tokenizer = pre_tokenizers.Split(" ", behavior="merged_with_next")
        inner.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
        inner.add_special_tokens(reserved.tokens)
        reserved.add_template(inner)
        tokenizer = Tokenizer(inner, reserved.config)
        if tokenizer.vocab_size < self.vocab_size:
            log.say(
                f"tokenizer: the text has pieces for {tokenizer.vocab_size} tokens only, "
                f"of tokenizer.vocab_size {self.vocab_size}"
            )
        return tokenizer

    def _learn(self, texts: Iterable[str], *, room: int) -> dict[str, float]:
        """``room`` pieces besides those of ``ALWAYS``, and their log-probabilities."""
        sentencepiece = optional("sentencepiece", purpose="tokenizer: {use: unigram}")
        sentences, model = _sentences(texts), io.BytesIO()
        some = next(sentences, None)
        if some is None or room < 1:
            return {}
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=_chained(some, sentences), model_writer=model, model_type="unigram",
                vocab_size=room + len(ALWAYS) - 3 + 1, hard_vocab_limit=False,
                character_coverage=self.character_coverage, required_chars="".join(ALWAYS[:-4]),
                normalization_rule_name="identity", add_dummy_prefix=False, remove_extra_whitespaces=False,
                unk_id=0, bos_id=-1, eos_id=-1, pad_id=-1, num_threads=THREADS, minloglevel=2,
                max_sentence_length=8 * SENTENCE + 8,
            )  # fmt: skip
        except RuntimeError as error:
            found = TOO_MANY.search(str(error))
            if found is None:
                raise
            always = len(ALWAYS) - 4 + 1  # not the space, which a text may lack
            raise InputError(
                f"tokenizer.character_coverage {self.character_coverage} keeps {int(found[2]) - always} "
                f"characters besides ASCII; tokenizer.vocab_size {self.vocab_size} has room for "
                f"{int(found[1]) - always} of them"
            ) from None
        file = SentencePieceFile.parse(model.getvalue())
        # Sums of these are exact in 32 bits too, as SentencePiece has them, and in the digits of tokenizer.json.
        return {
            piece.text.replace(SPACE, " "): round(piece.score / GRID) * GRID
            for piece in file.pieces
            if piece.type == NORMAL
        }


TOO_MANY = re.compile(r"Vocabulary size is smaller than required_chars\. ([0-9]+) vs ([0-9]+)")


def _sentences(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        for line in text.translate(RESERVED_BY_TRAINER).split("\n"):
            yield from filter(None, parts(line, size=SENTENCE))


def _chained(first: str, others: Iterator[str]) -> Iterator[str]:
    yield first
    yield from others
