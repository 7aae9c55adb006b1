"""Words of the texts that give a label away, as a mark does that was written into them by mistake."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from danlu.data.alike import IDEOGRAPHS
from danlu.data.example import TaskExample
from danlu.data.found import EXAMPLES, Finding
from danlu.data.labelled import Labelled
from danlu.errors import shown

_EXAMPLES = 20
"""Texts of a label, and of all others, below which it may be chance."""
_INSIDE, _OUTSIDE = 0.95, 0.01
"""Share of a label's texts that have the word at least, and of all others at most."""
_ROUNDING = 1e-9
_WORD = re.compile(rf"[{IDEOGRAPHS}]|(?:(?![{IDEOGRAPHS}])\w)+|[^\w\s]")
_HAS_DIGITS, _LETTERS = re.compile(r"\d"), re.compile(r"[^\W\d_]+")
_IDEOGRAPH = re.compile(f"[{IDEOGRAPHS}]")


@dataclass(frozen=True, slots=True)
class TellingWord:
    """The word that tells a label best."""

    label: str
    word: str
    inside: int
    """Texts of the label that have it."""
    outside: int
    """Other texts that have it."""

    def __str__(self) -> str:
        where = f"{self.inside:,} texts of {shown(self.label)!r}, in {self.outside:,} other{'s' * (self.outside != 1)}"
        return f"{shown(self.word)!r} stands in {where}"


def telling_words(split: str, examples: Sequence[TaskExample]) -> Iterator[Finding]:
    """Labels of which nearly every text has a word that nearly no other text has."""
    labelled = [each for each in examples if isinstance(each, Labelled) and each.label]
    found = _found(labelled)
    if found:
        count = sum(each.inside for each in found)
        what = f"in {count:,} of {len(labelled):,} texts a word gives the label away; a model may learn nothing else"
        yield Finding("telling", (split,), count, len(labelled), what, tuple(map(str, found[: EXAMPLES + 1])))


def _found(examples: Sequence[Labelled]) -> list[TellingWord]:
    """One a label at most, those of the most texts first."""
    texts: dict[str, list[str]] = defaultdict(list)
    for each in examples:
        texts[str(each.label)].append(" ".join(each.texts))
    found = []
    for label, own in texts.items():
        others = len(examples) - len(own)
        if min(len(own), others) < _EXAMPLES:
            continue
        inside = _in_most(own)
        outside = _in_few((text for other in texts if other != label for text in texts[other]), inside, others)
        telling = [TellingWord(label, word, inside[word], count) for word, count in outside.items()]
        found += sorted(telling, key=lambda each: (each.outside - each.inside, -len(each.word), each.word))[:1]
    return sorted(found, key=lambda each: -each.inside)


def _in_most(texts: Sequence[str]) -> Counter[str]:
    """Words that nearly all of the texts have, and how many do: mostly none is left after the first few texts."""
    may_lack = int((1 - _INSIDE) * len(texts) + _ROUNDING)
    counts: Counter[str] = Counter()
    for read, text in enumerate(texts):
        words = _words(text)
        if read <= may_lack:  # a word that is in none of so many lacks too often
            counts.update(words)
        else:
            counts.update(words & counts.keys())
            counts = Counter({word: count for word, count in counts.items() if read + 1 - count <= may_lack})
            if not counts:
                break
    return counts


def _in_few(texts: Iterable[str], words: Iterable[str], of: int) -> Counter[str]:
    """Those of the words that nearly no text has, and how many do.

    Args:
        of: how many texts there are.
    """
    counts: Counter[str] = Counter(dict.fromkeys(words, 0))
    for text in texts:
        if not counts:
            break
        counts.update(_words(text) & counts.keys())
        counts = Counter({word: count for word, count in counts.items() if count <= _OUTSIDE * of})
    return counts


def _words(text: str) -> set[str]:
    """Each once: words, of ``ab12`` its letters too, single ideographs and pairs of neighbours, and marks."""
    parts = _WORD.findall(text.casefold())
    parts += [letters for part in parts if _HAS_DIGITS.search(part) for letters in _LETTERS.findall(part)]
    pairs = {one + other for one, other in pairwise(parts) if _IDEOGRAPH.match(one) and _IDEOGRAPH.match(other)}
    return pairs.union(parts)
