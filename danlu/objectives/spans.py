"""Spans that are cut out of a text and stand behind sentinels: T5's noise (Raffel et al. 2020, arXiv:1910.10683).

How many tokens and spans are noise follows from the length of the text alone, so that widths are known before anything
is drawn; which ones they are is random. It is ``random_spans_noise_mask`` of T5's own code, and
``compute_input_and_target_lengths`` with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from danlu.corpus.rows import Ints, Widths
from danlu.errors import RecipeError
from danlu.tokenizers.vocabulary import Vocabulary

SHORTEST = 2
"""Tokens of a text of which some are noise and some are not."""


@dataclass(frozen=True, slots=True)
class Noise:
    """How much of a text is cut out, and in pieces of what length."""

    rate: float
    """Share of the tokens."""
    mean: float | None
    """Tokens of a span, on average; None where it is one span, the end of the text."""

    def counts(self, body: Ints) -> tuple[Ints, Ints]:
        """Tokens and spans of noise in texts of so many tokens, each at least ``SHORTEST``.

        At least one of each, and never more spans than tokens that stay, for one stands before every span.
        """
        tokens = np.clip(np.round(body * self.rate).astype(np.int64), 1, body - 1)
        if self.mean is None:
            return tokens, np.ones_like(tokens)
        spans = np.maximum(1, np.round(tokens / self.mean).astype(np.int64))
        return tokens, np.minimum(spans, np.minimum(tokens, body - tokens))

    def widths(self, body: Ints, *, most: int) -> Widths:
        """Of both sides, with what ends them; 0 where there is too little text, or more than ``most`` spans."""
        body = np.asarray(body, dtype=np.int64)
        tokens, spans = self.counts(np.maximum(body, SHORTEST))
        fits = (body >= SHORTEST) & (spans <= most)
        return Widths(np.where(fits, tokens + spans + 1, 0), np.where(fits, body - tokens + spans + 1, 0))

    def longest(self, source: int, *, most: int) -> int:
        """The most tokens of a text of which ``source`` places are enough for what stays; 0 where none are."""
        bodies = np.arange(SHORTEST, int(source / (1 - self.rate)) + SHORTEST + 1)
        widths = self.widths(bodies, most=most)
        fitting = bodies[(widths.inputs > 0) & (widths.source <= source)]
        return int(fitting[-1]) if len(fitting) else 0

    def cut(self, body: Ints, sentinels: Sequence[int], *, noise: np.random.Generator) -> tuple[Ints, Ints]:
        """What stays, with a sentinel for each span that does not; and the spans, each behind its sentinel."""
        tokens, spans = (int(count) for count in self.counts(np.array(len(body))))
        lengths = np.empty(2 * spans, dtype=np.int64)
        lengths[::2] = composition(len(body) - tokens, spans, noise=noise)
        lengths[1::2] = composition(tokens, spans, noise=noise)
        parts = np.split(body, np.cumsum(lengths)[:-1])
        marks = np.asarray(sentinels[:spans], dtype=np.int64)[:, None]
        stays = [part for pair in zip(parts[::2], marks, strict=True) for part in pair]
        goes = [part for pair in zip(marks, parts[1::2], strict=True) for part in pair]
        return np.concatenate(stays), np.concatenate(goes)


def composition(total: int, parts: int, *, noise: np.random.Generator) -> Ints:
    """``[parts]`` lengths, each at least 1, that add up to ``total``; all such lists are equally likely."""
    borders = np.sort(noise.choice(total - 1, parts - 1, replace=False)) + 1 if parts > 1 else np.zeros(0, np.int64)
    return np.diff(borders, prepend=0, append=total)


def check_sentinels(vocabulary: Vocabulary, spans: int, *, others: int = 0) -> None:
    """Refuse a tokenizer that has too few.

    Args:
        others: sentinels that stand for something else.

    Raises:
        RecipeError: with the setting that can be lowered.
    """
    most = len(vocabulary.sentinels) - others
    if spans > most:
        raise RecipeError(
            f"pretrain.objective.sentinels must be at most {most}, for the tokenizer has {len(vocabulary.sentinels)}"
            f"{f', {others} of them for other uses' if others else ''}; got {spans}"
        )
