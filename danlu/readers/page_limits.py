"""Pages that would hold up whoever reads them: elements that stand in one another, or attributes, by the thousand.

No page that people write has so many; both are told in a time that grows with the length of the page alone.
"""

from __future__ import annotations

import re

MOST_DEEP = 2000
MOST_ATTRIBUTES = 2000
_NESTING = re.compile(
    r"<(/?)(?:div|span|section|article|main|header|footer|nav|aside|ul|ol|dl|table|blockquote|form|center|figure|details)\b",
    re.IGNORECASE,
)
_VALUE = r"""\s*+=\s*+(?:"[^"]*+"?|'[^']*+'?|[^\s>"'][^\s>]*+)?"""
_ATTRIBUTE = re.compile(rf"=?[^\s/>=]++(?:{_VALUE})?|=")
_TAG = re.compile(rf"<([a-zA-Z][^\s/>]*+)((?:[\s/]++|{_ATTRIBUTE.pattern})*+)")
"""A tag up to its end, as the tokenizer of the HTML standard (13.2.5) sees it; no character is looked at twice."""
_COMMENT_ENDS = re.compile("--!?>")
"""Also ``<!-->`` is a comment (13.2.5.43 and 52)."""
_RAW = frozenset({"script", "style", "textarea", "title", "xmp", "iframe", "noembed", "noframes"})
"""Elements within which nothing is a tag but their own end."""


def refusal(html: str) -> tuple[str, str] | None:
    """The reason and the detail for which a page is not read; None where it is.

    Looking for the main text takes minutes where elements are nested deep, and a time with the square of the number of
    attributes where a tag has many, for each is compared with those before it.
    """
    if _is_deep(html):
        return "nested too deep", f"more than {MOST_DEEP:,} elements in one another"
    if _has_many_attributes(html):
        return "too many attributes", f"more than {MOST_ATTRIBUTES:,} in a tag"
    return None


def _is_deep(html: str) -> bool:
    if html.count("<") <= 2 * MOST_DEEP:
        return False
    depth = 0
    for tag in _NESTING.finditer(html):
        depth = max(0, depth - 1) if tag[1] else depth + 1
        if depth > MOST_DEEP:
            return True
    return False


def _has_many_attributes(html: str) -> bool:
    least = 2 * MOST_ATTRIBUTES  # characters that they take
    if len(html) < least:
        return False
    place = 0
    while (place := html.find("<", place)) >= 0:
        if html.startswith("<!--", place):
            end = _COMMENT_ENDS.search(html, place + 2)
            if end is None:
                return False
            place = end.end()
            continue
        tag = _TAG.match(html, place)
        if tag is None:
            place += 1
            continue
        if tag.end() - place > least and sum(1 for _ in _ATTRIBUTE.finditer(tag[2])) > MOST_ATTRIBUTES:
            return True
        place = tag.end()
        if tag[1].lower() in _RAW:
            end = re.compile(f"</{tag[1]}", re.IGNORECASE).search(html, place)
            if end is None:
                return False
            place = end.start() + 2
    return False
