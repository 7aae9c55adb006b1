"""From who was preferred to win rates with intervals, and to one strength a model: Bradley and Terry's.

A tie is half a win for both. Prompts are drawn whole, since several ratings of one prompt are not independent.

Axes: B choices of prompts, P prompts, M models.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from danlu.metrics.tally import Numbers, Tally, by_sums

ELO_OF_A_MEAN_MODEL = 1000.0
ELO_A_TENFOLD = 400.0
"""Elo points that make the odds of winning ten times as high."""
MOST_STEPS = 100
LONGEST_STEP = 2.0
"""Newton's steps are cut here: far from the optimum the curvature says little."""


@dataclass(frozen=True, slots=True)
class WinRate:
    """Wins and half of the ties, as a share of the ratings."""

    rate: float
    low: float
    high: float
    wins: int
    ties: int
    losses: int
    prompts: int


def win_rate(points: Sequence[float], prompts: Sequence[int], *, level: float = 0.95) -> WinRate:
    """The share of wins, with Wilson's interval (1927) for as many ratings as they are worth.

    Where raters of one prompt agree, three ratings are worth little more than one; where there are ties, the share
    moves less than that of a coin. So n is ``p (1 - p) / v``, v being the variance of the share when prompts are drawn
    whole (Kish 1965; Franco et al. 2019, doi:10.1093/jssam/smy019); never more than the ratings there are. With one
    rating without a tie for each prompt it is Wilson's interval as it stands. Unlike a bootstrap it has a width where
    all ratings are the same.

    Args:
        points: 1 for a win, 0.5 for a tie, 0 for a loss; at least one.
        prompts: which prompt each was about.
    """
    points_N = np.asarray(points, dtype=np.float64)
    _, places = np.unique(np.asarray(prompts), return_inverse=True)
    rate = float(points_N.mean())
    apart_P = np.bincount(places, weights=points_N - rate)
    prompts_seen, variance = len(apart_P), float((apart_P**2).sum()) / len(points_N) ** 2
    spread = rate * (1 - rate)
    worth = float(prompts_seen) if spread == 0 else min(len(points_N), spread / variance if variance else np.inf)
    low, high = _wilson(rate, worth, level)
    wins, losses = int((points_N == 1).sum()), int((points_N == 0).sum())
    return WinRate(rate, low, high, wins, len(points_N) - wins - losses, losses, prompts_seen)


def strengths(wins_PMM: Numbers, models: Sequence[str]) -> Tally:
    """Bradley and Terry's strengths (1952) by model, as natural logarithms of odds; a tally of the prompts.

    A model of strength s beats one of strength t with the odds ``exp(s - t)``. They are the likeliest for the wins, to
    which one draw of every model against a model of strength 0 is added, so that one that never lost has a strength
    as well; with many ratings that draw weighs nothing.

    Args:
        wins_PMM: how often, in each prompt, the model of the row was preferred to that of the column; ties half each.
    """
    number = len(models)

    def figures(sums_BS: Numbers) -> dict[str, Numbers]:
        found_BM = likeliest(sums_BS.reshape(-1, number, number))
        return {model: found_BM[:, place] for place, model in enumerate(models)}

    return by_sums(wins_PMM.reshape(len(wins_PMM), -1), figures)


def likeliest(wins_BMM: Numbers) -> Numbers:
    """The strengths ``[B, M]`` by Newton's method; the likelihood has one optimum, thanks to the added draws."""
    games_BMM = wins_BMM + wins_BMM.transpose(0, 2, 1)
    wins_BM = wins_BMM.sum(axis=2)
    found_BM = np.zeros(wins_BM.shape)
    diagonal = np.eye(wins_BM.shape[1])
    for _ in range(MOST_STEPS):
        chance_BMM = _chance(found_BM[:, :, None] - found_BM[:, None, :])
        drawn_BM = _chance(found_BM)
        gradient_BM = wins_BM - (games_BMM * chance_BMM).sum(axis=2) + 0.5 - drawn_BM
        weight_BMM = games_BMM * chance_BMM * (1 - chance_BMM)
        own_BM = weight_BMM.sum(axis=2) + drawn_BM * (1 - drawn_BM)
        curvature_BMM = own_BM[:, :, None] * diagonal - weight_BMM
        step_BM = np.linalg.solve(curvature_BMM, gradient_BM[:, :, None])[:, :, 0]
        longest_B = np.abs(step_BM).max(axis=1, keepdims=True)
        found_BM += step_BM * np.minimum(1, LONGEST_STEP / np.maximum(longest_B, LONGEST_STEP))
        if longest_B.max() < 1e-10:
            return found_BM
    raise ArithmeticError("Newton's method did not come to rest")  # a bug: the likelihood is strictly concave


def linked(models: int, games: Collection[tuple[int, int]]) -> list[list[int]]:
    """The models parted into those that games link, over others too; without a link strengths say nothing.

    A strength is found up to a constant of each part (Ford 1957, doi:10.2307/2308513).
    """
    part_of = list(range(models))
    for one, other in games:
        part_of = [part_of[one] if part == part_of[other] else part for part in part_of]
    return [[model for model in range(models) if part_of[model] == part] for part in dict.fromkeys(part_of)]


def elo(strength: float) -> float:
    """A strength on the scale of chess: 400 points are odds of ten to one, 1000 is a model of strength 0."""
    return ELO_OF_A_MEAN_MODEL + ELO_A_TENFOLD * strength / float(np.log(10))


def _chance(odds: Numbers) -> Numbers:
    return 1 / (1 + np.exp(-odds))


def _wilson(rate: float, number: float, level: float) -> tuple[float, float]:
    z = NormalDist().inv_cdf((1 + level) / 2)
    centre = (rate + z**2 / (2 * number)) / (1 + z**2 / number)
    half = z / (1 + z**2 / number) * np.sqrt(rate * (1 - rate) / number + z**2 / (4 * number**2))
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))
