"""Pages: sections rendered as one HTML file that needs no other, or as Markdown with its pictures beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined

from danlu import pages
from danlu.evaluate import chart
from danlu.pages import markdown_cell

WIDE, NARROW = 720, 344
"""Widths of a picture in pixels, for a page and for a phone; text has the same size in both."""
Draw = Callable[[int, int], str | None]
"""A chart of a width and a height in pixels; None where there is nothing to draw."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A chart in both widths; ``file`` is its place below the run folder."""

    title: str
    file: str
    wide: str
    narrow: str = ""
    """Empty of one whose size is fixed, which a narrow page scrolls."""


def in_both_widths(name: str, title: str, draw: Draw, *, wide: int, narrow: int) -> dict[str, Picture]:
    """The picture under its name, so high in a wide and in a narrow page; nothing where there is nothing to draw."""
    page, phone = draw(WIDE, wide), draw(NARROW, narrow)
    if page is None or phone is None:
        return {}
    return {name: Picture(title, f"report/{name}.svg", page, phone)}


def render(template: str, values: dict[str, object], *, html: bool) -> str:
    """A template of ``templates/`` with its values; in HTML every value is text, whatever it holds."""
    environment = Environment(
        loader=PackageLoader("danlu.evaluate"),
        autoescape=html,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["cell"] = markdown_cell
    return environment.get_template(template).render(**values, page_style=pages.variables() + chart.STYLE)
