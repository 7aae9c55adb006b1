"""Whether a label may be a typing error of another, by its letters and by how often both occur."""

from __future__ import annotations

import re
import unicodedata
from itertools import takewhile
from typing import NamedTuple

from danlu.data.alike import IDEOGRAPHS, simplified
from danlu.data.chinese_words import is_usual_word, look_alike, sound_the_same
from danlu.data.delimited import is_number
from danlu.data.label_words import MODIFIERS, NEGATIONS, REVERSED, SERIES, WORDS

TWICE = 8
"""Letters of a label from which two may be wrong: of a word whose first letter is right, or one in each of two."""
_SHARE = 0.1
"""Share of the right label's examples that a misspelt one has at most."""
_ONCE = 2
"""Examples of the right label above which a single misspelt one will do, however small the share."""
_OFTEN = 100
"""Examples of the right label from which exchanged ideographs are looked at too."""
_OFTEN_SHORT = 50
"""The same of short words."""
_SELDOM = 2
"""Examples that a label with an exchanged ideograph has at most, beside so many."""
_SAME_SOUND = 20
"""Examples of the right label from which one of the same sound will do, the slip of who types by sound."""
_LENGTH = TWICE // 2
"""Letters of a word in which one may be wrong."""
_CODE_LENGTH = 6
"""The same where all letters are capitals, as in PRON and PROPN, which are codes."""
_SHORT = 3
"""Letters of a word in which a slip of the hand is looked for, where they are too few for anything else."""
_KEYS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
"""The keys of a keyboard, each row a little further right than the one above it."""
_IDEOGRAPHS_LEAST = 2
"""The same of ideographs, of which each says more."""
_WORD_ENDS = re.compile(r"[\s_\-/.:]+|(?<=[a-z])(?=[A-Z])")
_PARTED = re.compile(
    r"(?<=[^\W\d_])(?:[\s_]+|[_-]+|\s+-+\s+)(?=[^\W\d_])|(?<=[^\W\d_])[\s_]+(?=\d)|(?<=\d)(?:[\s_]+|[_-]+)(?=[^\W\d_])"
    r"|(?<!\d)\s+|\s+(?!\d)"
)
"""Spaces, and dashes between letters. A space between digits says something, and so does a dash at an end."""
_SIGNS = "+-"
_KEPT = "#%‰*@"
"""Punctuation that makes another label where it stands at an end: C#, 10%, A*."""
_QUOTES = "`´"
"""Quotes that Unicode does not count as punctuation."""
_IDEOGRAPH = re.compile(f"[{IDEOGRAPHS}]")
_ROMAN = re.compile(r"(?=.)m{0,3}(?:cm|cd|d?c{0,3})(?:xc|xl|l?x{0,3})(?:ix|iv|v?i{0,3})")
_PREFIXES = {"a", "an", "un", "in", "im", "il", "ir", "re", "de"}
"""Put before a word they make another: moral, amoral."""
_OPPOSITES = (("hyper", "hypo"), ("east", "west"), ("north", "south"), ("er", "ee"), ("in", "ex"), ("im", "ex"),
              ("in", "de"), ("in", "un"), ("im", "em"))  # fmt: skip
"""Parts of words that a letter or two would turn into each other."""


class Form(NamedTuple):
    """A label as it is compared."""

    folded: str
    """Without case, width, script of Chinese, invisible signs, spaces, dashes between letters and marks at the ends."""
    words: tuple[str, ...]
    signs: str
    """Its digits and signs, which no typing error is looked for in."""
    capitals: bool
    number: bool


def form(label: str) -> Form:
    """How a label is compared with others."""
    text = simplified(_plain(label))
    number = is_number(text)
    folded = text.casefold()
    if not number:
        folded = _PARTED.sub("", folded) or folded
    words = tuple(word.casefold() for word in _WORD_ENDS.split(text) if word)
    signs = "".join(letter for letter in folded if letter.isdigit() or letter in _SIGNS or letter in _KEPT)
    return Form(folded, words, signs, text.isupper(), number)


def _plain(label: str) -> str:
    """In NFKC, with one kind of dash, without invisible signs and without marks at the ends of what is no number."""
    letters = [(letter, unicodedata.category(letter)) for letter in unicodedata.normalize("NFKC", label)]
    text = "".join("-" if kind == "Pd" or letter == "\u2212" else letter for letter, kind in letters if kind != "Cf")
    text = text.strip()
    if is_number(text):
        return text
    first = sum(1 for _ in takewhile(_is_mark, text))
    last = len(text) - sum(1 for _ in takewhile(_is_mark, reversed(text)))
    return text[first:last] or text


def _is_mark(letter: str) -> bool:
    punctuation = unicodedata.category(letter)[0] == "P" and letter not in _SIGNS and letter not in _KEPT
    return punctuation or letter.isspace() or letter in _QUOTES


def is_rare(count: int, right: int) -> bool:
    """Whether a label occurs so seldom beside another that it may be a typing error of it."""
    return count <= _SHARE * right or (count == 1 and right > _ONCE)


def misspelt(label: Form, right: Form, count: int, of: int) -> bool:
    """Whether a letter or two of a label would be wrong in another, and nothing says that they are two.

    Args:
        count: how often the label occurs.
        of: how often the other one does.
    """
    if label.number or right.number or label.signs != right.signs or not is_rare(count, of):
        return False
    if edits(label.folded, right.folded, 2) > 2:
        return False
    least = _CODE_LENGTH if label.capitals and right.capitals else _LENGTH
    pairs = [(label.folded, right.folded)]
    if len(label.words) == len(right.words):
        pairs = [pair for pair in zip(label.words, right.words, strict=True) if pair[0] != pair[1]]
    for one, other in pairs:
        if any(_IDEOGRAPH.search(word) for word in (one, other)):
            mistyped = _miswritten(one, other, count, of)
        elif min(len(one), len(other)) < least:
            mistyped = (
                count == 1 and of >= _OFTEN_SHORT and _slipped(one, other, codes=label.capitals or right.capitals)
            )
        else:
            mistyped = _mistyped(one, other)
        if not mistyped:
            return False
    return True


def _mistyped(one: str, other: str) -> bool:
    """Whether a letter or two of a long word would be wrong in another."""
    shorter, longer = sorted((one, other), key=len)
    count = edits(one, other, 2)
    if count > 2 or (count == 2 and (len(shorter) < TWICE or one[0] != other[0])):
        return False
    if longer.endswith(shorter) and longer.removesuffix(shorter) in _PREFIXES:
        return False
    if _ROMAN.fullmatch(one) and _ROMAN.fullmatch(other):
        return False
    return not any(one.replace(*parts, 1) == other or other.replace(*parts, 1) == one for parts in _OPPOSITES)


def _slipped(label: str, right: str, *, codes: bool) -> bool:
    """Whether a short word is another one with a letter doubled or two swapped; in what are no codes also with the key
    beside the right one hit in its place, or within it with it, or a letter within it left out."""
    if len(right) < _SHORT or (_ROMAN.fullmatch(label) and _ROMAN.fullmatch(right)):
        return False
    if min(len(label), len(right)) >= _SHORT and (_is_swapped(label, right) or _is_doubled(label, right)):
        return True
    if codes:
        return False
    start, mine, theirs = _difference(label, right)
    if len(mine) == len(theirs) == 1:
        return _are_beside(mine, theirs)
    if start == 0 or start == min(len(label), len(right)):  # other words begin or end otherwise: art, part; new, news
        return False
    if not mine:
        return len(theirs) == 1
    return len(mine) == 1 and not theirs and any(_are_beside(mine, near) for near in right[start - 1 : start + 1])


def _are_beside(one: str, other: str) -> bool:
    """Whether two keys are neighbours."""
    places = {key: (row, 2 * place + row) for row, keys in enumerate(_KEYS) for place, key in enumerate(keys)}
    if one not in places or other not in places:
        return False
    (row, place), (another, there) = places[one], places[other]
    return (row == another and abs(place - there) == 2) or (abs(row - another) == 1 and abs(place - there) == 1)


def _miswritten(one: str, other: str, count: int, of: int) -> bool:
    """Whether one ideograph is doubled, swapped with its neighbour, in a long label left out, or exchanged for another.

    Another ideograph is another word, so that the counts of both have to say that one was exchanged.
    """
    start, mine, theirs = _difference(one, other)
    if not all(map(_IDEOGRAPH.match, mine + theirs)):
        return False
    if min(len(_IDEOGRAPH.findall(word)) for word in (one, other)) < _IDEOGRAPHS_LEAST:
        return False
    if _is_swapped(one, other):
        return not _in_series(*mine) and not {mine, theirs} <= REVERSED and not _are_words(mine, theirs)
    if _is_doubled(one, other):
        return True
    if len(mine + theirs) == 1:
        return min(len(one), len(other)) >= _LENGTH and mine + theirs not in MODIFIERS
    if len(mine) != 1 or len(theirs) != 1 or _in_series(mine, theirs) or {mine, theirs} & NEGATIONS:
        return False
    if count > _SELDOM or of < _SAME_SOUND:
        return False
    alike = sound_the_same(mine, theirs)
    if not alike and of < _OFTEN:
        return False
    if {one[max(0, start - 1) : start + 1], one[start : start + 2]} & WORDS:
        return False
    if alike or look_alike(mine, theirs):  # as most that is written for another
        return True
    pairs = [(one[place : place + 2], other[place : place + 2]) for place in (start - 1, start) if place >= 0]
    return not any(_are_words(*pair) for pair in pairs)


def _are_words(one: str, other: str) -> bool:
    """Whether both are usual words of two signs."""
    return len(one) == len(other) == 2 and is_usual_word(one) and is_usual_word(other)


def _in_series(one: str, other: str) -> bool:
    return any(one in series and other in series for series in SERIES)


def _is_swapped(one: str, other: str) -> bool:
    _, mine, theirs = _difference(one, other)
    return len(mine) == 2 and mine[::-1] == theirs


def _is_doubled(one: str, other: str) -> bool:
    shorter, longer = sorted((one, other), key=len)
    start, less, more = _difference(shorter, longer)
    return not less and len(more) == 1 and start > 0 and longer[start - 1] == more


def _difference(one: str, other: str) -> tuple[int, str, str]:
    """Where two words begin to differ, and what they have between their common beginning and their common end."""
    least = min(len(one), len(other))
    start = sum(1 for _ in takewhile(lambda place: one[place] == other[place], range(least)))
    end = sum(1 for _ in takewhile(lambda place: one[-1 - place] == other[-1 - place], range(least - start)))
    return start, one[start : len(one) - end], other[start : len(other) - end]


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
