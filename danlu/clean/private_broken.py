"""Numbers that the end of a line parts, as in pages of fixed width: ``138-1234-\n5678``.

Such a number counts only where it is the whole of what stands at the end of the one line and at the beginning of the
other, no further number beside it: a table of numbers has such neighbours.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from danlu.clean.private_page import FindIn, Found, Page

_HEAD = re.compile(r"(?:\+ ?)?\(?[0-9](?:[-. ()]{0,2}[0-9]){0,17}[-. )]{0,2}\Z")
_TAIL = re.compile(
    r" {0,8}\(?[0-9](?:[-. ()]{0,2}[0-9]){0,17}[0-9Xx]?(?![0-9A-Za-z_%:°])(?![.,:] ?[0-9]|[)、．：年月日元人个])"
)
_NEIGHBOUR_BEFORE = re.compile(r"[0-9$€£¥.,][-. \t|]{0,12}\Z|[0-9]\s{1,12}\Z|[0-9A-Za-z_]\Z")
_NEIGHBOUR_BEHIND = re.compile(r"[-. \t|]{0,12}[0-9]|\n[ \t|]{0,12}[0-9]")
_NOTHING_BEFORE, _NOTHING_BEHIND = re.compile(r"(?:\A|\n)[ \t]{0,12}\Z"), re.compile(r"[ \t]{0,12}(?:\n|\Z)")
_SIGN = re.compile(r"[-+(]")
"""Of telephone numbers."""
_YEAR = re.compile(r" {0,8}(?:1[3-9]|20)[0-9]{2}\Z")


class Broken(NamedTuple):
    """Where a number begins, the line end in it, and where it ends."""

    start: int
    middle: int
    end: int


_FEWEST, _MOST = 8, 19
"""Digits of a number on two lines."""
_WORDS_BEFORE = 48
_SHORT = 3
"""Characters from a line end to the end of a number that may as well be another one."""


def find_broken(page: Page, broken: list[Broken], find: FindIn) -> Iterator[Found]:
    """What ``find`` finds where two lines meet, were there no line end, or a space in its place."""
    for start, middle, end in broken:
        text = page.text
        before = text[max(0, start - _WORDS_BEFORE) : start]
        head = Page(before + text[start:middle], page.language, before + text[start:middle])
        for gap in ("", " "):
            joined = f"{before}{text[start:middle].rstrip()}{gap}{text[middle + 1 : end].lstrip()}"
            finds = find(Page(joined, page.language, joined))
            if end - middle <= _SHORT and any(each.end == len(before) + middle - start for each in find(head)):
                break  # whole before the line end
            whole = next((each for each in finds if (each.start, each.end) == (len(before), len(joined))), None)
            if whole is not None:
                if whole.kind != "phone" or not _are_two(text, start, end):
                    yield Found(start, end, whole.kind)
                break


def _are_two(text: str, start: int, end: int) -> bool:
    """Whether digits alone stand there, and no more on both lines: a list of two, of which many make a number of 11."""
    if _SIGN.search(text, start, end) or not _NOTHING_BEHIND.match(text, end):
        return False
    return _NOTHING_BEFORE.search(text, max(0, start - 13), start) is not None


def broken_numbers(page: Page) -> list[Broken]:
    """Numbers that may go on behind a line end."""
    text = page.text
    found: list[Broken] = []
    for place in page.line_ends:
        head = _HEAD.search(text, max(0, place - 28), place)
        tail = _TAIL.match(text, place + 1)
        if head is None or tail is None:
            continue
        if head[0][-1] != "-" and (_YEAR.match(tail[0]) or _YEAR.match(head[0])):
            continue
        start, end = head.start(), tail.end()
        if not _FEWEST <= sum(map(str.isdigit, text[start:end])) <= _MOST:
            continue
        if not (_NEIGHBOUR_BEFORE.search(text, max(0, start - 13), start) or _NEIGHBOUR_BEHIND.match(text, end)):
            found.append(Broken(start, place, end))
    return found
