"""Parts of the text in the proportions that ``pretrain.mixture`` says, which may change on the way.

Any other mixture is a curriculum of one period. Documents that are of one part in every period are read together, in an
order of their own; each period takes them up where the one before left off, so that none is read again before all are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np

from danlu.corpus.account import Ledger, Plan
from danlu.corpus.batches import EqualGroups, MakeExample, StepBatches
from danlu.corpus.cells import Cells, Members, divide
from danlu.corpus.curriculum import Curriculum, Period
from danlu.corpus.mixture import MixedRows, TaskRows, seed_of
from danlu.corpus.parts import flagged
from danlu.corpus.proportions import Extents, Proportions
from danlu.corpus.reading import Reader, Reading, Sample, Size
from danlu.corpus.rows import Form, Rows, Widths
from danlu.corpus.shares import Shares, Stretch
from danlu.corpus.store import TokenStore
from danlu.errors import InputError, RecipeError

T = TypeVar("T")


@dataclass
class Blend(MixedRows):
    """The rows of all parts, each an order of its own, mixed."""

    ledger: Ledger
    """What is read of each part; its labels are the names of ``parts``."""

    def epochs(self, rows: int) -> dict[str, float]:
        """How often each part has been read after so many rows."""
        each = zip(self.ledger.labels, self.parts, self.order.before(rows).tolist(), strict=True)
        return {label: read / part.rows.per_epoch for label, part, read in each}


@dataclass(frozen=True)
class Blended:
    """The text in proportions (a :class:`danlu.corpus.reading.Reading`)."""

    mixture: Proportions | Curriculum
    """How much of each part."""
    reading: Reading
    """How documents become rows."""
    batch: int
    """Rows a step."""
    steps: Callable[[float], int | None]
    """The steps of the training, by those of an epoch; None where nobody knows before its end."""
    share: float = 1.0
    """The part of the text that the store holds: less than 1 where a sample stands for the whole."""

    @property
    def periods(self) -> tuple[Period, ...]:
        """The mixtures of the training, one after the other."""
        return self.mixture.periods if isinstance(self.mixture, Curriculum) else (Period(mixture=self.mixture),)

    def rows(self, store: TokenStore, form: Form, *, seed: int) -> Blend:
        """Mixed as the periods say.

        Raises:
            InputError: a part has no document, or there are too few or too many rows for what is asked.
        """
        return self._blend(store, seed, lambda cell, own: self.reading.rows(cell, form, seed=own))

    def read(self, store: TokenStore, form: Form, example: MakeExample, *, size: Size, seed: int) -> Reader:
        """Steps of ``size.batch`` rows.

        Raises:
            InputError: a part has no document, or there are too few or too many rows for what is asked.
        """
        rooms: list[Widths] = []

        def of_cell(cell: TokenStore, own: int) -> Rows:
            reader = self.reading.read(cell, form, example, size=size, seed=own)
            rooms.append(reader.room)
            return reader.rows

        rows = self._blend(store, seed, of_cell)
        widest = Widths(max(room.inputs for room in rooms), max(room.source for room in rooms))
        batches = StepBatches(rows, example, EqualGroups(size.batch, size.micro_batch, widest))
        return Reader(rows, batches, rows.ledger.plan.per_epoch * self.share / size.batch, widest)

    def sample(self, store: TokenStore, form: Form, *, tokens: int | None, seed: int) -> Sample:
        """What is held out as it stands, so that mixtures can be compared."""
        return self.reading.sample(store, form, tokens=tokens, seed=seed)

    def _blend(self, store: TokenStore, seed: int, make: Callable[[TokenStore, int], Rows]) -> Blend:
        """Of the rows that ``make`` makes of each cell, told its seed."""
        cells = Cells([
            divide(period.mixture, store, key=self._key(number), sampled=self.share < 1)
            for number, period in enumerate(self.periods)
        ])  # fmt: skip
        rows = [_told_of(label, partial(make, _cell(store, cells, number), seed_of(label, seed)))
                for number, label in enumerate(cells.labels)]  # fmt: skip
        sizes = np.array([(each.per_epoch, each.tokens) for each in rows], dtype=np.float64).T / self.share
        members = [Members(division.names, cells.parts(number), Extents(*sizes))
                   for number, division in enumerate(cells.divisions)]  # fmt: skip
        plan = self._plan(members)
        order = Shares(seed, tuple(
            Stretch(begin * self.batch, tuple(each.to_cells(rows_P).tolist()))
            for begin, each, rows_P in zip(plan.begins, members, plan.rows, strict=True)
        ))  # fmt: skip
        ledger = Ledger(plan, tuple(cells.labels), cells.documents / self.share, cells.left_out(store))
        return Blend(store, seed, tuple(TaskRows("", each) for each in rows), order, ledger)

    def _plan(self, members: Sequence[Members]) -> Plan:
        """How much is read of each part in each period.

        Raises:
            RecipeError: a period has no step.
            InputError: there are too few or too many rows for what is asked.
        """
        first, alone = self.periods[0].mixture, len(self.periods) == 1
        per_epoch = first.epoch(members[0].extents) if alone else float(members[0].cells.rows.sum())
        steps = self.steps(per_epoch / self.batch)
        if alone and not first.open_ended and steps != (asked := math.ceil(per_epoch / self.batch - 1e-9)):
            raise RecipeError(
                f"{self._key(0)}: the epochs of its parts are {asked:,} steps, and pretrain.budget has {steps:,}: set "
                "it to {epochs: 1}, or give a part a weight in place of epochs, which takes what is left"
            )
        begins = self._begins(steps)
        ends: list[int | None] = [*begins[1:], steps]
        rows = [
            _told_of(self._key(number), partial(period.mixture.rows, each.extents, self._rows_between(begin, end)))
            for number, (period, each, begin, end) in enumerate(zip(self.periods, members, begins, ends, strict=True))
        ]
        return Plan(per_epoch, self.batch, steps, tuple(begins), tuple(rows), tuple(members))

    def _rows_between(self, begin: int, end: int | None) -> float | None:
        return None if end is None else float((end - begin) * self.batch)

    def _begins(self, steps: int | None) -> list[int]:
        """The step that each period begins with."""
        begins = [0]
        for number, period in enumerate(self.periods[:-1]):
            end = period.end(steps)
            if end <= begins[-1] or (steps is not None and end >= steps):
                there = "" if steps is None else f" and below {steps:,}, where the training ends"
                raise RecipeError(
                    f"pretrain.mixture.periods.{number}.until must be a step above {begins[-1]:,}{there}; "
                    f"got {period.until:g}, step {end:,}"
                )
            begins.append(end)
        return begins

    def _key(self, period: int) -> str:
        several = isinstance(self.mixture, Curriculum)
        return f"pretrain.mixture.periods.{period}.mixture" if several else "pretrain.mixture"


def _cell(store: TokenStore, cells: Cells, number: int) -> TokenStore:
    found = flagged(store, cells.flags(number))
    assert found is not None, "a cell has a document"
    return found


def _told_of(key: str, do: Callable[[], T]) -> T:
    """What ``do`` gives; an error says of what it is."""
    try:
        return do()
    except InputError as error:
        raise InputError(f"{key}: {error}") from None
