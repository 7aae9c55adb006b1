"""A line chart as SVG, drawn by hand: text stays text, colours follow the page, a few kilobytes.

The classes ``accent``, ``second``, … and ``muted`` take their colours from the CSS variables of the page; a
chart that stands alone brings its own, for light and for dark (:func:`standalone`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal

from danlu.pages import colours

Point = tuple[float, float]
Colour = Literal["accent", "second", "third", "fourth", "fifth", "sixth"]
COLOURS: tuple[Colour, ...] = ("accent", "second", "third", "fourth", "fifth", "sixth")

STYLE = (
    ".chart{font:12px system-ui,-apple-system,'Segoe UI','Noto Sans','Noto Sans CJK SC',sans-serif}"
    ".chart text{fill:var(--muted)}"
    ".chart .grid{stroke:var(--rule)}"
    ".chart .accent{--c:var(--accent)}.chart .second{--c:var(--second)}.chart .third{--c:var(--third)}"
    ".chart .fourth{--c:var(--fourth)}.chart .fifth{--c:var(--fifth)}.chart .sixth{--c:var(--sixth)}"
    ".chart .trace,.chart .line{fill:none;stroke:var(--c);stroke-linejoin:round}"
    ".chart .trace{stroke-width:.8;opacity:.3}.chart .line{stroke-width:2}"
    ".chart circle{fill:var(--paper);stroke:var(--c);stroke-width:2}"
    ".chart text.value{fill:var(--c);font-weight:600}"
    ".matrix{font-size:inherit}.matrix .right{fill:var(--second)}.matrix .wrong{fill:var(--accent)}"
    ".matrix .frame{fill:none;stroke:var(--rule)}.matrix text.dark{fill:var(--paper)}.matrix .axis{font-size:11px}"
)
VARIABLES = ("paper", "muted", "rule", *COLOURS)
LIGHT, DARK = colours.light(VARIABLES), colours.dark(VARIABLES)

LEFT, RIGHT, TOP, BOTTOM = 46, 84, 12, 34
"""Room around the plot in pixels, the same in all charts, so that charts below each other line up."""
NAME = 34
"""Room for the name of the axis in pixels."""
LABEL_LEADING = 15
LABEL_HEIGHT = 34


@dataclass(frozen=True, slots=True)
class Series:
    """Points in order of x, how they are drawn and in which colour; one with a name is labelled at its end."""

    points: Sequence[Point]
    kind: Literal["trace", "line", "dots"]
    colour: Colour
    name: str = ""


@dataclass(frozen=True, slots=True)
class Frame:
    """Where data go on the paper: ranges of the values, and the rectangle in pixels that shows them."""

    x_low: float
    x_high: float
    y_low: float
    y_high: float
    left: float
    right: float
    top: float
    bottom: float

    def x(self, value: float) -> float:
        return self.left + (value - self.x_low) / (self.x_high - self.x_low) * (self.right - self.left)

    def y(self, value: float) -> float:
        return self.bottom - (value - self.y_low) / (self.y_high - self.y_low) * (self.bottom - self.top)


def line_chart(
    series: Sequence[Series],
    *,
    title: str,
    x_name: str,
    y_range: tuple[float, float],
    width: int,
    height: int,
    x_labels: Mapping[float, str] | None = None,
) -> str:
    """An ``<svg>`` of ``width`` x ``height`` pixels; what lies outside ``y_range`` is cut off.

    Args:
        x_labels: what stands below the axis, by place, where that is not the places themselves; the lowest place is
            that of ``x_name``.
    """
    ticks_y = ticks(*y_range, about=max(2, height // 60))
    xs = [x for each in series for x, _ in each.points]
    x_low, x_high = min(xs, default=0.0), max(xs, default=1.0)
    frame = Frame(
        x_low, max(x_high, x_low + 1), y_range[0], y_range[1],
        left=LEFT, right=width - RIGHT, top=TOP, bottom=height - BOTTOM,
    )  # fmt: skip
    clip = f"clip-{hash_of(title, width):x}"
    parts = [
        f'<svg class="chart" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" role="img" aria-label="{escape(title)}">',
        f'<clipPath id="{clip}"><rect x="{LEFT - 6}" y="0" width="{frame.right - LEFT + 12:g}" '
        f'height="{frame.bottom + 6:g}"/></clipPath>',
        *_axes(frame, ticks_y, x_name, x_labels if x_labels is not None else _round_labels(frame)),
        f'<g clip-path="url(#{clip})">',
        *(_draw(each, frame) for each in series if each.points),
        "</g>",
        *_end_labels([each for each in series if each.name], frame),
        "</svg>",
    ]
    return "\n".join(parts)


def standalone(svg: str) -> str:
    """The chart as a file of its own, with its colours for light and for dark."""
    style = f":root{{{LIGHT}}}@media(prefers-color-scheme:dark){{:root{{{DARK}}}}}{STYLE}"
    head, _, rest = svg.partition("\n")
    return f"{head}\n<style>{style}</style>\n{rest}\n"


def ticks(low: float, high: float, *, about: int) -> list[float]:
    """Round numbers from ``low`` to ``high``, roughly ``about``; steps are 1, 2, 2.5 or 5 times a power of ten."""
    rough = (high - low) / max(1, about)
    if rough <= 0 or not math.isfinite(rough):
        return [low]
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def hash_of(*parts: object) -> int:
    """A small number that is the same in every process, unlike ``hash``."""
    number = 0
    for byte in repr(parts).encode():
        number = (number * 31 + byte) % 2**31
    return number


def _round_labels(frame: Frame) -> dict[float, str]:
    """Round numbers along the axis, but for those at its beginning, where the name stands."""
    about = int(frame.right - frame.left) // 60
    places = [tick for tick in ticks(frame.x_low, frame.x_high, about=about) if frame.x(tick) > frame.left + NAME]
    return {place: _number(place, places) for place in places}


def _axes(frame: Frame, ticks_y: Sequence[float], x_name: str, x_labels: Mapping[float, str]) -> list[str]:
    parts = []
    for tick in ticks_y:
        y = frame.y(tick)
        parts.append(f'<path class="grid" d="M{frame.left:.1f} {y:.1f}H{frame.right:.1f}"/>')
        parts.append(
            f'<text x="{frame.left - 8:.1f}" y="{y + 4:.1f}" text-anchor="end">{_number(tick, ticks_y)}</text>'
        )
    for place, label in x_labels.items():
        parts.append(
            f'<text x="{frame.x(place):.1f}" y="{frame.bottom + 18:.1f}" text-anchor="middle">{escape(label)}</text>'
        )
    parts.append(f'<text x="{frame.left:.1f}" y="{frame.bottom + 18:.1f}">{escape(x_name)}</text>')
    return parts


def _draw(series: Series, frame: Frame) -> str:
    if series.kind == "dots":
        dots = (
            f'<circle cx="{frame.x(x):.1f}" cy="{frame.y(y):.1f}" r="3.5">'
            f"<title>{escape(series.name)} {x:,.0f}: {y:.4f}</title></circle>"
            for x, y in series.points
        )
        return f'<g class="{series.colour}">{"".join(dots)}</g>'
    far = 2 * frame.bottom  # beyond the clip, so that a spike does not make a number of many digits
    pairs = " ".join(f"{frame.x(x):.1f},{min(max(frame.y(y), -far), far):.1f}" for x, y in series.points)
    return f'<g class="{series.colour}"><polyline class="{series.kind}" points="{pairs}"/></g>'


def _end_labels(named: Sequence[Series], frame: Frame) -> list[str]:
    """Name and last value of each series, right of its end, moved apart where they would touch."""
    last = sorted(((frame.y(each.points[-1][1]), each) for each in named if each.points), key=lambda pair: pair[0])
    places = [min(max(y, frame.top), frame.bottom - LABEL_LEADING) for y, _ in last]
    for number in range(1, len(places)):
        places[number] = max(places[number], places[number - 1] + LABEL_HEIGHT)
    overhang = max(0.0, places[-1] - (frame.bottom - LABEL_LEADING)) if places else 0.0
    parts = []
    for place, (_, each) in zip(places, last, strict=True):
        x, y = frame.right + 10, place - overhang + 4
        parts.append(
            f'<g class="{each.colour}"><text class="value" x="{x:.1f}" y="{y:.1f}">{each.points[-1][1]:.3f}</text>'
            f'<text x="{x:.1f}" y="{y + LABEL_LEADING:.1f}">{escape(each.name)}</text></g>'
        )
    return parts


def _number(value: float, among: Sequence[float]) -> str:
    """The value with as many decimals as its neighbours need."""
    step = abs(among[1] - among[0]) if len(among) > 1 else abs(value) or 1.0
    decimals = next((places for places in range(9) if abs(step * 10**places - round(step * 10**places)) < 1e-6), 9)
    return f"{value:,.{decimals}f}"
