"""How an error falls with the number of examples, and what twice as many would bring.

The curve is a power law with a floor, ``floor + part * (n / most) ** -exponent`` (Cortes et al. 1993; Hestness et al.
2017, arXiv:1712.00409), which of the simple curves foretells best (Viering & Loog 2021, arXiv:2103.10948).

Axes: B draws, E exponents that are tried, P trainings, N places on the curve.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from danlu.metrics.tally import Numbers

EXPONENTS = np.geomspace(0.02, 3.0, 100)
"""Those that are tried; curves of real tasks have 0.05 to 2."""
PARAMETERS = 3
"""Of the curve: through so many points there is always one."""
DRAWS = 1000


@dataclass(frozen=True, slots=True)
class PowerLaw:
    """The error after ``n`` examples is ``floor + part * (n / most) ** -exponent``."""

    floor: float
    """What no number of examples removes, never below 0."""
    part: float
    """What of the error after ``most`` examples more of them would remove; below 0 where the error rises."""
    exponent: float
    most: float

    def error(self, examples: float) -> float:
        """After so many examples."""
        return float(self.floor + self.part * (examples / self.most) ** -self.exponent)


@dataclass(frozen=True, slots=True)
class Band:
    """The curve at some numbers of examples, with an interval."""

    examples: tuple[float, ...]
    expected: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Forecast:
    """The curve, and by how much twice the most examples would lower the error."""

    law: PowerLaw
    gain: float
    low: float
    """The 95 % interval of the gain."""
    high: float
    noise: float
    """Standard deviation of the trainings around the curve."""
    band: Band
    """From the fewest examples to twice the most."""


def fit(examples: Sequence[float], errors: Sequence[float]) -> PowerLaw:
    """The curve of the least squares, of three numbers of examples or more."""
    most = max(examples)
    sizes_P, errors_1P = np.asarray(examples, np.float64) / most, np.asarray(errors, np.float64)[None]
    exponents = EXPONENTS
    for _ in range(3):  # then between the neighbours of the best
        floors, parts, found = _least_squares(sizes_P, errors_1P, exponents)
        place = int(np.searchsorted(exponents, found[0]))
        best = PowerLaw(float(floors[0]), float(parts[0]), float(found[0]), float(most))
        exponents = np.linspace(exponents[max(0, place - 1)], exponents[min(len(exponents) - 1, place + 1)], 100)
    return best


def forecast(
    examples: Sequence[float],
    errors: Sequence[float],
    *,
    seed: int,
    resampled_BP: Numbers | None = None,
    level: float = 0.95,
    places: int = 40,
) -> Forecast | None:
    """The curve and what twice the examples would bring; None where there are too few trainings to tell any noise.

    Curves are fitted to errors that are drawn anew. The noise of a training is drawn around the curve as large as what
    is left of the errors there, and larger the fewer trainings say how large that is (a t distribution). To it comes
    how the errors move where other examples are measured, which all trainings have in common.

    Args:
        resampled_BP: the errors on resampled examples, of all trainings on the same ones.
        places: on the curve of the band.
    """
    trainings = len(examples)
    if trainings <= PARAMETERS or len(set(examples)) < PARAMETERS:
        return None
    law = fit(examples, errors)
    fitted_P = np.array([law.error(each) for each in examples])
    measured_P = np.asarray(errors, np.float64)
    free = trainings - PARAMETERS
    noise = float(np.sqrt(np.square(measured_P - fitted_P).sum() / free))
    generator = np.random.default_rng(seed)
    wider_B1 = np.sqrt(free / generator.chisquare(free, (DRAWS, 1)))
    drawn_BP = fitted_P + noise * wider_B1 * generator.standard_normal((DRAWS, trainings))
    if resampled_BP is not None:
        drawn_BP += (resampled_BP - measured_P)[generator.integers(len(resampled_BP), size=DRAWS)]
    sizes_P = np.asarray(examples, np.float64) / law.most
    floors_B, parts_B, exponents_B = _least_squares(sizes_P, np.maximum(drawn_BP, 0.0), EXPONENTS)
    ends = [(1 - level) / 2, (1 + level) / 2]
    low, high = np.quantile(parts_B * (1 - 2.0**-exponents_B), ends)
    where_N = np.geomspace(sizes_P.min(), 2.0, places)
    curves_BN = floors_B[:, None] + parts_B[:, None] * where_N ** -exponents_B[:, None]
    lows_N, highs_N = np.quantile(curves_BN, ends, axis=0)
    numbers = (where_N * law.most).tolist()
    band = Band(tuple(numbers), tuple(map(law.error, numbers)), tuple(lows_N.tolist()), tuple(highs_N.tolist()))
    gain = law.error(law.most) - law.error(2 * law.most)
    return Forecast(law, gain, float(low), float(high), noise, band)


def _least_squares(sizes_P: Numbers, errors_BP: Numbers, exponents_E: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    """Floor, part and exponent of each draw's best curve, ``[B]`` each; where the floor would be below 0, it is 0.

    With a given exponent the curve is a line over ``n ** -exponent``, so that only exponents need to be tried.
    """
    x_EP = sizes_P ** -exponents_E[:, None]
    mean_E, mean_B1 = x_EP.mean(1), errors_BP.mean(1, keepdims=True)
    centred_EP, centred_BP = x_EP - mean_E[:, None], errors_BP - mean_B1
    together_BE, spread_E = centred_BP @ centred_EP.T, np.square(centred_EP).sum(1)
    product_BE, square_E = errors_BP @ x_EP.T, np.square(x_EP).sum(1)
    below_BE = mean_B1 < together_BE / spread_E * mean_E
    part_BE = np.where(below_BE, product_BE / square_E, together_BE / spread_E)
    left_BE = np.where(
        below_BE,
        np.square(errors_BP).sum(1, keepdims=True) - product_BE * part_BE,
        np.square(centred_BP).sum(1, keepdims=True) - together_BE * part_BE,
    )
    best_B = left_BE.argmin(1)
    rows_B = np.arange(len(errors_BP))
    part_B, below_B = part_BE[rows_B, best_B], below_BE[rows_B, best_B]
    floor_B = np.where(below_B, 0.0, mean_B1[:, 0] - part_B * mean_E[best_B])
    return floor_B, part_B, exponents_E[best_B]
