"""Tokens cut between any two characters of their text: what each side is when it is encoded by itself.

A text that ends within a word has other tokens than the word begins with, and these are what a model meets that is
asked to go on from there. Cutting between tokens shows it none of them (Bavarian et al. 2022, arXiv:2207.14255, who
therefore cut between characters).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Self

import numpy as np

from danlu.tokenizers.tokenizer import Tokenizer

Ids = np.ndarray[Any, np.dtype[np.int64]]
AROUND = 16
"""Tokens on each side of a cut that are encoded anew; all of them where so few are not what the text around gives."""
CONTINUES = range(0x80, 0xC0)
"""Bytes of UTF-8 with which no character begins."""


@dataclass(frozen=True)
class Cutter:
    """Cuts tokens of one tokenizer."""

    tokenizer: Tokenizer

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> Self | None:
        """None where a word has other tokens at the beginning of a text than within: no part could be encoded alone."""
        return cls(tokenizer) if tokenizer.begins_as_it_goes_on else None

    def characters(self, ids: Ids) -> int:
        """How many characters begin in ``ids``."""
        return int(self._begin[ids].sum())

    def parts(self, ids: Ids, places: Sequence[int]) -> list[Ids] | None:
        """The tokens of each part of the text of ``ids``, one more than there are ``places``.

        Args:
            places: behind how many characters it is cut, from 0 to all, rising.

        Returns:
            None where ``ids`` are not what their own text gives, as where they begin within a character.
        """
        each = (self._parts(ids, places, around) for around in (AROUND, len(ids)))
        return next((found for found in each if found is not None), None)

    def _parts(self, ids: Ids, places: Sequence[int], around: int) -> list[Ids] | None:
        before = self._before(ids)
        found: list[list[int]] = [[]]
        done = 0
        for first, end, cuts in self._windows(ids, before, places, around):
            found[-1] += ids[done:first].tolist()
            encoded = self._encoded(ids[first:end], [cut - int(before[first]) for cut in cuts])
            if encoded is None:
                return None
            found[-1] += encoded[0]
            found += encoded[1:]
            done = end
        found[-1] += ids[done:].tolist()
        return [np.array(part, dtype=np.int64) for part in found]

    def borders(self, ids: Ids, places: Sequence[int]) -> list[int]:
        """For each place how many tokens there are before the one that it is in; none of them parts a character."""
        return [self._first(ids, self._token(self._before(ids), place)) for place in places]

    def _before(self, ids: Ids) -> Ids:
        """``[tokens + 1]`` characters that begin before each token, and all."""
        return np.concatenate(([0], np.cumsum(self._begin[ids])))

    @staticmethod
    def _token(before: Ids, place: int) -> int:
        """The token in which the character behind ``place`` begins; of the end, behind the last one."""
        return int(np.searchsorted(before, place, side="right")) - 1

    def _first(self, ids: Ids, token: int) -> int:
        """``token``, or the last one before it that begins with a character."""
        while 0 < token < len(ids) and self._within[ids[token]]:
            token -= 1
        return token

    def _windows(
        self, ids: Ids, before: Ids, places: Sequence[int], around: int
    ) -> Iterator[tuple[int, int, list[int]]]:
        """Stretches of tokens, from the first to before another, with the places in each; they do not overlap."""
        waiting: tuple[int, int, list[int]] | None = None
        for place in places:
            token = self._token(before, place)
            first, end = self._first(ids, max(0, token - around)), min(len(ids), token + 1 + around)
            while end < len(ids) and self._within[ids[end]]:
                end += 1
            if waiting is None:
                waiting = first, end, [place]
            elif first <= waiting[1]:
                waiting = waiting[0], max(end, waiting[1]), [*waiting[2], place]
            else:
                yield waiting
                waiting = first, end, [place]
        if waiting is not None:
            yield waiting

    def _encoded(self, ids: Ids, places: Sequence[int]) -> list[list[int]] | None:
        """The tokens of each part of a text; None where its tokens are not ``ids``."""
        try:
            text = b"".join(map(self.tokenizer.token_bytes, ids.tolist())).decode()
        except UnicodeDecodeError:
            return None
        if self.tokenizer.encode(text) != ids.tolist():
            return None
        borders = [0, *places, len(text)]
        return [self.tokenizer.encode(text[one:other]) for one, other in pairwise(borders)]

    @cached_property
    def _spelled(self) -> list[bytes]:
        return [self.tokenizer.token_bytes(id) for id in range(self.tokenizer.vocab_size)]

    @cached_property
    def _begin(self) -> Ids:
        """``[vocabulary]`` characters that begin in each token."""
        return np.array([sum(byte not in CONTINUES for byte in token) for token in self._spelled], dtype=np.int64)

    @cached_property
    def _within(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """``[vocabulary]`` whether a token begins within a character."""
        return np.array([token[:1] != b"" and token[0] in CONTINUES for token in self._spelled])
