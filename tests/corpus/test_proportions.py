"""How many rows are read of each part: by weights, epochs, temperature and UniMax, against formulas and its paper."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.corpus.proportions import Extents, Floats, Temperature, UniMax, Weights, allot
from danlu.errors import InputError, RecipeError
from danlu.recipe import build_choice, plain


def mixture(use: str, **settings: Any) -> Any:
    return build_choice("mixture", {"use": use, **settings}, key="pretrain.mixture")


def extents(rows: list[float], tokens: list[float]) -> Extents:
    return Extents(np.array(rows, dtype=np.float64), np.array(tokens, dtype=np.float64))


def shares(found: Floats, parts: Extents) -> Floats:
    """Of the tokens."""
    read = found * parts.tokens / parts.rows
    return read / read.sum()


SIZES = st.lists(st.floats(1, 1e6), min_size=1, max_size=8)


@given(weights=st.lists(st.floats(1e-3, 1e3), min_size=3, max_size=3), total=st.none() | st.floats(1, 1e6))
def test_weights_are_shares_of_tokens_whatever_the_rows_hold(weights: list[float], total: float | None) -> None:
    """Rows of the second part are half empty, so it has twice as many."""
    parts = extents([10, 20, 100], [1000, 1000, 5000])
    made = mixture("weights", parts={name: {"weight": w} for name, w in zip("abc", weights, strict=True)})
    found = made.rows(parts, total)
    np.testing.assert_allclose(shares(found, parts), np.array(weights) / sum(weights), rtol=1e-12)
    assert total is None or found.sum() == pytest.approx(total)


@given(st.sampled_from([1.7e308, 1e308, 2.0**1000, 1e-300, 5e-324]), st.sampled_from([1, 2, 4]))
def test_the_largest_and_the_smallest_weights_are_weights(weight: float, times: int) -> None:
    """Sums of the first have no end, products of the last vanish."""
    parts = extents([10, 1e6], [30, 3e8])
    for total in (None, 100.0):
        made = mixture("weights", parts={"a": {"weight": weight / times}, "b": {"weight": weight}})
        like = mixture("weights", parts={"a": {"weight": (weight / times) / weight}, "b": {"weight": 1}})
        found = made.rows(parts, total)
        np.testing.assert_allclose(found / found.sum(), like.rows(parts, total) / like.rows(parts, total).sum())


def test_parts_with_epochs_are_read_so_often_and_others_share_the_rest() -> None:
    parts = extents([10, 40, 100, 100], [1000, 4000, 10000, 10000])
    told = {"books": {"epochs": 2}, "web": {"epochs": 0.5}, "a": {"weight": 3}, "b": {"weight": 1}}
    made = mixture("weights", parts=told)
    np.testing.assert_allclose(made.rows(parts, 100.0), [20, 20, 45, 15])
    assert made.counted and made.open_ended and made.epoch(parts) == 250
    with pytest.raises(InputError, match=r"the epochs of its parts are 40 rows, and there are 30 to read"):
        made.rows(parts, 30.0)


def test_where_all_parts_say_how_often_that_is_an_epoch() -> None:
    parts = extents([10, 40], [1000, 4000])
    made = mixture("weights", parts={"books": {"epochs": 2}, "web": {"epochs": 0.5}})
    assert not made.open_ended and made.epoch(parts) == 40
    np.testing.assert_allclose(made.rows(parts, 40.0), [20, 20])


def test_a_part_of_weight_0_is_not_read_nor_in_an_epoch() -> None:
    made = mixture("weights", parts={"a": {"weight": 0}, "b": {"weight": 2}})
    parts = extents([10, 40], [1000, 4000])
    assert made.rows(parts, 30.0).tolist() == [0, 30] and made.epoch(parts) == 40


@given(sizes=SIZES, temperature=st.floats(0.5, 20))
def test_temperature_is_the_power_of_the_papers(sizes: list[float], temperature: float) -> None:
    """Conneau and Lample 2019, section 3.1: q_i as p_i to the power of alpha, p_i the share of the text."""
    parts = extents([each / 50 for each in sizes], sizes)
    found = shares(mixture("temperature", temperature=temperature).rows(parts, None), parts)
    p = np.array(sizes) / sum(sizes)
    powers = p ** (1 / temperature)
    np.testing.assert_allclose(found, powers / powers.sum(), rtol=1e-9)


def unimax(sizes: list[float], budget: float, epochs: float) -> Floats:
    """Algorithm 1 of Chung et al. 2023, word by word: what each language has of the budget."""
    left, found = budget, np.zeros(len(sizes))
    order = np.argsort(sizes, kind="stable")
    for place, language in enumerate(order):
        uniform = left / (len(sizes) - place)
        found[language] = sizes[language] * epochs if uniform > sizes[language] * epochs else uniform
        left -= found[language]
    return found


@given(sizes=SIZES, used=st.floats(0.01, 1), epochs=st.floats(0.5, 10))
def test_unimax_is_its_papers_algorithm(sizes: list[float], used: float, epochs: float) -> None:
    budget = used * epochs * sum(sizes) * (1 - 1e-9)
    parts = extents([each / 50 for each in sizes], sizes)
    found = mixture("unimax", max_epochs=epochs).rows(parts, budget / 50)
    np.testing.assert_allclose(found * 50, unimax(sizes, budget, epochs), rtol=1e-6)


@given(
    parts=st.lists(st.tuples(st.floats(0.01, 10), st.floats(1, 100)), min_size=1, max_size=8), used=st.floats(0.01, 1)
)
def test_what_is_over_a_cap_goes_to_the_others_by_their_weights(parts: list[tuple[float, float]], used: float) -> None:
    weights, caps = np.array(parts).T
    total = used * caps.sum() * (1 - 1e-12)
    found = allot(weights, caps, total)
    assert found.sum() == pytest.approx(total) and (found <= caps * (1 + 1e-12)).all()
    below = found < caps * (1 - 1e-9)
    if below.any():  # each by its weight, and who is at the cap would have had more
        each = found[below] / weights[below]
        np.testing.assert_allclose(each, each[0], rtol=1e-9)
        assert (weights[~below] * each[0] >= caps[~below] * (1 - 1e-9)).all()


def test_too_little_text_for_the_caps() -> None:
    parts = extents([10, 40], [1000, 4000])
    for made in (mixture("unimax", max_epochs=2), mixture("temperature", max_epochs=2),
                 mixture("weights", parts={"a": {"weight": 1, "max_epochs": 2},
                                           "b": {"weight": 1, "max_epochs": 2}})):  # fmt: skip
        assert made.rows(parts, 100.0).tolist() == [20, 80] and made.counted
        with pytest.raises(InputError, match=r"with max_epochs there are 100 rows to read, and the budget has 101"):
            made.rows(parts, 101.0)


def test_a_part_that_a_sample_lacks_has_no_rows() -> None:
    parts = extents([10, 0], [1000, 0])
    for made in (
        mixture("unimax"),
        mixture("temperature"),
        mixture("weights", parts={"a": {"weight": 1}, "b": {"weight": 9}}),
    ):
        assert made.rows(parts, 20.0).tolist() == [20, 0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"use": "weigths"}, "pretrain.mixture.use: unknown mixture 'weigths'; did you mean 'weights'"),
        ({"use": "weights"}, "pretrain.mixture.parts is required"),
        ({"use": "weights", "parts": {}}, "pretrain.mixture.parts must be"),
        ({"use": "weights", "parts": {"a": {}}}, "parts.a: a part must have a weight or epochs"),
        ({"use": "weights", "parts": {"a": {"weight": 1, "epochs": 1}}}, "must have a weight or epochs, one of them"),
        ({"use": "weights", "parts": {"a": {"weigth": 1}}}, "parts.a.weigth: unknown key; did you mean 'weight'"),
        ({"use": "weights", "parts": {"a": {"weight": -1}}}, "parts.a.weight must be at least 0"),
        ({"use": "weights", "parts": {"a": {"weight": 0}, "b": {"weight": 0}}}, "of its parts sum to 0"),
        ({"use": "weights", "parts": {"a": {"epochs": 1, "max_epochs": 2}}}, "max_epochs has no effect where epochs"),
        ({"use": "weights", "parts": {"a b": {"weight": 1}}}, "a part's name must be of letters, digits, _ and -"),
        ({"use": "weights", "parts": {"a": {"weight": 1, "documents": {"langauge": "zh"}}}}, "did you mean 'language'"),
        ({"use": "temperature", "temperature": 0}, "pretrain.mixture.temperature must be greater than 0"),
        ({"use": "unimax", "parts": {"a.b": {}}}, "a part's name must be of letters"),
    ],
)  # fmt: skip
def test_settings_that_make_no_mixture(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        build_choice("mixture", settings, key="pretrain.mixture")


@pytest.mark.parametrize("made", [
    mixture("weights", parts={"a": {"weight": 2, "documents": {"source": "books/*"}}, "b": {"epochs": 1}}),
    mixture("temperature", max_epochs=3), mixture("unimax", parts={"zh": {"language": "zh"}}),
])  # fmt: skip
def test_settings_survive_yaml(made: Weights | Temperature | UniMax) -> None:
    assert build_choice("mixture", plain(made) | {"use": made.to_recipe()["use"]}, key="m") == made
