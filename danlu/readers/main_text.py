"""The main text of a page of HTML, with the passages of it that a search by density of links leaves out.

Resiliparse drops paragraphs, and words within them, that hold many links or pieces of code: a quarter or more of some
manuals. They are in the whole text of the page, between lines that it keeps.
"""

from __future__ import annotations

import re
from collections import Counter
from itertools import groupby

_SENTENCE = re.compile(r"(?:[!?]|(?<![0-9])\.)[\"”’)\]]{0,2}(?:\s|$)|[。！？；：।؟۔][”’」』）]{0,2}|[:;]$")
_LEAST = 0.05
"""Share of the main text that passages have to make: single sentences within it are as often advertisements."""
_PROSE = 0.5
"""Share of a passage (lines without a blank one between) that is in lines with the end of a sentence."""


def with_passages(main: str, whole: str) -> str:
    """``main``, or what of ``whole`` lies between its first and its last line and is prose or in ``main``.

    No letter of ``main`` is lost: where its lines cannot be found in ``whole``, it stays as it is.
    """
    if len(whole) < (1 + _LEAST) * len(main):
        return main
    kept = {line.strip() for line in main.split("\n")} - {""}
    lines = whole.split("\n")
    places = [number for number, line in enumerate(lines) if line.strip() in kept]
    if not places:
        return main
    first, last = places[0], places[-1]
    texts: list[str] = []
    for is_kept, run in groupby(lines[first : last + 1], key=lambda line: not line.strip() or line.strip() in kept):
        passage = list(run)
        if is_kept or _is_prose(passage):
            texts += passage
    found = "\n".join(texts)
    letters, own = _letters(found), _letters(main)
    more = letters.total() - own.total()
    return found if more >= _LEAST * own.total() and not own - letters else main


def _letters(text: str) -> Counter[str]:
    return Counter(letter for letter in text if letter.isalnum())


def _is_prose(passage: list[str]) -> bool:
    """Whether most of it is in sentences."""
    total = sum(map(len, passage))
    return sum(len(line) for line in passage if _SENTENCE.search(line.strip())) >= _PROSE * total
