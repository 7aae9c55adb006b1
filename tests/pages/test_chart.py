"""Charts are well-formed, put points where they belong, and hide nothing but what the range cuts off."""

from __future__ import annotations

import math
import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.pages.chart import DARK, LEFT, LIGHT, RIGHT, Series, line_chart, standalone, ticks

SVG = "{http://www.w3.org/2000/svg}"


def draw(*series: Series, y_range: tuple[float, float] = (0.0, 10.0), width: int = 400) -> ElementTree.Element:
    svg = line_chart(series, title="Loss", x_name="step", y_range=y_range, width=width, height=200)
    return ElementTree.fromstring(svg)


def test_points_are_where_their_values_are() -> None:
    root = draw(Series([(0, 0), (50, 5), (100, 10)], "line", "accent"))
    polyline = root.find(f".//{SVG}polyline")
    assert polyline is not None
    points = [tuple(map(float, pair.split(","))) for pair in polyline.attrib["points"].split()]
    (left, low), (middle, half), (right, high) = points
    assert (left, right) == (LEFT, 400 - RIGHT)
    assert middle == pytest.approx((left + right) / 2, abs=0.1)
    assert half == pytest.approx((low + high) / 2, abs=0.1)
    assert high < low  # pixels count downwards


def test_ticks_stand_at_their_values() -> None:
    root = draw(Series([(0, 0), (100, 10)], "line", "accent"))
    labels = {text.text: text for text in root.iter(f"{SVG}text")}
    line_at_5 = next(path for path in root.iter(f"{SVG}path") if path.attrib["class"] == "grid")
    assert "0" in labels
    assert float(labels["100"].attrib["x"]) == pytest.approx(400 - RIGHT, abs=0.1)
    assert re.match(rf"M{LEFT}\.0 ", line_at_5.attrib["d"])


def test_text_is_text_and_marks_do_not_break_out() -> None:
    name = '训练 <loss> & "more"'
    root = draw(Series([(1, 1), (2, 2)], "line", "second", name), Series([(1, 1)], "dots", "accent"))
    assert name in [text.text for text in root.iter(f"{SVG}text")]
    assert len(list(root.iter(f"{SVG}circle"))) == 1


def test_labels_do_not_touch() -> None:
    """Three series that end in one point: their labels stand apart, inside the picture."""
    root = draw(*(Series([(0, 1), (9, 0.1)], "line", "accent", name) for name in "abc"), y_range=(0, 10))
    heights = sorted(float(t.attrib["y"]) for t in root.iter(f"{SVG}text") if t.attrib.get("class") == "value")
    assert len(heights) == 3
    assert min(after - before for before, after in pairwise(heights)) >= 30
    assert heights[-1] < 200


def test_standalone_brings_its_colours() -> None:
    svg = standalone(line_chart([], title="t", x_name="step", y_range=(0, 1), width=400, height=200))
    ElementTree.fromstring(svg)
    light, dark = (set(re.findall(r"--\w+(?=:)", colours)) for colours in (LIGHT, DARK))
    assert light == dark == set(re.findall(r"var\((--\w+)\)", svg)) - {"--c"}
    assert LIGHT in svg
    assert f"prefers-color-scheme:dark){{:root{{{DARK}" in svg


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6), st.integers(2, 12))
def test_ticks_are_round_few_and_inside(low: float, span: float, about: int) -> None:
    high = low + span
    if high - low < 1e-9 * max(abs(low), abs(high)):
        return  # nothing between them that a float can tell apart
    found = ticks(low, high, about=about)
    assert len(found) <= about + 1
    assert all(low - span * 1e-6 <= tick <= high + span * 1e-6 for tick in found)
    if len(found) > 1:
        step = (found[-1] - found[0]) / (len(found) - 1)
        mantissa = step / 10 ** math.floor(math.log10(step) + 1e-9)
        assert min(abs(mantissa - allowed) for allowed in (1, 2, 2.5, 5, 10)) < 1e-3


def test_ticks_of_nothing() -> None:
    assert ticks(3.0, 3.0, about=5) == [3.0]
