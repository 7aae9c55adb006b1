"""How likely a model finds what is right: the mean loss of a token, and the perplexity.

Axes: B choices of items, N items, S sums.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from danlu.metrics.tally import Named, Numbers, Tally, by_sums, check_pairs
from danlu.recipe import Choice


class Likelihood(Choice):
    """The loss of all scored tokens together; an item counts by how many it has."""

    def tally(self, gold: Sequence[object], predicted: Sequence[Mapping[str, float]]) -> Tally:
        """Figures ``loss``, the mean in nats a token, and ``perplexity``; none of items without tokens.

        Args:
            gold: is not looked at.
            predicted: ``nats`` and ``tokens`` of each item.

        Raises:
            InputError: there is no item, or lengths differ.
        """
        check_pairs(gold, predicted)
        sums_NS = np.array([[each["nats"], each["tokens"]] for each in predicted], dtype=np.float64)
        return by_sums(sums_NS, _figures)


def _figures(sums_BS: Numbers) -> Named:
    nats_B, tokens_B = sums_BS.T
    loss_B = np.divide(nats_B, tokens_B, out=np.full(len(sums_BS), np.nan), where=tokens_B > 0)
    with np.errstate(over="ignore"):
        return {"loss": loss_B, "perplexity": np.exp(loss_B)}
