"""Whether a model is as sure as it is right: expected calibration error.

Axes: B choices of items, N items, K bins.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from danlu.errors import InputError
from danlu.metrics.tally import Named, Numbers, Tally, check_pairs
from danlu.recipe import Choice


class Bin(NamedTuple):
    """Items of like confidence."""

    low: float
    high: float
    """The confidence is above the first and at most this; 0 is in the first bin."""
    items: int
    confidence: float
    """Their mean."""
    accuracy: float


class Calibration(Choice):
    """How far confidence and accuracy are apart, bin by bin of the confidence, weighted by the bins' items."""

    bins: int = Field(default=15, ge=1)
    """Bins of the confidence; the error depends on how many there are, so that it belongs to the figure."""

    def tally(self, gold: Sequence[str], predicted: Sequence[tuple[str, float]]) -> Tally:
        """Figures ``accuracy``, ``confidence`` (its mean), ``calibration_error`` and ``calibration_error.equal_mass``.

        A prediction is a label and its probability. The first error is over bins of equal width, ``(k/K, (k+1)/K]``
        (Guo et al. 2017, arXiv:1706.04599); 0 is in the first. The other is over bins of equally many items, in
        order of confidence (Nixon et al. 2019, arXiv:1904.01685), the first ones one larger where they do not come
        out even; of equal confidences wrong answers go first, so that the order of the items does not matter.

        Raises:
            InputError: there is no item, lengths differ, or a confidence is not from 0 to 1.
        """
        confidence_N, right_N, bin_N = self._placed(gold, predicted)
        gap_NK = np.zeros((len(gold), self.bins))
        gap_NK[np.arange(len(gold)), bin_N] = confidence_N - right_N
        order_N = np.lexsort((right_N, confidence_N))
        gap_N = (confidence_N - right_N)[order_N]

        def figures(times_BN: Numbers) -> Named:
            items_B = times_BN.sum(1)
            return {
                "accuracy": times_BN @ right_N / items_B,
                "confidence": times_BN @ confidence_N / items_B,
                "calibration_error": np.abs(times_BN @ gap_NK).sum(1) / items_B,
                "calibration_error.equal_mass": np.array(
                    [self._equal_mass(np.repeat(gap_N, times_N[order_N].astype(np.int64))) for times_N in times_BN]
                ),
            }

        return Tally(len(gold), figures)

    def by_bin(self, gold: Sequence[str], predicted: Sequence[tuple[str, float]]) -> list[Bin]:
        """The bins of equal width that have items, for a reliability diagram; arguments and errors as :meth:`tally`."""
        confidence_N, right_N, bin_N = self._placed(gold, predicted)
        found = []
        for place in np.unique(bin_N).tolist():
            chosen_N = bin_N == place
            means = float(confidence_N[chosen_N].mean()), float(right_N[chosen_N].mean())
            found.append(Bin(place / self.bins, (place + 1) / self.bins, int(chosen_N.sum()), *means))
        return found

    def _placed(
        self, gold: Sequence[str], predicted: Sequence[tuple[str, float]]
    ) -> tuple[Numbers, Numbers, NDArray[np.int64]]:
        """Confidence, whether it is right, and bin of each item."""
        check_pairs(gold, predicted)
        for number, (_, confidence) in enumerate(predicted, 1):
            if not 0 <= confidence <= 1:
                raise InputError(f"item {number}: the confidence must be from 0 to 1; got {confidence}")
        confidence_N = np.array([confidence for _, confidence in predicted], dtype=np.float64)
        right_N = np.array([answer == right for right, (answer, _) in zip(gold, predicted, strict=True)], np.float64)
        upper_K = np.arange(1, self.bins + 1) / self.bins
        return confidence_N, right_N, np.searchsorted(upper_K, confidence_N, side="left")

    def _equal_mass(self, gaps: Numbers) -> float:
        parts = np.array_split(gaps, self.bins)
        return float(sum(abs(part.sum()) for part in parts) / len(gaps))
