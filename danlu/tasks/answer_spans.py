"""Answers as parts of a context: from characters to tokens to learn from, and from scores of tokens to characters.

Axes: T tokens of a window, P those of the context with text of their own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from danlu.tasks.text_reader import Read

Offsets = NDArray[np.int32]
Numbers = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Found:
    """What all windows of a question say."""

    spans: list[tuple[int, int]]
    """The best answers by their characters, the best one first; none where the context has no token."""
    scores: list[float]
    """Of each: the sum of those of its first and last token, where it is highest."""
    none: float
    """The score of no answer: of the first token of the window that has least of it."""

    @property
    def doubt(self) -> float:
        """How much likelier none is than the best answer, in nats."""
        return self.none - self.scores[0] if self.scores else math.inf

    def text(self, context: str) -> str:
        """The best answer; empty where there is none."""
        return context[slice(*self.spans[0])] if self.spans else ""

    def listed(self, context: str, *, none: bool) -> list[dict[str, Any]]:
        """The answers with the share of each among them.

        Args:
            none: whether no answer is one of them, with neither start nor end.
        """
        spans: list[tuple[int | None, int | None]] = list(self.spans)
        scores = list(self.scores)
        if none:
            spans.append((None, None))
            scores.append(self.none)
        order = sorted(range(len(spans)), key=lambda place: -scores[place])
        powers = [math.exp(scores[place] - scores[order[0]]) for place in order]
        return [
            {"text": "" if spans[place][0] is None else context[slice(*spans[place])], "start": spans[place][0],
             "end": spans[place][1], "confidence": round(power / sum(powers), 6)}
            for place, power in zip(order, powers, strict=True)
        ]  # fmt: skip


def context_offsets(read: Read, context: str) -> Offsets:
    """``[T, 2]`` the characters of each token of the second text, without spaces around; (0, 0) where it has none."""
    solid = np.flatnonzero([not character.isspace() for character in context])
    if not len(solid):
        return np.zeros((len(read.tokens), 2), dtype=np.int32)
    first = np.searchsorted(solid, read.offsets[:, 0])
    last = np.searchsorted(solid, read.offsets[:, 1]) - 1
    there = (read.sides == 1) & (first <= last)
    ends = np.stack([solid[np.minimum(first, len(solid) - 1)], solid[np.maximum(last, 0)] + 1], axis=1)
    return np.where(there[:, None], ends, 0).astype(np.int32)


def tokens_of(offsets: Offsets, context: str, start: int, end: int) -> tuple[int, int] | None:
    """First and last token of the characters from ``start`` up to ``end``; None if the window has not all of them."""
    while start < end and context[start].isspace():
        start += 1
    while start < end and context[end - 1].isspace():
        end -= 1
    there = np.flatnonzero(offsets[:, 0] < offsets[:, 1])
    if not len(there) or offsets[there[0], 0] > start or offsets[there[-1], 1] < end:
        return None
    inside = there[(offsets[there, 1] > start) & (offsets[there, 0] < end)]
    return (int(inside[0]), int(inside[-1])) if len(inside) else None


def find(windows: Sequence[tuple[Numbers, Offsets]], *, longest: int, most: int) -> Found:
    """The best answers of all windows.

    Args:
        windows: ``[T, 2]`` scores of each token as first and as last one of an answer, and ``[T, 2]`` their characters.
        longest: characters of an answer at most.
        most: answers at most.
    """
    best: dict[tuple[int, int], float] = {}
    for scores_T2, offsets in windows:
        for score, span in _best_of(scores_T2, offsets, longest=longest, most=most):
            best[span] = max(score, best.get(span, -math.inf))
    spans = sorted(best, key=lambda span: (-best[span], span))[:most]
    return Found(spans, [best[span] for span in spans], min(float(scores_T2[0].sum()) for scores_T2, _ in windows))


def _best_of(scores_T2: Numbers, offsets: Offsets, *, longest: int, most: int) -> list[tuple[float, tuple[int, int]]]:
    there = np.flatnonzero(offsets[:, 0] < offsets[:, 1])
    if not len(there):
        return []
    starts_P, ends_P = offsets[there, 0], offsets[there, 1]
    sums_PP = scores_T2[there, :1] + scores_T2[there, 1]
    length_PP = ends_P - starts_P[:, None]
    sums_PP[np.tri(len(there), k=-1, dtype=bool) | (length_PP > longest)] = -np.inf
    rows = np.argsort(-sums_PP.max(1), kind="stable")[:most]  # whichever the best are, each begins at one of these
    flat = sums_PP[rows].reshape(-1)
    places = np.argpartition(-flat, min(most, len(flat)) - 1)[:most]
    firsts, lasts = rows[places // len(there)], places % len(there)
    return [
        (float(sums_PP[first, last]), (int(starts_P[first]), int(ends_P[last])))
        for first, last in zip(firsts, lasts, strict=True)
        if sums_PP[first, last] > -np.inf
    ]
