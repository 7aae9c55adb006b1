"""Names that are one kind of entity nearly everywhere, and in a few places another or none: those may be errors."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from danlu.data.example import TaskExample
from danlu.data.found import EXAMPLES, Finding
from danlu.data.tagged import Tagged
from danlu.data.tags import Scheme, find_scheme, read_tag
from danlu.data.writing import pieces
from danlu.errors import shown
from danlu.metrics.entities import Entity, conlleval_entities

OFTEN = 10
"""Places of a name from which the rest may be errors."""
SHARE = 0.9
"""Of its places those that are of one kind, at least."""
_LONGEST = 8
"""Tokens of a name that is looked for."""

Name = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a name stands, and as what; None: as no entity."""

    split: str
    example: Tagged
    token: int
    kind: str | None

    def __str__(self) -> str:
        return f"{self.kind or 'no entity'} in {self.example.place_of(self.token).short}"


def odd_entities(splits: Mapping[str, Sequence[TaskExample]]) -> Iterator[Finding]:
    """Places of each split where a name is not what it is in nearly all others, of all splits together."""
    tagged = [
        (name, each) for name, examples in splits.items() for each in examples if isinstance(each, Tagged) and each.tags
    ]
    scheme = find_scheme([each.tags or () for _, each in tagged]) if tagged else "none"
    if scheme == "none":
        return
    spans = [_spans(each.tags or (), scheme) for _, each in tagged]
    often = _often(tagged, spans)
    places: dict[Name, list[_Place]] = defaultdict(list)
    for (name, each), own in zip(tagged, spans, strict=True):
        for start, words, kind in _met(each.tokens, own, often):
            places[words].append(_Place(name, each, start, kind))
    odd: list[tuple[str, _Place]] = []
    for words, found in places.items():
        (kind, count), *_ = Counter(each.kind for each in found).most_common(1)
        if kind is not None and len(found) > count >= SHARE * len(found) and count >= OFTEN:
            what = f"{shown(''.join(pieces(words)))!r}, {count:,} times {kind}, is"
            odd += [(what, each) for each in found if each.kind != kind]
    for name in splits:
        here = [(said, each) for said, each in odd if each.split == name]
        if here:
            are = "place is" if len(here) == 1 else "places are"
            what = f"{len(here):,} {are} tagged unlike nearly all others of the same name"
            listed = tuple(f"{said} {each}" for said, each in here[: EXAMPLES + 1])
            entities = sum(len(own) for (split, _), own in zip(tagged, spans, strict=True) if split == name)
            yield Finding("entity", (name,), len(here), entities, what, listed)


def _spans(tags: Sequence[str], scheme: Scheme) -> list[Entity]:
    """Kind, first token and the one behind the last of each entity."""
    return conlleval_entities([read_tag(tag, scheme) or ("O", "") for tag in tags])


def _often(tagged: Sequence[tuple[str, Tagged]], spans: Sequence[Sequence[Entity]]) -> dict[str, set[Name]]:
    """Names that are entities often, by their first token; a single sign and a number are no name."""
    counts = Counter(
        each.tokens[start:end] for (_, each), own in zip(tagged, spans, strict=True) for _, start, end in own
    )
    found: dict[str, set[Name]] = defaultdict(set)
    for words, count in counts.items():
        letters = "".join(words)
        if count >= OFTEN and len(words) <= _LONGEST and len(letters) > 1 and not letters.isdecimal():
            found[words[0]].add(words)
    return found


def _met(
    tokens: Sequence[str], spans: Sequence[Entity], often: Mapping[str, set[Name]]
) -> Iterator[tuple[int, Name, str | None]]:
    """Where such names stand: as an entity, or as none; within a longer entity they are a part of that."""
    within = {token for _, start, end in spans for token in range(start, end)}
    for kind, start, end in spans:
        words = tuple(tokens[start:end])
        if words in often.get(words[0], ()):
            yield start, words, kind
    for start, token in enumerate(tokens):
        for words in often.get(token, ()):
            end = start + len(words)
            if tuple(tokens[start:end]) == words and within.isdisjoint(range(start, end)):
                yield start, words, None
