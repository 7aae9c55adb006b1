"""Entities by their offsets in a text, as annotation tools write them, to tokens with tags of BIO.

doccano's ``[[0, 5, "PER"]]``, objects with ``start``, ``end`` and ``label``, and CLUENER's ``{"name": {"叶老桂":
[[9, 11]]}}``, whose ends belong to the entity. The tokens of a text with spaces are its words and marks, of Chinese its
characters.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from danlu.data.alike import IDEOGRAPHS
from danlu.data.form import Cells
from danlu.errors import shown

_KINDS = ("label", "labels", "type", "entity_group", "entity")
_TOKEN = re.compile(rf"[{IDEOGRAPHS}]|(?:(?![{IDEOGRAPHS}])\w)+|[^\w\s]")
_RUNNING = re.compile(rf"\w[,;:!?](\s|$)|\w[.]\s*$|[{IDEOGRAPHS}][^\w\s]|[^\w\s][{IDEOGRAPHS}]|[{IDEOGRAPHS}]{{9}}")
"""What tokens with spaces between them have not: a mark at the end of a word, signs of Chinese without a space."""


@dataclass(frozen=True, slots=True)
class Entity:
    """A part of a text, from one character up to another that is not its own."""

    start: int
    end: int
    kind: str


def are_spans(value: Any) -> bool:
    """Whether a cell has entities by offset, and not a tag a token."""
    return isinstance(value, Mapping) or (isinstance(value, list) and all(isinstance(x, list | dict) for x in value))


def token_places(text: str) -> list[tuple[int, int]]:
    """Where the words and marks of a text begin and end, of Chinese its characters."""
    return [match.span() for match in _TOKEN.finditer(text)]


def is_running(text: str) -> bool:
    """Whether a text is written as its language writes it, and not as tokens with spaces between."""
    return _RUNNING.search(text) is not None or len(text.split()) == 1


def tag_spans(cells: Cells, field: str, text: str, value: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The tokens of a text, and their tags.

    Raises:
        InputError: an entity is not where it is said to be, overlaps another, or begins or ends within a token.
    """
    entities = sorted(_entities(cells, field, text, value), key=lambda entity: (entity.start, entity.end))
    for before, entity in itertools.pairwise(entities):
        if entity.start < before.end:
            first, second = text[before.start : before.end], text[entity.start : entity.end]
            raise cells.error(field, f"has two entities that overlap, {shown(first)!r} and {shown(second)!r}")
    tokens = token_places(text)
    starts = {start: place for place, (start, _) in enumerate(tokens)}
    ends = {end: place for place, (_, end) in enumerate(tokens)}
    tags = ["O"] * len(tokens)
    for entity in entities:
        start, last = starts.get(entity.start), ends.get(entity.end)
        if start is None or last is None:
            inside = next(text[a:b] for a, b in tokens if a < (entity.start if start is None else entity.end) < b)
            name = shown(text[entity.start : entity.end])
            raise cells.error(field, f"has the entity {name!r}, a part of the word {shown(inside)!r}")
        tags[start : last + 1] = [f"B-{entity.kind}", *[f"I-{entity.kind}"] * (last - start)]
    return tuple(text[start:end] for start, end in tokens), tuple(tags)


def _entities(cells: Cells, field: str, text: str, value: Any) -> list[Entity]:
    if isinstance(value, Mapping):
        return _of_cluener(cells, field, text, value)
    found = []
    for each in value:
        if isinstance(each, Mapping):
            kind = next((each[name] for name in _KINDS if name in each), None)
            if isinstance(kind, list) and len(kind) == 1:  # Label Studio's
                kind = kind[0]
            start, end = each.get("start", each.get("start_offset")), each.get("end", each.get("end_offset"))
            name = each.get("text", each.get("word"))
        else:
            start, end, kind = each if len(each) == 3 else (None, None, None)
            name = None
        found.append(_checked(cells, field, text, (start, end, kind, name)))
    return found


def _of_cluener(cells: Cells, field: str, text: str, value: Mapping[str, Any]) -> list[Entity]:
    found = []
    for kind, names in value.items():
        if not isinstance(names, Mapping):
            raise cells.error(field, f"must have the places of each entity of {kind!r}; got {shown(repr(names))}")
        for name, places in names.items():
            for place in places if isinstance(places, list) else [None]:
                if not isinstance(place, list) or len(place) != 2 or not isinstance(place[1], int):
                    raise cells.error(field, f"must have first and last character of {name!r}; got {shown(str(place))}")
                found.append(_checked(cells, field, text, (place[0], place[1] + 1, kind, name)))
    return found


def _checked(cells: Cells, field: str, text: str, entity: tuple[Any, Any, Any, Any]) -> Entity:
    """The entity, if it is in the text and is what it is said to be; without spaces at its ends."""
    start, end, kind, name = entity
    if not (isinstance(start, int) and isinstance(end, int) and isinstance(kind, str) and kind.strip()):
        raise cells.error(field, f"must say start, end and type of an entity; got {shown(repr((start, end, kind)))}")
    if start == end and 0 <= start < len(text):
        reason = f"has an entity from {start} to {end}, which is empty: an end is the place behind the last character"
        raise cells.error(field, reason)
    if not 0 <= start < end <= len(text):
        at = f"; {shown(name)!r} is at {text.find(name)}" if isinstance(name, str) and text.count(name) == 1 else ""
        raise cells.error(field, f"has an entity from {start} to {end}, but the text has {len(text)} characters{at}")
    there = text[start:end]
    if isinstance(name, str) and name != there:
        places = [match.start() for match in re.finditer(re.escape(name), text)]
        if cells.mended is None or len(places) != 1:
            at = f"; it is at {', '.join(map(str, places[:3]))}" if places else ", nor anywhere else in the text"
            raise cells.error(field, f"has the entity {shown(name)!r} at {start}, where {shown(there)!r} stands{at}")
        cells.mended.add("entity beside its offset, moved to where it stands", cells.place)
        start, there = places[0], name
    if not there.strip():
        raise cells.error(field, f"has an entity of white space, from {start} to {end}")
    start += len(there) - len(there.lstrip())
    return Entity(start, start + len(there.strip()), kind.strip())
