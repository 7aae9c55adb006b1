"""Pages take their colours and letters from one place, and all of them are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import danlu
from danlu.pages import colours

HOME = Path(danlu.__file__).parent
SHEETS = sorted(path for ending in ("*.css", "*.html.j2", "*.html") for path in HOME.rglob(ending))


def test_there_are_sheets() -> None:
    names = {path.name for path in SHEETS}
    assert {"report.css", "rate.css", "serve.css", "report.html.j2", "results.html.j2", "page.html"} <= names


@pytest.mark.parametrize("path", SHEETS, ids=lambda path: path.name)
def test_sheets_name_variables_that_are_there_and_no_colours(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    used = set(re.findall(r"var\(--([\w-]+)\)", text))
    assert used <= {*colours.COLOURS, *colours.LETTERS}
    assert not re.search(r":[^;{}]*#[0-9a-fA-F]{3,8}\b", text)
    assert ":root" not in text


def test_all_are_said_by_day_and_colours_by_night() -> None:
    day, night = colours.variables().splitlines()
    assert set(re.findall(r"--([\w-]+):", day)) == {*colours.COLOURS, *colours.LETTERS}
    assert "dark" in night and re.findall(r"--([\w-]+):", night) == list(colours.COLOURS)
