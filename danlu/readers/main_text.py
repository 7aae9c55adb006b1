"""The main text of a page of HTML, with the passages and lists of it that a search by density of links leaves out.

Resiliparse drops paragraphs, and words within them, that hold many links or pieces of code, and lists of short items: a
quarter or more of some manuals. They are in the whole text of the page, between lines that it keeps.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import groupby

_LINK, _LINK_END = "\ufdd2", "\ufdd3"
"""Around the text of a link; characters that are none (Unicode 23.7)."""
_BEGINS, _ENDS = re.compile(r"""<a\s(?:[^<>"']++|"[^"<]*+"|'[^'<]*+')*+>""", re.I), re.compile(r"</a\s*+>", re.I)
_LINKED = re.compile(f"{_LINK}([^{_LINK}{_LINK_END}]*){_LINK_END}")
_MARKS = re.compile(f"[{_LINK}{_LINK_END}]")
_SENTENCE = re.compile(r"(?:[!?]|(?<![0-9])\.)[\"”’)\]]{0,2}(?:\s|$)|[。！？；：।؟۔][”’」』）]{0,2}|[:;]$")
_APART = re.compile(r"\W+")
_ITEM = re.compile(r"\s*(?:•|[0-9]+\.)\s|.*\S\s*\t")
"""An item of a list, or a row of a table, as Resiliparse writes them."""
_LEAST = 0.05
"""Share of the main text that passages have to make: single sentences within it are as often advertisements."""
_PROSE = 0.5
"""Share of a passage (lines without a blank one between) that is in lines with the end of a sentence."""
_LINKS = 0.5
"""Share of a list that links may make: where they make more, it leads to other pages and says little."""
_ALONE = 20
"""Characters of an item that is a list alone."""


def with_passages(main: str, html: str, whole_text: Callable[[str], str]) -> str:
    """``main``, or what lies between its first and its last line in the whole text of a page and is prose, a list, or
    in ``main``.

    No letter of ``main`` is lost: where its lines cannot be found in the whole text, it stays as it is.

    Args:
        html: the page.
        whole_text: makes the whole text of a page, line by line as ``main`` is.
    """
    lines, own_lines = whole_text(html).split("\n"), main.split("\n")
    keys, own_keys = list(map(_key, lines)), list(map(_key, own_lines))
    kept, known = set(own_keys) - {""}, set(keys) - {""}
    places = [number for number, key in enumerate(keys) if key in kept]
    if not places:
        return main
    inside = range(places[0], places[-1] + 1)
    lists, prose = _left_out(lines, [not key or key in kept for key in keys], inside)
    own = _letters(main)
    if sum(_letters(lines[number]).total() for number in prose) < _LEAST * own.total():
        prose = set()
    taken = prose | (_telling(lists, len(lines), whole_text(_with_marks(html))) if lists else set())
    if not taken:
        return main
    found = [lines[number] for number in inside if not keys[number] or keys[number] in kept or number in taken]
    ends = [number for number, key in enumerate(own_keys) if key in known]
    text = "\n".join([*own_lines[: ends[0]], *found, *own_lines[ends[-1] + 1 :]])
    return main if own - _letters(text) else text


def _key(line: str) -> str:
    """What is the same of a line in both texts, which may part its words otherwise; nothing of a blank one."""
    return _APART.sub("", line) or line.strip()


def _left_out(lines: list[str], stays: list[bool], inside: range) -> tuple[list[list[int]], set[int]]:
    """The lists, by the numbers of their lines, and the lines of passages of prose, which are not in the main text.

    One short item alone is no list: it is where in a menu the page stands.
    """
    lists: list[list[int]] = []
    prose: set[int] = set()
    for is_list, passages in groupby(_passages(lines, stays, inside), key=lambda each: _is_list(each, lines)):
        together = list(passages)
        items = [number for passage in together for number in passage] if is_list else []
        if len(items) > 1 or (items and len(lines[items[0]].strip()) >= _ALONE):
            lists.append(items)
        for passage in together:
            if _is_prose([lines[number] for number in passage]):
                prose.update(passage)
    return lists, prose


def _with_marks(html: str) -> str:
    """A page with marks around the text of its links."""
    return _ENDS.sub(lambda tag: _LINK_END + tag[0], _BEGINS.sub(lambda tag: tag[0] + _LINK, html))


def _telling(lists: list[list[int]], count: int, marked: str) -> set[int]:
    """The lines of the lists that are not mostly links; none where ``marked`` has other lines."""
    lines = marked.split("\n")
    if len(lines) != count:
        return set()
    return {number for each in lists if _linked([lines[place] for place in each]) < _LINKS for number in each}


def _passages(lines: list[str], stays: list[bool], inside: range) -> Iterator[list[int]]:
    """The numbers of lines that stand together and are not in the main text; an empty one where that comes between."""
    for kind, run in groupby(inside, key=lambda number: (bool(lines[number].strip()), stays[number])):
        if kind == (True, True):
            yield []
        elif kind == (True, False):
            yield list(run)


def _letters(text: str) -> Counter[str]:
    return Counter(letter for letter in text if letter.isalnum())


def _is_prose(passage: list[str]) -> bool:
    """Whether most of it is in sentences."""
    total = sum(map(len, passage))
    return sum(len(line) for line in passage if _SENTENCE.search(line.strip())) >= _PROSE * total > 0


def _is_list(passage: list[int], lines: list[str]) -> bool:
    """Whether each of its lines is an item of a list or a row of a table."""
    return bool(passage) and all(_ITEM.match(lines[number]) for number in passage)


def _linked(lines: list[str]) -> float:
    """The share of its characters that are in links."""
    linked = sum(len("".join(link.split())) for line in lines for link in _LINKED.findall(line))
    return linked / max(1, sum(len("".join(_MARKS.sub("", line).split())) for line in lines))
