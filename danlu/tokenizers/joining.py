"""Byte-pair encoding whose smallest units are the tokens of another tokenizer: which of them to join first.

Sennrich et al. 2016 (arXiv:1508.07909), on tokens where that has characters. So a tokenizer grows without a change to
what it has: what is joined is always a row of its own tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer as Inner

from danlu import log
from danlu.errors import InputError
from danlu.tokenizers.merges import BREAK, CountedWords, learn_merges
from danlu.tokenizers.named import unknown_of
from danlu.tokenizers.spelling import LONE_BYTE
from danlu.tokenizers.tokenizer import Tokenizer

FIRST = 0x10000
"""The character that stands for token 0: all characters from here on are free of rules of their own."""
MOST_TOKENS = 0x110000 - FIRST
LONGEST_WORD = 32
"""Tokens after which a word is cut, at the next whole character: text without spaces has words without end, all of them
different, which would be held in memory."""
PIECE = 50_000
"""Characters that are encoded at once."""
BATCH_PIECES = 16

Ids = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Join:
    """Two rows of tokens that become one."""

    left: Ids
    right: Ids

    @property
    def ids(self) -> Ids:
        """All of its tokens."""
        return self.left + self.right


def learn_joins(
    inner: Inner, config: Mapping[str, Any], texts: Iterable[str], *, count: int, min_frequency: int
) -> list[Join]:
    """The most frequent neighbours in ``texts`` as ``inner`` reads them, at most ``count``, in any order of the texts.

    A join has no space but at its beginning, no line end, and no token that stands for a byte or is unknown.

    Raises:
        InputError: ``inner`` has more tokens than there are characters to stand for them.
    """
    words = _Words.of(inner, config)
    symbols = np.concatenate([np.array([BREAK], dtype=np.int32), *words.lines(texts)])
    spelled = [chr(FIRST + id) for id in range(len(words.left_out))]
    with log.progress("tokenizer: joining", count, "tokens") as progress:
        merges = learn_merges(
            CountedWords(symbols, np.array([0]), np.array([1])), spelled, vocab_size=len(spelled) + count,
            min_frequency=min_frequency, tell=lambda tokens: progress.update(tokens - len(words.left_out)),
        )  # fmt: skip
    return [Join(_ids(left), _ids(right)) for left, right in merges]


def _ids(word: str) -> Ids:
    return tuple(ord(letter) - FIRST for letter in word)


@dataclass(frozen=True, slots=True)
class _Words:
    """Text as tokens, cut into words."""

    inner: Inner
    left_out: NDArray[np.bool_]
    """By id: tokens that nothing is joined with."""
    begins: NDArray[np.bool_]
    """Tokens that begin a word: with a space or a line end."""
    ends: NDArray[np.bool_]
    """Tokens that end one: with a line end in them."""
    whole: NDArray[np.bool_]
    """Tokens that begin with the first byte of a character."""

    @classmethod
    def of(cls, inner: Inner, config: Mapping[str, Any]) -> _Words:
        tokenizer = Tokenizer(inner, dict(config))
        if tokenizer.vocab_size > MOST_TOKENS:
            raise InputError(
                f"a tokenizer of at most {MOST_TOKENS:,} tokens can be extended; this one has {tokenizer.vocab_size:,}"
            )
        spelled = [tokenizer.token_bytes(id) for id in range(tokenizer.vocab_size)]
        if inner.decoder is None:  # it parts all tokens by spaces, be they in one word or not
            spelled = [(inner.id_to_token(id) or "").encode() for id in range(tokenizer.vocab_size)]
        alone = {id for token, id in tokenizer.tokens().items() if LONE_BYTE.fullmatch(token)} | {unknown_of(inner)}
        return cls(
            inner,
            np.array([tokenizer.is_special(id) or id in alone for id in range(len(spelled))], dtype=np.bool_),
            np.array([each[:1] == b" " or b"\n" in each for each in spelled], dtype=np.bool_),
            np.array([b"\n" in each for each in spelled], dtype=np.bool_),
            np.array([not each or each[0] & 0xC0 != 0x80 for each in spelled], dtype=np.bool_),
        )

    def lines(self, texts: Iterable[str]) -> Iterator[NDArray[np.int32]]:
        """The tokens of some text, ``BREAK`` between words and behind the last."""
        for batch in _batches(texts):
            for encoding in self.inner.encode_batch(batch, add_special_tokens=False):
                ids = np.array(encoding.ids, dtype=np.int64)
                if len(ids):
                    yield self._line(ids, np.array([-1 if w is None else w for w in encoding.word_ids]))

    def _line(self, ids: NDArray[np.int64], words: NDArray[Any]) -> NDArray[np.int32]:
        before = np.zeros(len(ids), dtype=np.bool_)
        before[1:] = (words[1:] != words[:-1]) | self.ends[ids[:-1]]
        before |= self.begins[ids]
        places = np.arange(len(ids))
        begun = np.maximum.accumulate(np.where(before, places, 0))
        before |= ((places - begun) % LONGEST_WORD == 0) & (places > begun) & self.whole[ids]
        symbols = np.where(self.left_out[ids], BREAK, ids).astype(np.int32)
        return np.insert(symbols, [*np.flatnonzero(before), len(ids)], np.int32(BREAK))


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    """Pieces of the texts, cut at line ends where there are some."""
    batch: list[str] = []
    for text in texts:
        start = 0
        while start < len(text):
            end = start + PIECE
            if end < len(text):
                end = (text.rfind("\n", start, end) + 1) or end
            batch.append(text[start:end])
            start = end
            if len(batch) == BATCH_PIECES:
                yield batch
                batch = []
    if batch:
        yield batch
