"""Words of the texts that give a label away, as a mark does that was written into them by mistake."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
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
_WORD = re.compile(rf"[{IDEOGRAPHS}]|(?:(?![{IDEOGRAPHS}])\w)+|[^\w\s]")
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
        where = f"{self.inside:,} texts of {shown(self.label)!r}, in {self.outside:,} others"
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
    words: dict[str, Counter[str]] = defaultdict(Counter)
    texts: Counter[str] = Counter()
    for each in examples:
        label = str(each.label)
        texts[label] += 1
        words[label].update(_words(" ".join(each.texts)))
    whole: Counter[str] = Counter()
    for counts in words.values():
        whole.update(counts)
    found = []
    for label, of_label in texts.items():
        others = len(examples) - of_label
        if min(of_label, others) < _EXAMPLES:
            continue
        telling = [
            TellingWord(label, word, count, whole[word] - count) for word, count in words[label].items()
            if count >= _INSIDE * of_label and whole[word] - count <= _OUTSIDE * others
        ]  # fmt: skip
        found += sorted(telling, key=lambda each: (each.outside - each.inside, -len(each.word), each.word))[:1]
    return sorted(found, key=lambda each: -each.inside)


def _words(text: str) -> set[str]:
    """Each once: words of letters, single ideographs and pairs of neighbours, and marks."""
    parts = _WORD.findall(text.casefold())
    pairs = {one + other for one, other in pairwise(parts) if _IDEOGRAPH.match(one) and _IDEOGRAPH.match(other)}
    return pairs.union(parts)
