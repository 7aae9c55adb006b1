"""Where sentences begin, by rules for Chinese and for languages that part sentences with a full stop and a space.

A sentence ends

- behind ``。！？；`` or ``……``, and behind ``!`` or ``?`` between Chinese characters, with the quotes and brackets
  that close there;
- behind ``. ! ? …`` and their like with what closes there, where white space follows and then no small letter; but not
  behind a title (``Mr.``), an initial (``J.``, ``U.S.``), a shortened word with its number (``fig. 3``) or the number
  of an item (``1.`` at the beginning of a line);
- at a blank line, and at a line end, unless the line looks like one that was wrapped in the middle of a sentence.
"""

from __future__ import annotations

import re

from danlu.text.words import HAN

_CLOSERS = "”’»」』）】〉》〕］｝\\)\\]}\"'"
_OPENERS = "“‘«「『（【〈《〔［｛\\(\\[{\"'*_—–-"
_ASCII_QUOTES = "\"'"
_STOPS = ".!?…‽؟۔।॥։።"
_MAY_END = re.compile(rf"[。！？；｡⋯{_STOPS}\n]")
_ENDS = re.compile(
    rf"(?P<chinese>(?:[。！？；｡]|…{{2,}}|⋯{{2,}}|(?<=[{HAN}])[!?]+(?=[{_CLOSERS}]*[{HAN}{_OPENERS}]))"
    rf"[。！？；｡!?…⋯]*(?P<chinese_closers>[{_CLOSERS}]*))"
    rf"|(?<![{_STOPS}])(?P<western>[{_STOPS}]+[{_CLOSERS}]*)(?=\s)"
    r"|(?P<blank>\n\s*\n)"
    r"|(?P<line>\n)"
)
_NEXT = re.compile(r"\s*")
_STOP_NEXT = re.compile(rf"\s+[{_STOPS}]")
_LETTER_NEXT = re.compile(rf"\s+[{_OPENERS}]*([^\W\d_])")
_DIGIT_NEXT = re.compile(r"\s+[#№(]?\d")
_LAST_WORD = re.compile(r"(?:[^\W_]+\.)*[^\W_]+$")
_ITEM = re.compile(r"\d{1,3}|[ivxlIVXL]{1,6}")
_INITIALS = re.compile(r"(?:[^\W\d_]\.)*[^\W\d_]")
_NO_INITIALS = ("i", "a.m", "p.m")
_NO_HAN = re.compile(rf"[^{HAN}]*")
_LINE_WIDTHS = range(50, 101)
"""Characters of a line that may have been broken for its width."""
_TITLE = re.compile(
    "adm|al|bros|capt|cf|cmdr|col|dr|fr|gen|gov|hon|lt|maj|messrs|mlle|mme|mr|mrs|ms|mt|mx|ph.d|pres|prof|rep|rev|sen"
    "|sgt|st|viz|vs"
)
"""Shortened words that a sentence goes on behind."""
_NUMBERED = re.compile(
    "approx|apr|art|aug|c|ca|ch|chap|dec|eqs?|feb|figs?|jan|jul|jun|mar|no|nos|nov|nr|oct|p|par|pp|pt|sec|sect|sept?|v"
    "|ver|vols?"
)
"""Shortened words that a sentence goes on behind if a number follows."""


def sentence_starts(text: str) -> list[int]:
    """The places in ``text``, in characters, at which sentences begin, in order; no white space is there."""
    place = _after_spaces(text, 0)
    starts = [place] if place < len(text) else []
    while candidate := _MAY_END.search(text, place):
        found = _ENDS.match(text, candidate.start())
        place = candidate.end() if found is None else found.end()
        end = None if found is None else _end(text, found, starts[-1])
        if end is not None and starts[-1] < (start := _after_spaces(text, end)) < len(text):
            starts.append(start)
    return starts


def _end(text: str, found: re.Match[str], start: int) -> int | None:
    """Behind which character the sentence ends that begins at ``start``; None where it goes on."""
    if found["chinese"] is not None:
        return _without_openers(text, found.start("chinese_closers"), found.end(), start)
    if found["western"] is not None:
        return found.end() if _stops(text, found, start) else None
    if found["line"] is not None:
        return None if _is_wrapped(text, found.start()) else found.end()
    return found.end()


def _without_openers(text: str, first: int, end: int, start: int) -> int:
    """Where what closes behind a Chinese sentence ends: a straight quote may open the next one instead."""
    for place in range(first, end):
        quote = text[place]
        if quote in _ASCII_QUOTES and text.count(quote, start, place) % 2 == 0:
            return place
    return end


def _stops(text: str, found: re.Match[str], start: int) -> bool:
    """Whether a full stop or its like, with white space behind it, ends a sentence."""
    following = _LETTER_NEXT.match(text, found.end())
    if (following is not None and following[1].islower()) or _STOP_NEXT.match(text, found.end()):
        return False
    if found["western"] != ".":
        return True
    before = text[max(start, found.start() - 40) : found.start()]
    last = _LAST_WORD.search(before)
    if last is None:
        return True
    word = last[0].lower()
    if _TITLE.fullmatch(word) or (_NUMBERED.fullmatch(word) and _DIGIT_NEXT.match(text, found.end())):
        return False
    if _INITIALS.fullmatch(word) and word not in _NO_INITIALS:
        return False
    return not (_ITEM.fullmatch(last[0]) and _begins_line(text, found.start() - len(last[0])))


def _begins_line(text: str, place: int) -> bool:
    """Whether nothing but a few spaces is before ``place`` in its line."""
    before = text[max(0, place - 20) : place].rstrip(" \t")
    return before.endswith("\n") or (not before and place <= 20)


def _is_wrapped(text: str, line_end: int) -> bool:
    """Whether a line was broken for its width: it is as wide as lines are, and no end of a sentence stands there."""
    first = text.rfind("\n", max(0, line_end - _LINE_WIDTHS.stop), line_end) + 1
    line = text[first:line_end].rstrip()
    if len(line) not in _LINE_WIDTHS or line[-1] in '.!?…:”"' or not _NO_HAN.fullmatch(line):
        return False
    return line_end + 1 < len(text) and text[line_end + 1] not in " \t-*#|=•"


def _after_spaces(text: str, place: int) -> int:
    found = _NEXT.match(text, place)
    assert found is not None
    return found.end()
