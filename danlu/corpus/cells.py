"""Documents that are of one part in every period of a training: what is read together, in an order of its own.

Two periods may divide the text in different ways, one by language and one by source. Each then takes a cell, the
documents that no period tells apart, up where the one before left off.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from danlu.corpus.parts import nothing_chosen
from danlu.corpus.proportions import Extents, Floats, Proportions
from danlu.corpus.rows import Ints
from danlu.corpus.store import TokenStore
from danlu.errors import InputError
from danlu.log import say

NO_PART = -1
UNREAD = "~"
"""Stands for it in names."""


@dataclass(frozen=True)
class Division:
    """How a period divides the documents."""

    names: tuple[str, ...]
    """Of its parts."""
    part_D: Ints
    """``[documents]`` which part each is of; ``NO_PART`` where it is of none."""


def divide(mixture: Proportions, store: TokenStore, *, key: str, sampled: bool) -> Division:
    """Each document is of the first part that selects it.

    Args:
        key: the setting that ``mixture`` is, for errors.
        sampled: whether the store is a sample, which may lack a part that the text has.

    Raises:
        InputError: a part has no document.
    """
    selections = mixture.selections(store)
    part_D = np.full(len(store.documents), NO_PART, dtype=np.int64)
    for number, (name, selection) in enumerate(selections.items()):
        chosen_D = selection.chosen(store)
        free_D = chosen_D & (part_D == NO_PART)
        if not free_D.any():
            where = f"{key}.parts.{name}"
            if chosen_D.any():
                raise InputError(f"{where}: the parts before it have all of its documents; put it before them")
            told = nothing_chosen(where, selection, store, "to train on")
            if not sampled:
                raise InputError(told)
            say(f"in the sample: {told}")
        part_D[free_D] = number
    return Division(tuple(selections), part_D)


@dataclass(frozen=True)
class Cells:
    """The documents by what part they are of in each period; what is of no part in any of them is in no cell."""

    divisions: Sequence[Division]

    @cached_property
    def documents(self) -> list[Ints]:
        """The numbers of the documents of each cell, rising."""
        cell_D = np.zeros(len(self.divisions[0].part_D), dtype=np.int64)
        for division in self.divisions:
            number_D = cell_D * (len(division.names) + 1) + division.part_D + 1
            cell_D = np.unique(number_D, return_inverse=True)[1]
        order, sizes = np.argsort(cell_D, kind="stable"), np.bincount(cell_D)
        each = np.split(order, np.cumsum(sizes)[:-1])
        return [found for found in each if any(one.part_D[found[0]] != NO_PART for one in self.divisions)]

    def parts(self, period: int) -> Ints:
        """``[cells]`` which part of a period each is of, or ``NO_PART``."""
        return np.array([self.divisions[period].part_D[found[0]] for found in self.documents])

    @property
    def labels(self) -> list[str]:
        """A name for each: that of its part, or of its parts in the periods, one after the other."""
        each = [
            [division.names[number] if (number := division.part_D[found[0]]) != NO_PART else UNREAD
             for division in self.divisions]
            for found in self.documents
        ]  # fmt: skip
        return [names[0] if len(set(names)) == 1 else "/".join(names) for names in each]

    def left_out(self, store: TokenStore) -> tuple[int, int]:
        """Documents and their tokens that are in no cell."""
        lengths = np.diff(store.starts)
        tokens = int(lengths.sum()) - sum(int(lengths[found].sum()) for found in self.documents)
        return len(lengths) - sum(map(len, self.documents)), tokens


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
