"""Documents that are of one part in every period of a training: what is read together, in an order of its own.

Two periods may divide the text in different ways, one by language and one by source. Each then takes a cell, the
documents that no period tells apart, up where the one before left off.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from danlu.corpus.mapped import AT_ONCE, Array, Ints, scratch
from danlu.corpus.parts import nothing_chosen
from danlu.corpus.proportions import Extents, Floats, Proportions
from danlu.corpus.store import TokenStore
from danlu.corpus.table import Flags
from danlu.errors import InputError
from danlu.log import say

NO_PART = -1
PART = np.int16
"""The numbers of parts, in which documents are counted by the million."""
UNREAD = "~"
"""Stands for it in names."""


@dataclass(frozen=True)
class Division:
    """How a period divides the documents."""

    names: tuple[str, ...]
    """Of its parts."""
    part_D: Array
    """``[documents]`` which part each is of; ``NO_PART`` where it is of none; on the disk where they are many."""


def divide(mixture: Proportions, store: TokenStore, *, key: str, sampled: bool) -> Division:
    """Each document is of the first part that selects it.

    Args:
        key: the setting that ``mixture`` is, for errors.
        sampled: whether the store is a sample, which may lack a part that the text has.

    Raises:
        InputError: a part has no document.
    """
    selections = mixture.selections(store)
    part_D = scratch(len(store.documents), PART)
    any_P, free_P = (np.zeros(len(selections), dtype=np.bool_) for _ in range(2))
    place = 0
    for flags in zip(*(selection.flags(store) for selection in selections.values()), strict=True):
        block = part_D[place : place + len(flags[0])]
        block[:] = NO_PART
        for number, chosen in enumerate(flags):
            free = chosen & (block == NO_PART)
            any_P[number] |= chosen.any()
            free_P[number] |= free.any()
            block[free] = number
        place += len(block)
    for number, (name, selection) in enumerate(selections.items()):
        if not free_P[number]:
            where = f"{key}.parts.{name}"
            if any_P[number]:
                raise InputError(f"{where}: the parts before it have all of its documents; put it before them")
            told = nothing_chosen(where, selection, store, "to train on")
            if not sampled:
                raise InputError(told)
            say(f"in the sample: {told}")
    return Division(tuple(selections), part_D)


@dataclass(frozen=True)
class Cells:
    """The documents by what part they are of in each period; what is of no part in any of them is in no cell."""

    divisions: Sequence[Division]

    @cached_property
    def _sizes(self) -> dict[tuple[int, ...], int]:
        """How many documents are of each combination of parts, one a period, that some are of."""
        found: Counter[tuple[int, ...]] = Counter()
        for first in range(0, len(self.divisions[0].part_D), AT_ONCE):
            parts: list[tuple[int, ...]] = [()]
            cell_D = np.zeros(len(self.divisions[0].part_D[first : first + AT_ONCE]), dtype=np.int64)
            for division in self.divisions:
                radix = len(division.names) + 1
                number_D = cell_D * radix + division.part_D[first : first + AT_ONCE] + 1
                numbers, cell_D = np.unique(number_D, return_inverse=True)
                parts = [(*parts[number // radix], number % radix - 1) for number in numbers.tolist()]
            found.update(dict(zip(parts, np.bincount(cell_D).tolist(), strict=True)))
        return found

    @cached_property
    def _parts(self) -> list[tuple[int, ...]]:
        """The part of each period that each cell is of."""
        return [parts for parts in sorted(self._sizes) if any(part != NO_PART for part in parts)]

    def __len__(self) -> int:
        return len(self._parts)

    @property
    def documents(self) -> Ints:
        """``[cells]`` how many documents each has."""
        return np.array([self._sizes[parts] for parts in self._parts], dtype=np.int64)

    def flags(self, cell: int) -> Iterator[Flags]:
        """Whether each document is of a cell, many documents at a time."""
        return self._of(self._parts[cell])

    def _of(self, parts: tuple[int, ...]) -> Iterator[Flags]:
        for first in range(0, len(self.divisions[0].part_D), AT_ONCE):
            each = zip(self.divisions, parts, strict=True)
            yield np.all([one.part_D[first : first + AT_ONCE] == part for one, part in each], axis=0)

    def parts(self, period: int) -> Ints:
        """``[cells]`` which part of a period each is of, or ``NO_PART``."""
        return np.array([parts[period] for parts in self._parts])

    @property
    def labels(self) -> list[str]:
        """A name for each: that of its part, or of its parts in the periods, one after the other."""
        each = [
            [division.names[number] if number != NO_PART else UNREAD
             for division, number in zip(self.divisions, parts, strict=True)]
            for parts in self._parts
        ]  # fmt: skip
        return [names[0] if len(set(names)) == 1 else "/".join(names) for names in each]

    def left_out(self, store: TokenStore) -> tuple[int, int]:
        """Documents and their tokens that are in no cell."""
        none = (NO_PART,) * len(self.divisions)
        tokens = sum(int(lengths[of].sum()) for lengths, of in zip(store.lengths(), self._of(none), strict=True))
        return self._sizes.get(none, 0), tokens


@dataclass(frozen=True)
class Members:
    """Which cells are the parts of one period."""

    names: tuple[str, ...]
    part_C: Ints
    """``[cells]`` which part each is of, or ``NO_PART``."""
    cells: Extents
    """Of the cells."""

    @cached_property
    def extents(self) -> Extents:
        """Of the parts."""
        return Extents(self.sum(self.cells.rows), self.sum(self.cells.tokens))

    def sum(self, amounts_C: Floats) -> Floats:
        """``[parts]`` what their cells have together."""
        inside = self.part_C != NO_PART
        return np.bincount(self.part_C[inside], amounts_C[inside], minlength=len(self.names)).astype(np.float64)

    def to_cells(self, rows_P: Floats) -> Floats:
        """``[cells]`` rows of parts, so that all text of a part is read equally often."""
        epochs_P = np.divide(rows_P, self.extents.rows, out=np.zeros_like(rows_P), where=self.extents.rows > 0)
        return np.where(self.part_C == NO_PART, 0.0, epochs_P[self.part_C] * self.cells.rows)
