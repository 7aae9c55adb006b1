"""The confusion matrix as a picture: every count stands in the cell of its two labels."""

from __future__ import annotations

import random
from xml.etree import ElementTree

import pytest

from danlu.evaluate.matrix import alike_beside, matrix_chart, most_confused

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("count", [2, 5, 20, 77])
def test_every_count_is_in_the_row_of_its_gold_and_the_column_of_its_prediction(count: int) -> None:
    generator = random.Random(count)
    labels = [f"label <{n}> & 标签" for n in range(count)]
    counts = [[3 if a == b else generator.choice([0, 0, 1, 7]) for a in labels] for b in labels]
    root = ElementTree.fromstring(matrix_chart(labels, counts, title='a "title"'))
    order = alike_beside(labels, counts)
    assert sorted(order) == list(range(count))
    names = [text.text for text in root.iter(f"{SVG}text") if "label" in (text.text or "")]
    assert names[::2] == names[1::2] == [labels[place] for place in order]
    cells = [cell for cell in root.iter(f"{SVG}rect") if cell.attrib["class"] != "frame"]
    assert len(cells) == sum(bool(each) for row in counts for each in row)
    places = {}
    for axis in "xy":
        found = sorted({float(cell.attrib[axis]) for cell in cells})
        places[axis] = {place: number for number, place in enumerate(found)}
        assert len(found) == count, "no row or column of these is empty"
    for cell in cells:
        column, row = (order[places[axis][float(cell.attrib[axis])]] for axis in "xy")
        whole, title = sum(counts[row]), cell.find(f"{SVG}title")
        assert title is not None
        assert title.text == (
            f"{counts[row][column]:,} of {whole:,} with gold {labels[row]} were predicted as {labels[column]}"
        )
        assert cell.attrib["class"] == ("right" if row == column else "wrong")
        assert float(cell.attrib["fill-opacity"]) == pytest.approx(0.12 + 0.88 * counts[row][column] / whole, abs=0.01)
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    assert all(float(cell.attrib["x"]) + float(cell.attrib["width"]) <= width for cell in cells)
    assert all(float(cell.attrib["y"]) + float(cell.attrib["height"]) <= height for cell in cells)


def test_numbers_go_by_size_and_many_labels_stand_beside_what_they_are_confused_with() -> None:
    assert alike_beside(["10", "9", "-1"], [[0] * 3] * 3) == [2, 1, 0]
    assert alike_beside(["b", "a"], [[0, 5], [0, 0]]) == [1, 0]
    labels = [f"l{n:02}" for n in range(20)]
    counts = [[9 if a == b else 4 if abs(a - b) == 10 else 0 for b in range(20)] for a in range(20)]
    order = alike_beside(labels, counts)
    assert all(abs(one - other) == 10 for one, other in zip(order[::2], order[1::2], strict=True))


def test_the_most_confused_come_first() -> None:
    counts = [[5, 1, 2], [2, 9, 0], [7, 0, 1]]
    assert most_confused(["a", "b", "c"], counts, most=3) == [("c", "a", 7), ("a", "c", 2), ("b", "a", 2)]
