"""Slices, bands and the checks of input that all metrics share."""

from __future__ import annotations

import numpy as np
import pytest

from danlu.errors import InputError
from danlu.metrics.classification import Classification
from danlu.metrics.extraction import SQuAD
from danlu.metrics.regression import Regression
from danlu.metrics.tally import bands, of_each, overall, slices


def test_a_slice_has_the_figures_of_its_items_alone() -> None:
    gold, predicted = ["a", "b", "a", "c"], ["a", "b", "b", "a"]
    sliced = slices(Classification().tally(gold, predicted), ["zh", "en", "zh", "en"])
    assert list(sliced) == ["en", "zh"]
    alone = overall(Classification().tally(gold[1::2], predicted[1::2]))
    assert sliced["en"] == {"items": 2.0, **alone}
    assert not any(name.startswith("label.c.") for name in sliced["zh"]), "no item of it has this label"
    assert sliced["zh"]["macro.f1"] == pytest.approx((2 / 3 + 0) / 2)


def test_the_figures_of_each_item_are_those_of_it_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    gold, predicted = [["cat"], ["a dog sat"], []], ["cat", "dog", "mat"]
    found = of_each(SQuAD().tally(gold, predicted))
    assert found["f1"] == pytest.approx([1, 2 / 3, 0])
    assert np.isnan(found["no_answer.f1"]).tolist() == [True, True, False]
    monkeypatch.setattr("danlu.metrics.tally.CELLS", 4)
    assert of_each(SQuAD().tally(gold, predicted))["f1"].tolist() == found["f1"].tolist()


def test_bands_are_of_about_equally_many_items_and_in_order() -> None:
    lengths = list(np.random.default_rng(1).permutation(100))
    column = bands(lengths)
    assert sorted(set(column)) == ["1: 0..24", "2: 25..49", "3: 50..74", "4: 75..99"]
    assert all(column.count(name) == 25 for name in set(column))
    assert column[lengths.index(25)] == "2: 25..49"


def test_equal_numbers_are_in_one_band() -> None:
    assert bands([1, 1, 1, 1, 9]) == ["1: 1..1"] * 4 + ["2: 9..9"] or bands([1, 1, 1, 1, 9]) == ["1: 1..9"] * 5
    assert bands([5.5]) == ["1: 5.5..5.5"]
    assert bands([]) == []


def test_a_column_of_another_length_is_an_error() -> None:
    tally = Regression().tally([1.0, 2.0], [1.0, 2.0])
    with pytest.raises(InputError, match=r"^1 values of the column for 2 items: item 2 is missing in the values of"):
        slices(tally, ["en"])


@pytest.mark.parametrize(
    ("gold", "predicted", "message"),
    [
        (["a", "b"], ["a"], r"^1 predictions for 2 gold answers: item 2 is missing in the predictions$"),
        (["a"], ["a", "b"], r"^2 predictions for 1 gold answers: item 2 is missing in the gold answers$"),
        ([], [], r"^there is no item to score$"),
    ],
)
def test_an_item_without_its_counterpart_is_an_error(gold: list[str], predicted: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Classification().tally(gold, predicted)
