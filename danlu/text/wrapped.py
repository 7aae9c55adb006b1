"""Lines that were broken at a width, joined again; verse, lists, tables and code stay as they are.

A text was wrapped where most of its lines are as long as its width lets them be: with the next line's
first word they would not fit. Verse is not: its lines end where the sense does, and begin with a capital.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_NARROWEST, _WIDEST = 40, 100
"""Columns that text is wrapped at; a Chinese character takes two."""

_SLACK = 6
"""Columns by which a line may be shorter than it could be: some editors break by eye."""

_LONG_SHARE = 0.1
"""Of the characters, those in lines wider than any wrapping; with more, the text is not wrapped (any more)."""

_EAST = "\u2e80-\u9fff\uf900-\ufaff\ufe30-\ufe4f\uff01-\uff60\U00020000-\U0003ffff"
_WIDE = re.compile(f"[\u1100-\u115f{_EAST}\uac00-\ud7a3\uffe0-\uffe6]")
_FIRST_WORD = re.compile(f"[{_EAST}][。，、！？：；”’」』）》…]*|[^\\s{_EAST}]+")
_EAST_END = re.compile(f"[{_EAST}“”‘’…—]\\Z")
_EAST_START = re.compile(f"[{_EAST}“”‘’…—]")
_SENTENCE_END = re.compile(r"[.!?…。！？；;:：][\"'”’」』）)]*\Z")
_HYPHENATED = re.compile(r"([^\W\d_]+)-\Z")
_CONTINUED = re.compile(r"[a-zà-öø-ÿ]+")
_APART = re.compile(
    r"\s|[-*+•·–—>#|]\s|(?:\d{1,3}|[a-zA-Z]|[ivxIVX]+)[.)、]|[（(]?[\d一二三四五六七八九十]{1,3}[)）、．]|```|~~~|<|[=\-_*~+]{3}"
)
_TABLE_OR_CODE = re.compile(r"\||\t|\S {3,}\S|[{};]\Z|\A(?:def|class|import|return|function)\b|</|==|->")


def join_lines(text: str) -> str:
    """Join what was wrapped; a text that was not, or of which one cannot tell, comes back as it is."""
    lines = text.split("\n")
    if _share_of_long_lines(lines, list(map(len, lines))) >= _LONG_SHARE:
        return text  # without a look at how wide its characters are
    widths = [_width(line) for line in lines]
    if _share_of_long_lines(lines, widths) >= _LONG_SHARE:
        return text
    breaks = [at for at in range(len(lines) - 1) if _may_join(lines[at], lines[at + 1])]
    width = _wrapped_at(lines, widths, breaks)
    if width is None:
        return text
    full = [at for at in breaks if _is_full(lines, widths, at, width)]
    joined = _join(lines, set(full), text)
    is_joined = _share_of_long_lines(joined, list(map(_width, joined))) >= _LONG_SHARE
    return "\n".join(joined) if is_joined else text  # so that what was joined is seen to be, the next time


def _width(text: str) -> int:
    return len(text) if text.isascii() else len(text) + len(_WIDE.findall(text))


def _share_of_long_lines(lines: list[str], widths: list[int]) -> float:
    characters = sum(map(len, lines))
    return sum(len(line) for line, width in zip(lines, widths, strict=True) if width > _WIDEST) / max(1, characters)


def _may_join(line: str, following: str) -> bool:
    """Both are text, and the second is no beginning of a paragraph, of an entry in a list, or of a heading."""
    if not line.strip() or not following.strip():
        return False
    apart = line[0] in "#>" or _APART.match(following) is not None
    return not (apart or _TABLE_OR_CODE.search(line) or _TABLE_OR_CODE.search(following))


def _wrapped_at(lines: list[str], widths: list[int], breaks: list[int]) -> int | None:
    """The width in columns, or None where the lines were not broken by it."""
    if len(breaks) < 3:
        return None
    ordered = sorted(widths[at] for at in breaks)
    width = ordered[int(0.98 * (len(ordered) - 1))]
    if not _NARROWEST <= width <= _WIDEST:
        return None
    full = sum(_is_full(lines, widths, at, width) for at in breaks)
    at_sentences = sum(_SENTENCE_END.search(lines[at]) is not None for at in breaks)
    capitals = sum(lines[at + 1][:1].isupper() for at in breaks)
    is_prose = at_sentences < 0.5 * len(breaks) and capitals < 0.6 * len(breaks)
    return width if is_prose and full >= 0.7 * len(breaks) else None


def _is_full(lines: list[str], widths: list[int], at: int, width: int) -> bool:
    """Whether the next line's first word would not have fitted."""
    word = _FIRST_WORD.search(lines[at + 1])
    first = word[0] if word else ""
    space = 0 if _EAST_START.match(lines[at + 1]) else 1
    return widths[at] + space + _width(first) > width - _SLACK


def _join(lines: list[str], full: set[int], text: str) -> list[str]:
    joined: list[str] = []
    paragraph = [lines[0]]  # its lines, with what parts them: a book may be one, too long to be copied for every line
    words: frozenset[str] | None = None
    for at, line in enumerate(lines[1:]):
        if at not in full:
            joined.append("".join(paragraph))
            paragraph = [line]
            continue
        before = paragraph.pop().rstrip(" \t")
        hyphenated, continued = _HYPHENATED.search(before), _CONTINUED.match(line)
        if hyphenated and continued:
            words = frozenset(_words(text)) if words is None else words
            keeps = _keeps_hyphen(hyphenated[1].lower(), continued[0], words)
            paragraph += [before if keeps else before[:-1], line]
        elif _EAST_END.search(before) and _EAST_START.match(line):
            paragraph += [before, line]
        else:
            paragraph += [before, " ", line]
    return [*joined, "".join(paragraph)]


def _words(text: str) -> Iterator[str]:
    return (word[0].lower() for word in re.finditer(r"(?<![\w-])[^\W\d_]+(?:-[^\W\d_]+)*(?![\w-])", text))


def _keeps_hyphen(start: str, rest: str, words: frozenset[str]) -> bool:
    """What the text itself says: the word with the hyphen elsewhere, the word without, both halves as words."""
    if f"{start}-{rest}" in words:
        return True
    return start + rest not in words and start in words and rest in words
