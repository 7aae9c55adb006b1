"""Histograms are well-formed, and their bars are as high as what they count."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from danlu.pages.histogram import LEFT, RIGHT, Bin, histogram

SVG = "{http://www.w3.org/2000/svg}"


def draw(*bins: Bin, span: tuple[int, int] = (0, 4), title: str = "Lengths") -> ElementTree.Element:
    svg = histogram(bins, title=title, names=("kept", "dropped"), unit="characters", span=span, size=(500, 300))
    return ElementTree.fromstring(svg)


def bars(root: ElementTree.Element, kind: str) -> list[dict[str, float]]:
    rects = [rect for rect in root.iter(f"{SVG}rect") if rect.attrib["class"] == kind]
    return [{name: float(rect.attrib[name]) for name in ("x", "y", "width", "height")} for rect in rects]


def test_bars_stand_on_both_sides_of_one_axis_in_one_scale() -> None:
    root = draw(Bin(10, 100, 40, 20), Bin(100, 1000, 10, 0))
    (first, second), (below,) = bars(root, "up"), bars(root, "down")
    axis = first["y"] + first["height"]
    assert second["y"] + second["height"] == pytest.approx(axis, abs=0.11) and below["y"] == pytest.approx(
        axis, abs=0.11
    )
    assert first["height"] / second["height"] == pytest.approx(4, rel=0.01)
    assert first["height"] / below["height"] == pytest.approx(2, rel=0.01)


def test_places_are_logarithms() -> None:
    root = draw(Bin(10, 100, 1, 0), Bin(1000, 10_000, 1, 0))
    one, two = bars(root, "up")
    quarter = (500 - LEFT - RIGHT) / 4
    assert one["x"] == pytest.approx(LEFT + quarter, abs=0.1) and two["x"] == pytest.approx(LEFT + 3 * quarter, abs=0.1)
    assert one["width"] == pytest.approx(quarter - 1, abs=0.1)
    labels = {text.text: float(text.attrib["x"]) for text in root.iter(f"{SVG}text")}
    assert labels["10"] == pytest.approx(one["x"], abs=0.1) and labels["10k"] == pytest.approx(500 - RIGHT, abs=0.1)


def test_things_of_no_size_have_a_bar_of_their_own_and_one_of_a_million_is_seen() -> None:
    root = draw(Bin(0, 1, 0, 3), Bin(1, 2, 1_000_000, 1), title='<of> & "all"')
    assert root.attrib["aria-label"] == '<of> & "all"'
    assert all(bar["height"] >= 1 for bar in bars(root, "down"))
    assert bars(root, "down")[0]["x"] + bars(root, "down")[0]["width"] < bars(root, "down")[1]["x"]
    titles = [title.text for title in root.iter(f"{SVG}title")]
    assert titles == ["0 characters: 0 kept, 3 dropped", "1 characters: 1,000,000 kept, 1 dropped"]


def test_nothing_is_a_picture_too() -> None:
    assert not bars(draw(span=(0, 1)), "up")
