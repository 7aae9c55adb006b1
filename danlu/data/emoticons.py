"""Emoticons of signs alone, ``:)`` and ``:(``, as the emoji that they stand for: punctuation says nothing, they do.

A bracket behind a colon is mostly a bracket: ``注意：（一）`` and ``(as follows:)`` have none. It is a mouth where no
other bracket belongs to it, where there is a nose, or where spaces stand as before no colon. Those with letters, as
``:D``, are words already.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_MOUTHS = {")": "🙂", "]": "🙂", "(": "🙁", "[": "🙁", "/": "😕", "\\": "😕", "|": "😐"}
_FACES = re.compile(
    r"(?P<tear>:['’]-?\(+)"
    r"|(?P<eyes>[:;=])(?P<nose>[-^]?)(?P<mouth>\)+|\]+|\(+|\[+)"
    r"|(?<![\w-]):-?(?P<line>[/\\|])(?![\w/\\|-])"
    r"|(?<!\S)(?P<turned>[()]+)-?[:=](?!\S)"
    r"|(?P<heart><3)(?!\d)|(?P<broken></3)(?!\d)"
    r"|(?<![a-z\d^])(?P<glad>\^[_.-]?\^)(?![a-z\d^])|(?<![-\w])(?P<bored>-_+-)(?![-\w])|(?P<hurt>>[_.]<)"
    r"|(?<![a-z\d_])(?P<crying>t_+t|;_+;)(?![a-z\d_])"
)
_NAMED = {"tear": "😢", "heart": "\u2764", "broken": "💔", "glad": "😊", "bored": "😑", "hurt": "😣", "crying": "😭"}
_OPEN, _CLOSED = "([", ")]"


def with_emoji(text: str) -> str:
    """The text, in NFKC and lower case, with an emoji for each emoticon, one however often its mouth is there."""
    found = list(_FACES.finditer(text))
    if not found:
        return text
    brackets = _brackets(text, found)
    parts, end = [], 0
    for face in found:
        emoji = _emoji(text, face, brackets)
        if emoji is not None:
            parts += [text[end : face.start()], emoji]
            end = face.end()
    return "".join([*parts, text[end:]])


def _emoji(text: str, face: re.Match[str], brackets: set[int]) -> str | None:
    """What it stands for; None where it is punctuation."""
    if face["eyes"] is None:
        if face["line"]:
            return _MOUTHS[face["line"]]
        if face["turned"]:  # (: is :) seen from the other side
            return None if face.start() in brackets else _MOUTHS[")" if face["turned"][0] == "(" else "("]
        return next(emoji for name, emoji in _NAMED.items() if face[name])
    mouth = face["mouth"][0]
    apart = text[: face.start()][-1:].isspace() or face.start() == 0
    if mouth in _OPEN:
        apart = apart and not text[face.end() :][:1].strip()
    if not (face["nose"] or apart) and face.start("mouth") in brackets:
        return None
    return "😉" if face["eyes"] == ";" and mouth in _CLOSED else _MOUTHS[mouth]


def _brackets(text: str, faces: list[re.Match[str]]) -> set[int]:
    """The places of brackets that belong to another one, but for two that are mouths both."""
    mouths = {face.start("mouth") for face in faces if face["eyes"]}
    found: set[int] = set()
    for start, end in _pairs(text):
        if not (start in mouths and end in mouths):
            found |= {start, end}
    return found


def _pairs(text: str) -> Iterator[tuple[int, int]]:
    """Where brackets open, each with the place where it closes."""
    opened: dict[str, list[int]] = {each: [] for each in _OPEN}
    for place, letter in enumerate(text):
        if letter in _OPEN:
            opened[letter].append(place)
        elif letter in _CLOSED and (own := opened[_OPEN[_CLOSED.index(letter)]]):
            yield own.pop(), place
