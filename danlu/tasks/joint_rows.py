"""Rows of several tasks' features: each task has its own, with as much room on either side as its texts take.

Axes: T tokens of what the model reads, S tokens of what an encoder reads beside a decoder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from danlu.corpus.mixture import Part
from danlu.corpus.parts import Selection
from danlu.corpus.reading import Packed
from danlu.corpus.rows import Form, Ints, Widths
from danlu.corpus.store import TokenStore
from danlu.tasks.feature import Feature, FeatureStore
from danlu.tasks.lesson import TaskLesson


@dataclass(frozen=True)
class FeaturePart(Part):
    """A task's rows, of a store of its own."""

    own: FeatureStore | None = None

    def store(self, whole: TokenStore) -> TokenStore | None:
        return self.own


@dataclass(frozen=True)
class FeatureForm:
    """The room of a task's rows, and the widths of its features (a :class:`danlu.corpus.rows.Form`)."""

    lesson: TaskLesson
    room: Widths

    @property
    def longest(self) -> int:
        return self.lesson.longest(self)

    @property
    def by_length(self) -> bool:
        return self.lesson.by_length

    def widths(self, body: Ints) -> Widths:
        return self.lesson.widths(body)

    def measure(self, store: TokenStore, starts: Ints, bodies: Ints) -> Widths:
        return self.lesson.measure(store, starts, bodies)


def part_of(name: str, lesson: TaskLesson, store: FeatureStore, room: Widths, share: float | None) -> FeaturePart:
    """What one task reads: its features, which are never cut, side by side in rows that have ``room``."""

    def form(whole: Form) -> Form:
        return FeatureForm(lesson, room)

    return FeaturePart(name, Selection(), Packed(), form, share, own=store)


def room_for(features: Sequence[Feature], tokens: int) -> Widths:
    """That of a row of ``tokens``, or more where single features need them.

    Of two sides each has its share of them, so that both are full at once.
    """
    source = np.array([0 if each.source is None else len(each.source) for each in features])
    inputs = np.array([len(each.tokens) for each in features])
    share = inputs.sum() / (inputs.sum() + source.sum())
    return Widths(max(int(inputs.max()), round(tokens * share)), max(int(source.max()), round(tokens * (1 - share))))


def widest(rooms: Mapping[str, Widths]) -> int:
    """Tokens that the widest rows have room for, both sides together."""
    return max(int(room.inputs) + int(room.source) for room in rooms.values())
