"""What a model prefers, held against what people do: of pairs of answers, and of answers found good or bad.

Axes: B choices of items, N items, S sums.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from danlu.metrics.tally import Named, Numbers, Tally, by_sums, check_pairs
from danlu.recipe import Choice


class Pairs(Choice):
    """Of pairs of answers, the preferred one of which shall have the higher reward."""

    def tally(self, gold: Sequence[object], predicted: Sequence[Mapping[str, float] | None]) -> Tally:
        """Figures ``accuracy``, the share of pairs with the higher reward for the preferred answer, where equal ones
        are half right; ``margin``, by how much it is higher; ``chosen`` and ``rejected``, the mean rewards; ``loss``.

        Args:
            gold: is not looked at.
            predicted: ``chosen``, ``rejected`` and ``loss`` of each item; None of one that was left out.

        Raises:
            InputError: there is no item, or lengths differ.
        """
        check_pairs(gold, predicted)
        return by_sums(np.array([_pair(each) for each in predicted], dtype=np.float64), _of_pairs)


class Verdicts(Choice):
    """Of answers found good or bad, whose rewards shall be above or below 0."""

    def tally(self, gold: Sequence[str], predicted: Sequence[Mapping[str, float] | None]) -> Tally:
        """Figures ``accuracy``, the share of answers on their side of 0, where one on neither is half right;
        ``margin``, by how much the mean reward of good ones is higher; ``good`` and ``bad``, the mean rewards;
        ``loss``.

        Args:
            gold: ``good`` or ``bad``.
            predicted: ``reward`` and ``loss`` of each item; None of one that was left out.

        Raises:
            InputError: there is no item, or lengths differ.
        """
        check_pairs(gold, predicted)
        rows = [_verdict(said == "good", each) for said, each in zip(gold, predicted, strict=True)]
        return by_sums(np.array(rows, dtype=np.float64), _of_verdicts)


class MeanReward(Choice):
    """Of answers that nobody has judged, what a reward model makes of them."""

    def tally(self, gold: Sequence[object], predicted: Sequence[float]) -> Tally:
        """The figure ``reward``, the mean.

        Args:
            gold: is not looked at.

        Raises:
            InputError: there is no item, or lengths differ.
        """
        check_pairs(gold, predicted)
        rows = np.array([[1.0, each] for each in predicted], dtype=np.float64)
        return by_sums(rows, lambda sums_BS: {"reward": _mean(sums_BS[:, 1], sums_BS[:, 0])})


class WrittenRewards(Choice):
    """Of answers that a model has written, how good they are found and how long they are."""

    def tally(self, gold: Sequence[object], predicted: Sequence[Mapping[str, Any] | None]) -> Tally:
        """Figures ``reward`` and ``answer_tokens``, the means, and ``cut_off``, the share of answers that did not end.

        Args:
            gold: is not looked at.
            predicted: ``reward``, ``tokens``, ``cut_off`` and maybe ``rewards``, parts by name, whose means are figures
                ``reward.NAME``; None of an item that has no answer.

        Raises:
            InputError: there is no item, or lengths differ.
        """
        check_pairs(gold, predicted)
        names = list(next((each.get("rewards", {}) for each in predicted if each is not None), {}))
        rows = [[0.0] * (4 + len(names)) if each is None else
                [1.0, each["reward"], each["tokens"], each["cut_off"], *(each["rewards"][name] for name in names)]
                for each in predicted]  # fmt: skip
        called = ["reward", "answer_tokens", "cut_off", *(f"reward.{name}" for name in names)]

        def figures(sums_BS: Numbers) -> Named:
            return {name: _mean(sums_BS[:, place], sums_BS[:, 0]) for place, name in enumerate(called, 1)}

        return by_sums(np.array(rows, dtype=np.float64), figures)


def _pair(said: Mapping[str, float] | None) -> list[float]:
    if said is None:
        return [0.0] * 5
    return [1.0, _right(said["chosen"] - said["rejected"]), said["chosen"], said["rejected"], said["loss"]]


def _verdict(good: bool, said: Mapping[str, float] | None) -> list[float]:
    if said is None:
        return [0.0] * 6
    reward = said["reward"]
    return [good, not good, _right(reward if good else -reward), reward * good, reward * (not good), said["loss"]]


def _right(margin: float) -> float:
    return 0.5 * (1.0 + float(np.sign(margin)))


def _of_pairs(sums_BS: Numbers) -> Named:
    items_B, right_B, chosen_B, rejected_B, loss_B = sums_BS.T
    return {
        "accuracy": _mean(right_B, items_B),
        "margin": _mean(chosen_B - rejected_B, items_B),
        "chosen": _mean(chosen_B, items_B),
        "rejected": _mean(rejected_B, items_B),
        "loss": _mean(loss_B, items_B),
    }


def _of_verdicts(sums_BS: Numbers) -> Named:
    good_B, bad_B, right_B, of_good_B, of_bad_B, loss_B = sums_BS.T
    return {
        "accuracy": _mean(right_B, good_B + bad_B),
        "margin": _mean(of_good_B, good_B) - _mean(of_bad_B, bad_B),
        "good": _mean(of_good_B, good_B),
        "bad": _mean(of_bad_B, bad_B),
        "loss": _mean(loss_B, good_B + bad_B),
    }


def _mean(sum_B: Numbers, items_B: Numbers) -> Numbers:
    mean_B: Numbers = np.divide(sum_B, items_B, out=np.full(len(sum_B), np.nan), where=items_B > 0)
    return mean_B
