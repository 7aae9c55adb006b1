"""Texts that stand whole within a longer one of another split, as answered messages and quoted reviews do."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from danlu.data.alike import IDEOGRAPHS
from danlu.data.example import TaskExample
from danlu.data.found import Finding, quoted, share_of
from danlu.data.near import NEAR

Key = tuple[str, ...]
LETTERS = 30
"""Letters of a text below which it may stand in another by chance; one of Chinese counts as three."""
_WINDOW = 10
"""Letters by which places are found that a text may begin at."""
_NAMED = 4
_BORDER = re.compile(rf"(?<![^ {IDEOGRAPHS}])|(?![^ {IDEOGRAPHS}])")
"""Where a word begins or ends, in a text without marks; in Chinese everywhere."""
_IDEOGRAPH = re.compile(f"[{IDEOGRAPHS}]")


def contained(
    splits: Mapping[str, Sequence[TaskExample]], keys: Mapping[str, Sequence[Key]], first: str, later: str
) -> Iterator[Finding]:
    """Examples of the later split whose text stands within a longer one of the first, or that hold one of those.

    What is nearly as long is told as almost the same. Only examples of one text are looked at: pairs have one in common
    by right.
    """
    early, late = _by_text(splits[first], keys[first]), _by_text(splits[later], keys[later])
    spoilt: dict[str, str] = {}
    for inner, outer in within(late, early):
        spoilt.setdefault(inner, f"{quoted(late[inner])} stands within {early[outer].place.short}")
    for inner, outer in within(early, late):
        spoilt.setdefault(outer, f"{quoted(late[outer])} holds {early[inner].place.short}")
    if spoilt:
        count = sum(key[0] in spoilt for key in keys[later] if len(key) == 1)
        what = f"{share_of(count, len(splits[later]))} stand within a text of {first}, or hold one"
        named = tuple(list(spoilt.values())[:_NAMED])
        yield Finding("contained", (first, later), count, len(splits[later]), what, named)


def _by_text(examples: Sequence[TaskExample], keys: Sequence[Key]) -> dict[str, TaskExample]:
    """The first example of each text."""
    found: dict[str, TaskExample] = {}
    for key, example in zip(keys, examples, strict=True):
        if len(key) == 1:
            found.setdefault(key[0], example)
    return found


def within(shorter: Iterable[str], longer: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Each of the ``shorter`` texts with each of the ``longer`` ones that it stands in, from word to word.

    Args:
        shorter: normalised, as those in which they are looked for.
    """
    begun: dict[str, list[str]] = defaultdict(list)
    for text in shorter:
        if len(text) >= _WINDOW and len(text) + 2 * len(_IDEOGRAPH.findall(text)) >= LETTERS:
            begun[text[:_WINDOW]].append(text)
    for text in longer if begun else ():
        borders = {match.start() for match in _BORDER.finditer(text)}
        met = {
            inner
            for start in borders
            for inner in begun.get(text[start : start + _WINDOW], ())
            if len(inner) < NEAR * len(text) and text.startswith(inner, start) and start + len(inner) in borders
        }
        for inner in sorted(met):
            yield inner, text
