"""Kinds and runs of spaces, and of blank lines."""

from __future__ import annotations

import re

_KINDS = re.compile("[\xa0\u1680\u2000-\u200a\u202f\u205f\u3000]")
_RUNS = re.compile(r"(?<=\S) {2,}(?=\S)")
_AT_END = re.compile(r"(?<![ \t])[ \t]++(?=\n|\Z)")  # a run is looked at once, however long


def plain_spaces(text: str) -> str:
    """No-break, thin, ideographic and other spaces (category Zs) as the ordinary one."""
    return text if text.isascii() else _KINDS.sub(" ", text)


def single_spaces(text: str) -> str:
    """One space where several part two words, and none at a line's end; what a line is indented by stays."""
    if "  " in text:
        text = _RUNS.sub(" ", text)
    ends = " \n" in text or "\t\n" in text or text.endswith((" ", "\t"))  # asking first is faster
    return _AT_END.sub("", text) if ends else text


def few_blank_lines(text: str, most: int) -> str:
    """At most ``most`` blank lines in a row; white space in those that fall goes with them."""
    return re.sub(rf"(?:\n[^\S\n]*){{{most + 1},}}\n", "\n" * (most + 1), text)
