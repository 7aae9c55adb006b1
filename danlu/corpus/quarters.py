"""Packed rows of two widths: short documents lie in rows of a quarter, where attention costs a quarter.

Attention multiplies all pairs of a row, those of different documents too. A step is made of units of as many places,
some wide rows or four times as many narrow ones; both kinds come in turn, by their share of the text.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from danlu.corpus.batches import Group, MakeExample, StepBatches
from danlu.corpus.documents import DocumentRows
from danlu.corpus.packing import Flags, alike, fill
from danlu.corpus.pieces import Sized
from danlu.corpus.reading import Packed, Reader, Size
from danlu.corpus.rows import Form, Widths
from danlu.corpus.shuffle import shuffled
from danlu.corpus.store import TokenStore

PARTS = 4
"""Narrow rows that are as long as a wide one."""
UNIT = 4
"""Wide rows of a unit, where a step's number of rows can be divided so: few shapes, which are compiled once each."""


class Quarters(Packed):
    """Packed, and documents of up to a quarter of a row in rows of that width: less attention, shapes twice as many."""

    def read(self, store: TokenStore, form: Form, example: MakeExample, *, size: Size, seed: int) -> Reader:
        found = self.pieces(store, form)
        room = _quarter(found, form.room)
        short = np.asarray(found.sizes.fit(room))
        if short.all() or not short.any():
            return super().read(store, form, example, size=size, seed=seed)
        whole = alike(_only(found.sizes, ~short), form.room, found.counts[~short])
        long, brief = (fill(found.sizes, found.counts, each, only=which) for which, each in (
            (~short, whole), (short, room),
        ))  # fmt: skip
        wide = _Kind(0, len(long), whole)
        steps = _Units(wide, _Kind(wide.count, len(brief), room), size, seed)
        rows = DocumentRows(store, found.pieces, brief.behind(long), seed, in_order=True)
        return Reader(rows, StepBatches(rows, example, steps), steps.per_epoch, whole)


@dataclass(frozen=True)
class _Kind:
    """Rows of one width, which follow each other."""

    first: int
    count: int
    room: Widths


@dataclass(frozen=True)
class _Units:
    """Which rows a step has: those of each kind in another order each epoch of that kind."""

    wide: _Kind
    narrow: _Kind
    size: Size
    seed: int

    @property
    def per_epoch(self) -> float:
        return (self.wide.count + self.narrow.count / PARTS) / self.size.batch

    @property
    def _unit(self) -> int:
        return math.gcd(self.size.batch, UNIT)

    def __call__(self, step: int) -> list[Group]:
        units = self.size.batch // self._unit
        first, last = (self._narrow_before(number) for number in (step * units, (step + 1) * units))
        groups = self._groups(self.wide, step * units - first, (step + 1) * units - last, self._unit, 1)
        return groups + self._groups(self.narrow, first, last, self._unit * PARTS, PARTS)

    def _narrow_before(self, unit: int) -> int:
        """How many units of narrow rows come before a unit, both kinds counted."""
        return unit * self.narrow.count // (self.narrow.count + PARTS * self.wide.count)

    def _groups(self, kind: _Kind, first: int, last: int, rows: int, parts: int) -> list[Group]:
        """The micro-batches of units of a kind."""
        numbers = [self._number(kind, row) for row in range(first * rows, last * rows)]
        at_once = self.size.micro_batch * parts
        return [Group(numbers[cut : cut + at_once], kind.room) for cut in range(0, len(numbers), at_once)]

    def _number(self, kind: _Kind, row: int) -> int:
        """Of a row of a kind, counted through all epochs, the number that it has among all rows."""
        epoch, place = divmod(row, kind.count)
        # The 6 keeps it apart from the sources of the noise and of the orders of other readings.
        row = shuffled(kind.count, self.seed, epoch, 6, kind.first)[place]
        return epoch * (self.wide.count + self.narrow.count) + kind.first + row


def _quarter(found: Sized, room: Widths) -> Widths:
    """A quarter of ``room``, the narrower side of two as wide as documents that are so short need it."""
    quarter = Widths(-(-int(room.inputs) // PARTS), int(room.source) // PARTS)
    longer = max(quarter)
    short = np.asarray(found.sizes.fit(Widths(longer, longer)))
    return alike(_only(found.sizes, short), quarter, found.counts[short]) if short.any() else quarter


def _only(widths: Widths, chosen: Flags) -> Widths:
    return Widths(np.asarray(widths.inputs)[chosen], np.asarray(widths.source)[chosen])
