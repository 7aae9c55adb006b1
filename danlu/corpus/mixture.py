"""Rows of several tasks, mixed by their shares: which task a row has follows from its number and the seed alone.

Each task has a part of the store, a way to read it and an order of its own, and goes through all of its rows before
it begins again, whatever the tasks beside it.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from danlu.corpus.batches import Group, MakeExample, StepBatches
from danlu.corpus.parts import Selection
from danlu.corpus.reading import Reader, Reading, Sample, Size, how_many
from danlu.corpus.rows import Form, Ints, Piece, Rows, Unused, Widths
from danlu.corpus.store import TokenStore
from danlu.errors import InputError
from danlu.log import say

BLOCK = 16
"""In so many rows the tasks have their shares, but for a row more or less."""
BLOCKS_AT_ONCE = 1024
SHOWN = 5
"""Sources that an error names."""


@dataclass(frozen=True)
class Part:
    """What one task reads."""

    task: str
    documents: Selection
    reading: Reading
    form: Callable[[Form], Form]
    """Its own form, from that of the whole."""
    share: float | None = None
    """Of the rows, against the shares of the others; by how many rows there are where None. With 0 it has no row of a
    training, and needs no text for one."""

    def store(self, whole: TokenStore) -> TokenStore | None:
        return self.documents.of(whole)

    def rows(self, store: TokenStore, form: Form, *, seed: int) -> Rows:
        """In an order of the task's own, though others read the same text."""
        return self.reading.rows(store, self.form(form), seed=self._own(seed))

    def read(self, store: TokenStore, form: Form, example: MakeExample, *, size: Size, seed: int) -> Reader:
        """The rows of a training, in the same order of the task's own."""
        return self.reading.read(store, self.form(form), example, size=size, seed=self._own(seed))

    def _own(self, seed: int) -> int:
        return int(np.random.SeedSequence([seed, zlib.crc32(self.task.encode())]).generate_state(1)[0])


@dataclass(frozen=True)
class Mixture:
    """Tasks side by side (a :class:`danlu.corpus.reading.Reading`)."""

    parts: tuple[Part, ...]
    temperature: float = 1.0
    """Shares are as the numbers of rows to the power of ``1 / temperature`` (Devlin's multilingual BERT; Raffel et al.
    2020, arXiv:1910.10683): 1 reads all parts equally often, more lets small ones be read more often."""

    def rows(self, store: TokenStore, form: Form, *, seed: int) -> MixedRows:
        """Mixed by their shares.

        Raises:
            InputError: no document of the store is for one of the tasks that are read.
        """
        stores = self._stores(store)
        return self._mixed(store, [(part, part.rows(own, form, seed=seed)) for part, own in stores], seed)

    def read(self, store: TokenStore, form: Form, example: MakeExample, *, size: Size, seed: int) -> Reader:
        """Steps of ``size.batch`` rows; those of one task go through the model together.

        Raises:
            InputError: no document of the store is for one of the tasks that are read.
        """
        stores = self._stores(store)
        each = [part.read(own, form, example, size=size, seed=seed) for part, own in stores]
        rows = self._mixed(store, [(part, reader.rows) for (part, _), reader in zip(stores, each, strict=True)], seed)
        rooms = [reader.room for reader in each]
        batches = StepBatches(rows, example, MixedGroups(rows, size, rooms))
        widest = Widths(max(room.inputs for room in rooms), max(room.source for room in rooms))
        return Reader(rows, batches, rows.per_epoch / size.batch, widest)

    def _stores(self, whole: TokenStore) -> list[tuple[Part, TokenStore]]:
        """What each task that is read has of the ``whole``."""
        found: list[tuple[Part, TokenStore]] = []
        for part in self.parts:
            if part.share == 0:
                continue
            own = part.store(whole)
            if own is None:
                raise InputError(_nothing_for(part, whole, "to train on"))
            found.append((part, own))
        return found

    def _mixed(self, store: TokenStore, read: Sequence[tuple[Part, Rows]], seed: int) -> MixedRows:
        tasks = tuple(TaskRows(part.task, own) for part, own in read)
        sizes = np.array([own.per_epoch for _, own in read], dtype=np.float64) ** (1 / self.temperature)
        shares = sizes if self.parts[0].share is None else np.array([part.share for part, _ in read])
        return MixedRows(store, seed, tasks, shares / shares.sum())

    def sample(self, store: TokenStore, form: Form, *, tokens: int | None, seed: int) -> Sample:
        """About so many tokens of each task, or all; a task for which there is nothing is told and left out.

        Raises:
            InputError: there is nothing for any of them.
        """
        chained: list[TaskRows] = []
        groups: list[Group] = []
        before = 0
        for part in self.parts:
            own = part.store(store)
            if own is None:
                say(_nothing_for(part, store, "held out, so that it has no held-out loss"))
                continue
            rows, shape = part.rows(own, form, seed=seed), part.form(form)
            chained.append(TaskRows(part.task, rows))
            groups.append(Group(range(before, before + how_many(rows, shape, tokens)), shape.room))
            before += rows.per_epoch
        if not chained:
            raise InputError(_nothing_for(self.parts[0], store, "held out, nor for any other"))
        return Sample(ChainedRows(store, seed, tuple(chained)), tuple(groups))


def _nothing_for(part: Part, store: TokenStore, what: str) -> str:
    languages, sources = store.table.present(), store.table.some_sources(SHOWN + 1)
    more = ", …" if len(sources) > SHOWN else ""
    return (
        f"pretrain.objective.tasks.{part.task}.documents: no such document is {what} "
        f"(languages: {', '.join(languages)}; sources: {', '.join(sources[:SHOWN])}{more})"
    )


@dataclass(frozen=True)
class TaskRows:
    """The rows of one task."""

    task: str
    rows: Rows

    def __getitem__(self, number: int) -> list[Piece]:
        return [replace(piece, task=self.task) for piece in self.rows[number]]


def _unused(parts: Sequence[TaskRows]) -> Unused:
    """What is in no row of its task, of all tasks together; text that two of them cannot use counts twice."""
    each = [part.rows.unused for part in parts]
    return Unused(sum(one.pieces for one in each), sum(one.tokens for one in each))


@dataclass
class MixedRows:
    """Random access to the rows of all tasks that are read by one number, each of the task that :meth:`where` says."""

    store: TokenStore
    seed: int
    parts: tuple[TaskRows, ...]
    shares: np.ndarray[tuple[int], np.dtype[np.float64]]
    """Of the rows; they add up to 1."""
    _before: list[Ints] = field(init=False, repr=False)
    """Rows of each task before each ``BLOCKS_AT_ONCE`` blocks."""
    _counts: tuple[int, Ints] = field(init=False, repr=False)
    _tasks: tuple[int, Ints] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._before = [np.zeros(len(self.parts), dtype=np.int64)]
        self._counts = (0, self._count(0))
        self._tasks = (-1, np.zeros(0, dtype=np.int64))

    @property
    def per_epoch(self) -> int:
        """Rows that hold the part of every task once, though not each at once where shares are not by size."""
        return sum(each.rows.per_epoch for each in self.parts)

    @property
    def unused(self) -> Unused:
        return _unused(self.parts)

    @property
    def several(self) -> bool:
        return any(each.rows.several for each in self.parts)

    def __getitem__(self, number: int) -> list[Piece]:
        part, row = self.where(number)
        return self.parts[part][row]

    def where(self, number: int) -> tuple[int, int]:
        """Which task a row has, and the how-manieth of that task's rows it is."""
        block, place = divmod(number, BLOCK)
        counts, inner = self._counts_of(block // BLOCKS_AT_ONCE), block % BLOCKS_AT_ONCE
        if self._tasks[0] != block:
            source = np.random.Generator(np.random.Philox(np.random.SeedSequence([self.seed, block, 7])))
            self._tasks = (block, source.permutation(np.repeat(np.arange(len(self.parts)), counts[inner])))
        part = int(self._tasks[1][place])
        before = self._before[block // BLOCKS_AT_ONCE][part] + counts[:inner, part].sum()
        return part, int(before + (self._tasks[1][:place] == part).sum())

    def _counts_of(self, many: int) -> Ints:
        """Rows of each task in each of many blocks; those before are counted on the way, once."""
        while len(self._before) <= many:
            self._before.append(self._before[-1] + self._count(len(self._before) - 1).sum(0))
        if self._counts[0] != many:
            self._counts = (many, self._count(many))
        return self._counts[1]

    def _count(self, many: int) -> Ints:
        """``[BLOCKS_AT_ONCE, tasks]`` by systematic sampling: the shares exactly on average, a row off at most."""
        source = np.random.Generator(np.random.Philox(np.random.SeedSequence([self.seed, many, 6])))
        offsets = source.random(BLOCKS_AT_ONCE)[:, None]
        bounds = np.append(np.cumsum(self.shares)[:-1], 1.0)
        below = np.clip(np.ceil(BLOCK * bounds - offsets), 0, BLOCK).astype(np.int64)
        return np.diff(below, axis=1, prepend=0)


@dataclass
class ChainedRows:
    """The rows of one task behind those of another."""

    store: TokenStore
    seed: int
    parts: tuple[TaskRows, ...]

    @property
    def per_epoch(self) -> int:
        return sum(each.rows.per_epoch for each in self.parts)

    @property
    def unused(self) -> Unused:
        return _unused(self.parts)

    @property
    def several(self) -> bool:
        return any(each.rows.several for each in self.parts)

    def __getitem__(self, number: int) -> list[Piece]:
        for part in self.parts:
            if number < part.rows.per_epoch:
                return part[number]
            number -= part.rows.per_epoch
        raise IndexError(number)


@dataclass(frozen=True)
class MixedGroups:
    """What a step is made of: the rows of each task together, in micro-batches of their own."""

    rows: MixedRows
    size: Size
    rooms: Sequence[Widths]

    def __call__(self, step: int) -> list[Group]:
        numbers: list[list[int]] = [[] for _ in self.rows.parts]
        for number in range(step * self.size.batch, (step + 1) * self.size.batch):
            numbers[self.rows.where(number)[0]].append(number)
        return [
            Group(of_task[cut : cut + self.size.micro_batch], room)
            for of_task, room in zip(numbers, self.rooms, strict=True)
            for cut in range(0, len(of_task), self.size.micro_batch)
        ]
