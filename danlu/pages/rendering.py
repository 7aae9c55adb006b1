"""Templates of pages: those of a room, and beside them the ones that all rooms share."""

from __future__ import annotations

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined


def environment(room: str, *, html: bool = True) -> Environment:
    """Templates of the package ``room``; in HTML every value is text, whatever it holds, and none may be missing."""
    return Environment(
        loader=ChoiceLoader([PackageLoader(room), PackageLoader("danlu.pages")]),
        autoescape=html,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def markdown_cell(text: str) -> str:
    """Text that stands in a cell of a Markdown table as it is."""
    flat = " ".join(text.split())
    for mark in "\\|`*_<>[]#~":
        flat = flat.replace(mark, f"\\{mark}")
    return flat
