"""Labels that are likely wrong, by what models say that have not seen them: confident learning.

Give it the probabilities of cross-validation (``split.folds``), so that every example was judged by a model that had
not learned its label.

Axes: N examples, L labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from danlu.errors import InputError


@dataclass(frozen=True, slots=True)
class Suspect:
    """An example whose label is likely wrong."""

    item: int
    label: str
    instead: str
    margin: float
    """How much more likely the other label is, from 0 to 1: suspects are sorted by it."""


def suspects(labels: Sequence[str], known: Sequence[str], probabilities_NL: NDArray[np.floating]) -> list[Suspect]:
    """Examples that models take for another label with confidence, the surest first (Northcutt et al. 2021,
    arXiv:1911.00068).

    Confident is a probability of at least the mean that the label has among the examples that bear it. An example is
    suspected where, of the labels that are given with confidence, the likeliest is another than its own.

    Args:
        known: the labels of the columns of ``probabilities_NL``.

    Raises:
        InputError: there are not as many probabilities as labels, or a label is none of ``known``.
    """
    if probabilities_NL.shape != (len(labels), len(known)):
        wanted = f"{len(labels)} × {len(known)}"
        raise InputError(f"probabilities must be {wanted}, examples by labels; got {probabilities_NL.shape}")
    place_of = {label: place for place, label in enumerate(known)}
    unknown = next((label for label in labels if label not in place_of), None)
    if unknown is not None:
        raise InputError(f"the label {unknown!r} is none of those that have probabilities: {', '.join(known)}")
    given_N = np.array([place_of[label] for label in labels], dtype=np.int64)
    items_N = np.arange(len(labels))
    counts_L = np.bincount(given_N, minlength=len(known))
    sums_L = np.bincount(given_N, probabilities_NL[items_N, given_N], len(known))
    thresholds_L = np.divide(sums_L, counts_L, out=np.full(len(known), np.inf), where=counts_L > 0)
    confident_NL = np.where(probabilities_NL >= thresholds_L, probabilities_NL, -np.inf)
    likeliest_N = confident_NL.argmax(1)
    any_N = np.isfinite(confident_NL.max(1)) if len(labels) else np.zeros(0, dtype=bool)
    margins_N = probabilities_NL[items_N, likeliest_N] - probabilities_NL[items_N, given_N]
    chosen = np.flatnonzero(any_N & (likeliest_N != given_N))
    ordered = chosen[np.argsort(-margins_N[chosen], kind="stable")]
    return [
        Suspect(int(item), known[given_N[item]], known[likeliest_N[item]], float(margins_N[item])) for item in ordered
    ]
