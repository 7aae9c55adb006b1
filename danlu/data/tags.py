"""Schemes of tags: which places they have, which may follow which, and which one a file uses.

A tag is ``O``, or a place and a type: ``B-PER``. IO has ``I`` alone, BIO begins every entity with ``B``, IOB1 only
where another of the same type ends right before, BIOES also marks ends and single tokens; BILOU and BMES call them
otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

Scheme = Literal["IO", "IOB1", "BIO", "BIOES", "BILOU", "BMES", "none"]
Tags = Sequence[str]

PLACES: dict[Scheme, dict[str, str]] = {
    "IO": {"I": "I"},
    "BIO": {"B": "B", "I": "I"},
    "IOB1": {"B": "B", "I": "I"},
    "BIOES": {"B": "B", "I": "I", "E": "E", "S": "S"},
    "BILOU": {"B": "B", "I": "I", "L": "E", "U": "S"},
    "BMES": {"B": "B", "M": "I", "E": "E", "S": "S"},
    "none": {},
}
"""The places of a scheme, in the letters of BIOES; ``none`` are tags of words, such as parts of speech."""
_ALL_PLACES = frozenset("BIESLUM")
_MOSTLY = 0.5


def find_scheme(all_tags: Sequence[Tags]) -> Scheme:
    """The scheme that most of the tags are of; of none where they are no tags of entities."""
    tags = {tag for each in all_tags for tag in each} - {"O"}
    placed = {tag for tag in tags if tag[:1] in _ALL_PLACES and (tag[1:2] == "-" and len(tag) > 2)}
    bare = {tag for tag in tags if tag in _ALL_PLACES}
    if tags and tags == bare:  # words that are cut: B M E S
        placed = bare
    if not placed or len(placed) < _MOSTLY * len(tags):
        return "none"
    places = {tag[0] for tag in placed}
    for scheme in ("IO", "BIO", "BIOES", "BILOU", "BMES"):
        if places <= PLACES[scheme].keys():
            return _one_of_two(all_tags) if scheme == "BIO" else scheme
    return "none"


def _one_of_two(all_tags: Sequence[Tags]) -> Scheme:
    """BIO or IOB1, by what most entities begin with."""
    begun = {"B": 0, "I": 0}
    for tags in all_tags:
        before: str | None = None
        for tag in tags:
            place, _, kind = tag.partition("-")
            if place == "B" or (place == "I" and kind != before):
                begun[place] += 1
            before = kind if place in begun else None
    return "BIO" if begun["B"] >= begun["I"] else "IOB1"


def read_tag(tag: str, scheme: Scheme) -> tuple[str, str] | None:
    """Its place in the letters of BIOES, and its type; None where it is no tag of the scheme."""
    if tag == "O":
        return "O", ""
    place, dash, kind = tag.partition("-")
    if place not in PLACES[scheme] or bool(dash) != bool(kind):
        return None
    return PLACES[scheme][place], kind


def impossible(tags: Tags, scheme: Scheme) -> Iterator[tuple[int, str]]:
    """Places where a tag cannot stand, and why; every tag is one of the scheme.

    IO and IOB1 allow everything, and what is of no scheme is not looked at.
    """
    if scheme in ("IO", "IOB1", "none"):
        return
    ends = scheme != "BIO"
    letters = {letter: place for place, letter in PLACES[scheme].items()}
    before = ("O", "")
    for token, tag in enumerate([*tags, "O"]):
        read = read_tag(tag, scheme)
        assert read is not None, tag
        place, kind = read
        inside = before[0] in "BI"
        if place in "IE" and not (inside and before[1] == kind):
            previous = repr(tags[token - 1]) if token else "the beginning of the sentence"
            yield token, f"{tag!r} follows {previous}, but needs {letters['B']} or {letters['I']} of its type before it"
        elif ends and inside and place not in "IE":
            following = repr(tag) if token < len(tags) else "the end of the sentence"
            needs = f"needs {letters['E']} of its type at its end"
            yield token - 1, f"{tags[token - 1]!r} is followed by {following}, but {needs}"
        before = (place, kind)


def may_follow(before: str | None, tag: str | None, scheme: Scheme) -> bool:
    """Whether a tag can stand behind another, or None: begin a sentence, end it. All of both are of the scheme.

    The tags of a sentence are what the scheme allows if each can stand behind the one before it.
    """
    if scheme in ("IO", "IOB1", "none"):
        return True
    first, second = (("O", "") if each is None else read_tag(each, scheme) for each in (before, tag))
    assert first is not None and second is not None, (before, tag)
    goes_on = first[0] in "BI" and second[0] in "IE" and first[1] == second[1]
    if second[0] in "IE":
        return goes_on
    return scheme == "BIO" or first[0] not in "BI"


def begun(tags: Tags) -> tuple[str, ...]:
    """Tags of BIO in which an ``I`` that continues nothing is a ``B``, as conlleval reads it."""
    mended: list[str] = []
    before: str | None = None
    for tag in tags:
        place, _, kind = tag.partition("-")
        mended.append(f"B{tag[1:]}" if place == "I" and kind != before else tag)
        before = kind if place in ("B", "I") else None
    return tuple(mended)


def tag_set(all_tags: Sequence[Tags], scheme: Scheme) -> tuple[str, ...]:
    """All tags that a model may give: ``O`` first, then every type in every place; without a scheme those there are."""
    found = {tag for tags in all_tags for tag in tags}
    if scheme == "none":
        return tuple(sorted(found, key=lambda tag: (tag != "O", tag)))
    bare = any("-" not in tag for tag in found - {"O"})
    kinds = sorted({tag.partition("-")[2] for tag in found - {"O"}})
    names = [f"{place}-{kind}" if kind else place for kind in kinds for place in PLACES[scheme]]
    return tuple(names) if bare and "O" not in found else ("O", *names)
