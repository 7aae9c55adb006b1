"""The most probable tags of a sentence among those that their scheme allows (Viterbi 1967).

Axes: W words, L labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from danlu.data.tags import Scheme, may_follow

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class TagPaths:
    """Which tag may follow which: 0 where it may, else minus infinity."""

    first_L: Numbers
    last_L: Numbers
    follows_LL: Numbers
    """``[before, behind]``."""

    @classmethod
    def of(cls, labels: Sequence[str], scheme: Scheme) -> TagPaths:
        """Of the tags ``labels``, all of which are of the scheme."""

        def cost(allowed: bool) -> float:
            return 0.0 if allowed else -np.inf

        return cls(
            np.array([cost(may_follow(None, label, scheme)) for label in labels]),
            np.array([cost(may_follow(label, None, scheme)) for label in labels]),
            np.array([[cost(may_follow(before, label, scheme)) for label in labels] for before in labels]),
        )

    @property
    def complete(self) -> bool:
        """Whether there are tags for a sentence of any length."""
        return bool(np.any(self.first_L + self.last_L + np.diagonal(self.follows_LL) == 0))

    def best(self, scores_WL: Numbers) -> list[int]:
        """The labels of each word whose scores have the highest sum."""
        alone = scores_WL.argmax(1)
        costs = self.first_L[alone[0]] + self.last_L[alone[-1]] + self.follows_LL[alone[:-1], alone[1:]].sum()
        if costs == 0:  # nothing can have more, and it is so nearly always
            return [int(place) for place in alone]
        best_L, came_from = self.first_L + scores_WL[0], []
        for scores_L in scores_WL[1:]:
            through_LL = best_L[:, None] + self.follows_LL
            came_from.append(through_LL.argmax(0))
            best_L = through_LL.max(0) + scores_L
        path = [int((best_L + self.last_L).argmax())]
        for before_L in reversed(came_from):
            path.append(int(before_L[path[-1]]))
        return path[::-1]
