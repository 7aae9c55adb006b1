"""A confusion matrix as SVG, drawn by hand: labels stay text, and each cell says in a tooltip what it counts."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from unicodedata import east_asian_width

CELLS = ((6, 52), (12, 38), (24, 26), (40, 16))
"""The most labels, and the pixels of a cell with so many."""
SMALLEST_CELL = 11
NUMBERS_FROM = 26
"""Pixels of a cell from which it has its count inside."""
LONGEST_NAME = 190
"""Pixels that names have room for."""


def matrix_chart(labels: Sequence[str], counts: Sequence[Sequence[int]], *, title: str) -> str:
    """An ``<svg>``: gold labels are rows, predicted ones columns; a cell is as dark as its share of the row."""
    order = alike_beside(labels, counts)
    cell = next((pixels for most, pixels in CELLS if len(labels) <= most), SMALLEST_CELL)
    font = 12 if cell >= 16 else 9
    names = [_shortened(labels[place], font) for place in order]
    room = max(_width(name, font) for name in names) + 10
    left, top, side = room + 16, room + 16, cell * len(order)
    width, height = left + side + 4, top + side + 4
    parts = [
        f'<svg class="chart matrix" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}" role="img" aria-label="{escape(title)}" '
        f'style="font-size:{font}px">',
        f'<text x="{left:.0f}" y="10" class="axis">predicted →</text>',
        f'<text transform="translate(10 {top:.0f}) rotate(-90)" text-anchor="end" class="axis">← gold</text>',
    ]
    for place, name in enumerate(names):
        middle = (place + 0.5) * cell
        parts.append(
            f'<text x="{left - 6:.0f}" y="{top + middle + font * 0.35:.1f}" text-anchor="end">{escape(name)}</text>'
        )
        x = left + middle + font * 0.35
        parts.append(f'<text transform="translate({x:.1f} {top - 6:.0f}) rotate(-90)">{escape(name)}</text>')
    for row, gold in enumerate(order):
        whole = sum(counts[gold])
        parts.append(_cell(left, top + row * cell, side, cell, "frame", ""))
        for column, said in enumerate(order):
            if count := counts[gold][said]:
                what = f"{count:,} of {whole:,} with gold {labels[gold]} were predicted as {labels[said]}"
                share = count / whole
                box = _cell(left + column * cell, top + row * cell, cell, cell,
                            "right" if gold == said else "wrong", what, share)  # fmt: skip
                parts.append(box)
                if cell >= NUMBERS_FROM:
                    x, y = left + (column + 0.5) * cell, top + (row + 0.5) * cell + 4
                    dark = ' class="dark"' if share > 0.55 else ""
                    parts.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="middle"{dark}>{count}</text>')
    return "\n".join([*parts, "</svg>"])


def alike_beside(labels: Sequence[str], counts: Sequence[Sequence[int]]) -> list[int]:
    """Places of the labels: numbers by size, few by name; of many, each beside the one it is confused with most."""
    if all(label.lstrip("-").isdigit() for label in labels):
        return sorted(range(len(labels)), key=lambda place: int(labels[place]))
    by_name = sorted(range(len(labels)), key=lambda place: labels[place])
    if len(labels) <= CELLS[1][0]:
        return by_name
    both = [[counts[a][b] + counts[b][a] if a != b else 0 for b in range(len(labels))] for a in range(len(labels))]
    left = list(by_name)
    order = [max(left, key=lambda place: max(both[place]))]
    left.remove(order[0])
    while left:
        tail = order[-1]
        after = max(left, key=lambda place: (both[tail][place], sum(both[other][place] for other in order[-4:])))
        order.append(after)
        left.remove(after)
    return order


def most_confused(labels: Sequence[str], counts: Sequence[Sequence[int]], *, most: int) -> list[tuple[str, str, int]]:
    """Pairs of a gold label and another that was predicted, the most frequent first."""
    pairs = [
        (gold, said, count)
        for gold, row in zip(labels, counts, strict=True)
        for said, count in zip(labels, row, strict=True)
        if count and gold != said
    ]
    return sorted(pairs, key=lambda pair: (-pair[2], pair[0], pair[1]))[:most]


def _cell(x: float, y: float, width: float, height: float, kind: str, what: str, share: float = 1.0) -> str:
    opacity = "" if kind == "frame" else f' fill-opacity="{0.12 + 0.88 * share:.2f}"'
    title = f"<title>{escape(what)}</title>" if what else ""
    return f'<rect class="{kind}" x="{x:.0f}" y="{y:.0f}" width="{width}" height="{height}"{opacity}>{title}</rect>'


def _width(name: str, font: int) -> float:
    """Pixels of a text, roughly: Chinese characters are twice as wide."""
    return sum(font * (1.0 if east_asian_width(each) in "WF" else 0.58) for each in name)


def _shortened(name: str, font: int) -> str:
    if _width(name, font) <= LONGEST_NAME:
        return name
    while _width(name, font) > LONGEST_NAME - font:
        name = name[:-1]
    return f"{name}…"
