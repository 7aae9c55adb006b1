"""A histogram of two groups as SVG, one above the axis and one below it, along a logarithmic axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from danlu.pages.chart import ticks

LEFT, RIGHT, TOP, BOTTOM = 52, 6, 8, 26
"""Room around the plot in pixels."""
LEAST_SIDE = 14
"""Pixels that each side has, so that few below are still seen beside many above."""
STYLE = (
    ".histogram .up{fill:var(--second)}.histogram .down{fill:var(--accent)}.histogram .axis{stroke:var(--strong-rule)}"
    ".histogram g.bin:hover rect{opacity:.7}.histogram .all{fill:none;pointer-events:all}"
)


@dataclass(frozen=True, slots=True)
class Bin:
    """Things from ``start`` to below ``end``: how many are drawn above, and how many below the axis."""

    start: int
    end: int
    up: int
    down: int


def histogram(
    bins: Sequence[Bin], *, title: str, names: tuple[str, str], unit: str, span: tuple[int, int], size: tuple[int, int]
) -> str:
    """An ``<svg>``; bars on both sides are of one scale, and each says in a tooltip what it counts.

    Args:
        names: of what is drawn above and below.
        unit: of what the axis shows.
        span: the powers of ten at its ends; things of size 0 stand left of its beginning where that is 1.
        size: width and height in pixels.
    """
    width, height = size
    most_up, most_down = max((each.up for each in bins), default=0), max((each.down for each in bins), default=0)
    room = height - TOP - BOTTOM
    per = (room - 2 * LEAST_SIDE) / max(1, most_up + most_down)
    axis = TOP + LEAST_SIDE + most_up * per
    low, high = span
    zero_room = 14 if any(each.start == 0 for each in bins) else 0
    left, right = LEFT + zero_room, width - RIGHT

    def x(value: int) -> float:
        place = left + (math.log10(max(1, value)) - low) / max(1, high - low) * (right - left)
        return min(max(place, left), right)

    parts = [
        f'<svg class="chart histogram" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" role="img" aria-label="{escape(title)}">'
    ]
    for count in ticks(-most_down, most_up, about=max(2, round(room / 44))):
        if count != int(count):
            continue
        y = axis - count * per
        parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{right}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{abs(count):,.0f}</text>')
    for power in range(low, high + 1):
        anchor = "end" if power == high else "middle"
        parts.append(f'<text x="{x(10**power):.1f}" y="{height - 8}" text-anchor="{anchor}">{_short(10**power)}</text>')
    if zero_room:
        parts.append(f'<text x="{LEFT + 5}" y="{height - 8}" text-anchor="middle">0</text>')
    for each in bins:
        begin, end = (LEFT, LEFT + 10) if each.start == 0 else (x(each.start), x(each.end))
        parts.append(_bar(each, begin, end, axis=axis, per=per, names=names, unit=unit))
    parts.append(f'<path class="axis" d="M{LEFT} {axis:.1f}H{right}"/>')
    return "\n".join([*parts, "</svg>"])


def _bar(each: Bin, begin: float, end: float, *, axis: float, per: float, names: tuple[str, str], unit: str) -> str:
    where = f"{each.start:,}" if each.end == each.start + 1 else f"{each.start:,} to {each.end - 1:,}"
    told = f"{where} {unit}: {each.up:,} {names[0]}, {each.down:,} {names[1]}"
    up, down = (max(1.0, count * per) if count else 0.0 for count in (each.up, each.down))
    place = f'x="{begin:.1f}" width="{max(0.8, end - begin - 1):.1f}"'
    bars = [f'<rect class="all" {place} y="{axis - up - 3:.1f}" height="{up + down + 6:.1f}"/>']
    if up:
        bars.append(f'<rect class="up" {place} y="{axis - up:.1f}" height="{up:.1f}"/>')
    if down:
        bars.append(f'<rect class="down" {place} y="{axis:.1f}" height="{down:.1f}"/>')
    return f'<g class="bin"><title>{escape(told)}</title>{"".join(bars)}</g>'


def _short(number: int) -> str:
    """A power of ten: 100, 1k, 1M."""
    for size, letter in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if number >= size:
            return f"{number // size}{letter}"
    return str(number)
