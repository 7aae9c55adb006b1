"""Labels that look like typing errors of others: ``pos `` and ``Pos`` beside ``pos``, ``postive`` beside ``positive``.

Case, width, spaces and dashes make no label of their own, however often they occur. A letter or two may, so there the
label has to be rare and the words long, and neither a number, a code of a few letters nor an opposite.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from danlu.data.alike import IDEOGRAPHS
from danlu.data.delimited import is_number
from danlu.data.example import Place, TaskExample
from danlu.data.found import EXAMPLES, Finding
from danlu.data.labels import label_counts
from danlu.errors import shown

_SHARE = 0.1
"""Share of the right label's examples that a misspelt one has at most."""
_ONCE = 2
"""Examples of the right label above which a single misspelt one will do, however small the share."""
_LENGTH = 4
"""Letters of a word in which one may be wrong; in one of twice as many two may, if the first is right."""
_CODE_LENGTH = 6
"""The same where all letters are capitals, as in PRON and PROPN, which are codes."""
_WORDS = re.compile(r"[\s_\-/.:]+|(?<=[a-z])(?=[A-Z])")
_PARTED = re.compile(r"(?<!\d)[\s_-]+|[\s_-]+(?!\d)")
"""Spaces and dashes; those between digits mean something."""
_IDEOGRAPH = re.compile(f"[{IDEOGRAPHS}]")
_NEGATIONS = {"a", "an", "un", "in", "im", "il", "ir", "re", "de", *"不无非未没"}
"""Put before a word they make another: moral, amoral; 相关, 不相关."""
_OPPOSITES = (("hyper", "hypo"), ("east", "west"), ("north", "south"), ("er", "ee"), ("in", "ex"), ("im", "ex"),
              ("in", "de"), ("in", "un"), ("im", "em"))  # fmt: skip
"""Parts of words that a letter or two would turn into each other."""
ALONE = "differs in case, width, spaces or dashes alone from"
MAYBE = "may be a misspelling of"


class Typo(NamedTuple):
    """What a label may be a typing error of, and how they differ, in words."""

    of: str
    how: str


def label_typos(splits: Mapping[str, Sequence[TaskExample]]) -> Iterator[Finding]:
    """The labels that look so, with the first places of each."""
    everywhere = [(name, example) for name, examples in splits.items() for example in examples]
    counts = label_counts([example for _, example in everywhere])
    found = typos(counts)
    where: dict[str, list[tuple[str, Place]]] = {label: [] for label in found}
    for name, example in everywhere if found else ():
        for label in found.keys() & label_counts([example]).keys():
            where[label].append((name, example.place))
    for label, (right, how) in found.items():
        names, places = {name for name, _ in where[label]}, [place for _, place in where[label]]
        yield Finding(
            "typo", (next(name for name in splits if name in names),), counts[label], len(everywhere),
            f"the label {shown(label)!r} ({counts[label]:,}) {how} {shown(right)!r} ({counts[right]:,})",
            tuple(place.short for place in places[: EXAMPLES + 1]),
        )  # fmt: skip


def typos(counts: Mapping[str, int]) -> dict[str, Typo]:
    """Those among labels that occur so often, each of a more frequent one; the most frequent first."""
    ordered = sorted(counts, key=lambda label: (-counts[label], label))
    folded = {label: _folded(label) for label in ordered}
    letters = {label: sum(1 << code for code in {ord(letter) % 64 for letter in folded[label]}) for label in ordered}
    found: dict[str, Typo] = {}
    for place, label in enumerate(ordered):
        for right in ordered[:place]:
            if folded[label] == folded[right]:
                found[label] = Typo(right, ALONE)
                break
            rare = counts[label] <= _SHARE * counts[right] or (counts[label] == 1 and counts[right] > _ONCE)
            near = (letters[label] ^ letters[right]).bit_count() <= 4  # of two edits each changes two letters at most
            if rare and near and _misspelt(label, right, folded):
                found[label] = Typo(right, MAYBE)
                break
    return found


def without_typos(counts: Mapping[str, int]) -> Counter[str]:
    """How often each label occurs, where those that look like typing errors are what they look like."""
    found, right = typos(counts), Counter[str]()
    for label, count in counts.items():
        meant = label
        while meant in found:
            meant = found[meant].of
        right[meant] += count
    return right


def _folded(label: str) -> str:
    """Without case, width, invisible signs, spaces and dashes."""
    text = unicodedata.normalize("NFKC", label).casefold()
    text = "".join(letter for letter in text if unicodedata.category(letter) != "Cf").strip()
    return text if is_number(text) else _PARTED.sub("", text) or text


def _misspelt(label: str, right: str, folded: Mapping[str, str]) -> bool:
    """Whether a letter or two of one would be wrong in the other, and nothing says that they are two."""
    one, other = folded[label], folded[right]
    if is_number(one) or is_number(other) or _digits(one) != _digits(other) or edits(one, other, 2) > 2:
        return False
    least = _CODE_LENGTH if label.isupper() and right.isupper() else _LENGTH
    words, others = _words(label), _words(right)
    if len(words) != len(others):
        return _mistyped(one, other, least)
    return all(_mistyped(*pair, least) for pair in zip(words, others, strict=True) if pair[0] != pair[1])


def _mistyped(one: str, other: str, least: int) -> bool:
    """The same of words, which have so many letters at least."""
    shorter, longer = sorted((one, other), key=len)
    count = edits(one, other, 2)
    if count > 2 or len(shorter) < least:
        return False
    if count == 2 and (len(shorter) < 2 * _LENGTH or one[0] != other[0]):
        return False
    if longer.endswith(shorter) and longer.removesuffix(shorter) in _NEGATIONS:
        return False
    if any(one.replace(*parts, 1) == other or other.replace(*parts, 1) == one for parts in _OPPOSITES):
        return False
    if _IDEOGRAPH.search(longer):  # another letter is another word there; one too many or two in a wrong order are not
        more = Counter(longer) - Counter(shorter)
        return count == 1 and (not more or len(shorter) < len(longer)) and not more.keys() & _NEGATIONS
    return True


def _words(label: str) -> list[str]:
    return [word.casefold() for word in _WORDS.split(unicodedata.normalize("NFKC", label).strip()) if word]


def _digits(label: str) -> str:
    return "".join(letter for letter in label if letter.isdigit())


def edits(one: str, other: str, most: int) -> int:
    """How many letters must be put in, left out, exchanged or swapped with their neighbour; ``most + 1`` if more.

    The optimal string alignment of Damerau (1964).
    """
    if abs(len(one) - len(other)) > most:
        return most + 1
    before: list[int] = []
    above = list(range(len(other) + 1))
    for row, letter in enumerate(one, 1):
        here = [row]
        for column, another in enumerate(other, 1):
            cost = min(above[column] + 1, here[-1] + 1, above[column - 1] + (letter != another))
            swapped = row > 1 and column > 1 and letter == other[column - 2] and one[row - 2] == another
            here.append(min(cost, before[column - 2] + 1) if swapped else cost)
        before, above = above, here
        if min(before) > most and min(above) > most:  # the next row begins from these two
            return most + 1
    return min(above[-1], most + 1)
