"""Alpha and kappa equal Krippendorff's published example, the krippendorff package and scikit-learn."""

from __future__ import annotations

import krippendorff
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from danlu.metrics.resampling import intervals
from danlu.metrics.tally import overall
from danlu.rate.agreement import Level, alpha, kappa

NONE = np.nan
EXAMPLE = [  # Krippendorff 2011, section C: four observers, twelve units, missing data
    [1, 2, 3, 3, 2, 1, 4, 1, 2, NONE, NONE, NONE],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NONE, 3],
    [NONE, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NONE],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NONE],
]
LEVELS: list[Level] = ["nominal", "ordinal", "interval"]


def units_of(table: list[list[float]]) -> list[list[float]]:
    return [[value for value in column if not np.isnan(value)] for column in np.array(table, dtype=float).T.tolist()]


@pytest.mark.parametrize(("level", "published"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_the_published_example(level: Level, published: float) -> None:
    tally = alpha(units_of(EXAMPLE), level)
    assert tally is not None and tally.items == 11  # the last unit has one rating
    assert overall(tally)["alpha"] == pytest.approx(published, abs=5e-4)


@given(
    table=st.integers(2, 4).flatmap(
        lambda raters: st.lists(
            st.lists(st.sampled_from([NONE, 1.0, 2.0, 4.0, 7.0]), min_size=raters, max_size=raters),
            min_size=1,
            max_size=12,
        )
    ),
    level=st.sampled_from(LEVELS),
)
def test_alpha_is_that_of_the_krippendorff_package(table: list[list[float]], level: Level) -> None:
    units = [[value for value in unit if not np.isnan(value)] for unit in table]
    tally = alpha(units, level)
    paired = [unit for unit in units if len(unit) > 1]
    if not paired:
        assert tally is None
        return
    assert tally is not None
    if len({value for unit in paired for value in unit}) < 2:
        assert overall(tally) == {}
        return
    rows = [np.pad(unit, (0, 4 - len(unit)), constant_values=NONE) for unit in paired]
    theirs = krippendorff.alpha(reliability_data=np.array(rows).T, level_of_measurement=level)
    assert overall(tally)["alpha"] == pytest.approx(theirs, abs=1e-9)


def test_groups_are_drawn_together() -> None:
    """The figure is the same; the interval is that of the groups: of one group there is none."""
    units = units_of(EXAMPLE)
    alone, together = alpha(units, "interval"), alpha(units, "interval", groups=["prompt"] * len(units))
    assert alone is not None and together is not None
    assert overall(alone)["alpha"] == pytest.approx(overall(together)["alpha"])
    assert intervals(together, seed=1) == {}
    low, high = intervals(alone, seed=1)["alpha"]
    assert low < overall(alone)["alpha"] < high


@given(
    pairs=st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), min_size=1, max_size=30),
    weights=st.sampled_from(["none", "quadratic"]),
)
def test_kappa_is_that_of_scikit_learn(pairs: list[tuple[int, int]], weights: str) -> None:
    first, second = [a for a, _ in pairs], [b for _, b in pairs]
    ours = kappa(first, second, weights=weights)  # type: ignore[arg-type]
    if len({*first, *second}) < 2:
        assert ours is None
        return
    # quadratic weights of theirs are of places in the list of labels: all that lie between have to be there
    labels = list(range(1, 6))
    theirs = cohen_kappa_score(first, second, labels=labels, weights=None if weights == "none" else weights)
    assert ours == pytest.approx(theirs)


def test_no_common_item_has_no_kappa() -> None:
    assert kappa([], [], weights="none") is None
