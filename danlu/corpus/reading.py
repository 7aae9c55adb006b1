"""How documents of all lengths become rows: the choices of ``pretrain.rows``.

========  ===========================================================================================
stream    full rows of one endless stream, documents cut where a row ends; for causal models
packed    whole documents side by side, as many as fit; what is longer than a row is cut first
padded    a document a row, padded to the full length: simple and wasteful
bucketed  documents of like length together, as many as hold the tokens of a step; padded to the longest
quarters  packed, short documents in rows of a quarter of the width (quarters.py)
========  ===========================================================================================

Documents never see each other in any of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from pydantic import Field

from danlu.corpus.batches import EqualGroups, Group, MakeExample, StepBatches
from danlu.corpus.documents import Cuts, DocumentRows, chunks, heads, tails
from danlu.corpus.packing import alike, fill, one_each
from danlu.corpus.pieces import Sized, by_length
from danlu.corpus.rows import Form, Ints, Rows, Widths
from danlu.corpus.shuffle import shuffled
from danlu.corpus.store import TokenStore
from danlu.corpus.stream import StreamRows
from danlu.errors import InputError, RecipeError
from danlu.recipe import Choice

NONE_LONG_ENOUGH = "pretrain.objective: no document is long enough for it"
WIDTH_STEP = 64
"""Bucketed rows are padded to multiples of this: few shapes, which are compiled once each."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much of the text a step takes."""

    batch: int
    """Rows a step, each as long as the form has room."""
    micro_batch: int
    """Rows at once."""
    readers: int = 1
    """Processes that a step's micro-batches are divided among."""


@dataclass(frozen=True, slots=True)
class Reader:
    """The rows of a store, and how steps are made of them."""

    rows: Rows
    batches: StepBatches
    steps_per_epoch: float
    room: Widths
    """What rows are padded to at most; it may be wider than the form's."""
    batch: int | None = None
    """Rows a step, where the text has fewer than asked for."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The first rows of a store, to measure by; always the same ones."""

    rows: Rows
    groups: tuple[Group, ...]
    """All of them, those of one task together."""


class Reading(Protocol):
    """A choice of rows."""

    def rows(self, store: TokenStore, form: Form, *, seed: int) -> Rows:
        """Rows by number, for whoever wants to look at some of them."""
        ...

    def read(self, store: TokenStore, form: Form, example: MakeExample, *, size: Size, seed: int) -> Reader:
        """Rows and steps."""
        ...

    def sample(self, store: TokenStore, form: Form, *, tokens: int | None, seed: int) -> Sample:
        """The rows that hold about so many tokens; all where there are no more, or where it is None."""
        ...


class Stream(Choice):
    """One endless stream: no padding and nothing lost; documents are cut wherever a row ends."""

    def rows(self, store: TokenStore, form: Form, *, seed: int) -> Rows:
        return StreamRows(store, self._length(form), seed)

    def read(self, store: TokenStore, form: Form, example: MakeExample, *, size: Size, seed: int) -> Reader:
        return _equal(self.rows(store, form, seed=seed), form.room, example, size)

    def sample(self, store: TokenStore, form: Form, *, tokens: int | None, seed: int) -> Sample:
        return _first(self.rows(store, form, seed=seed), form, tokens)

    def _length(self, form: Form) -> int:
        widths = form.widths(np.array([64]))
        if int(widths.inputs[0]) > 65 or np.asarray(widths.source).any():
            raise RecipeError(
                "pretrain.rows: stream is for objectives that read the text as it stands; choose packed, padded or "
                "bucketed (choices: packed, padded, bucketed, quarters)"
            )
        return int(form.room.inputs)


class Documents(Choice):
    """What the readings by document share."""

    long: Literal["chunk", "head", "tail"] = "chunk"
    """Documents that are too long: cut into chunks, or only their first or last tokens are read."""
    overlap: int = Field(default=0, ge=0)
    """Tokens of the chunk before that a chunk repeats; those are seen and, in causal models, not scored again."""

    def cuts(self, store: TokenStore, form: Form) -> Cuts:
        """Pieces of which the objective can make something.

        Raises:
            RecipeError: chunks would overlap whole.
            InputError: there are none.
        """
        longest = form.longest
        if self.long == "chunk":
            self._check_overlap(form)
            found = chunks(store, longest=longest, overlap=self.overlap)
        else:
            found = (heads if self.long == "head" else tails)(store, longest=longest)
        widths = form.measure(store, found.starts, found.bodies)
        kept = found.only((np.asarray(widths.inputs) > 0) & widths.fit(form.room))
        if not len(kept):
            raise InputError(NONE_LONG_ENOUGH)
        return kept

    def _check_overlap(self, form: Form) -> None:
        if self.long == "chunk" and self.overlap >= form.longest:
            raise RecipeError(
                f"pretrain.rows.overlap must be below {form.longest}, the tokens of a chunk; got {self.overlap}"
            )

    def rows(self, store: TokenStore, form: Form, *, seed: int) -> Rows:
        """Rows by number; each reading's own."""
        raise NotImplementedError(type(self).__name__)

    def sample(self, store: TokenStore, form: Form, *, tokens: int | None, seed: int) -> Sample:
        return _first(self.rows(store, form, seed=seed), form, tokens)

    def pieces(self, store: TokenStore, form: Form) -> Sized:
        """The same, numbered by size; not listed where their lengths say what size they are.

        Raises:
            RecipeError: chunks would overlap whole.
            InputError: there are none.
        """
        if form.by_length:
            self._check_overlap(form)
            found = by_length(store, form, long=self.long, overlap=self.overlap)
            if not len(found.pieces):
                raise InputError(NONE_LONG_ENOUGH)
            return found
        cuts = self.cuts(store, form)
        widths = form.measure(store, cuts.starts, cuts.bodies)
        each = np.stack(np.broadcast_arrays(np.asarray(widths.inputs), np.asarray(widths.source)))
        sizes, size_of, counts = np.unique(each, axis=1, return_inverse=True, return_counts=True)
        return Sized(cuts[np.argsort(size_of.ravel(), kind="stable")], Widths(*sizes), counts)


class Packed(Documents):
    """Whole documents side by side, as many as fit into a row (best fit); little padding, nothing lost."""

    def rows(self, store: TokenStore, form: Form, *, seed: int) -> Rows:
        return _packed(store, self.pieces(store, form), form.room, seed)

    def read(self, store: TokenStore, form: Form, example: MakeExample, *, size: Size, seed: int) -> Reader:
        found = self.pieces(store, form)
        room = alike(found.sizes, form.room, found.counts)
        return _equal(_packed(store, found, room, seed), room, example, size)


class Padded(Documents):
    """A document, or a chunk of one, in a row of its own, padded to the full length."""

    def rows(self, store: TokenStore, form: Form, *, seed: int) -> Rows:
        pieces = self.pieces(store, form).pieces
        return DocumentRows(store, pieces, one_each(len(pieces)), seed)

    def read(self, store: TokenStore, form: Form, example: MakeExample, *, size: Size, seed: int) -> Reader:
        return _equal(self.rows(store, form, seed=seed), form.room, example, size)


class Bucketed(Documents):
    """As many documents a step as hold its tokens, those of like length together, padded to the longest of them."""

    def rows(self, store: TokenStore, form: Form, *, seed: int) -> Rows:
        cuts = self.cuts(store, form)
        return DocumentRows(store, cuts, one_each(len(cuts)), seed)

    def read(self, store: TokenStore, form: Form, example: MakeExample, *, size: Size, seed: int) -> Reader:
        cuts = self.cuts(store, form)
        rows = DocumentRows(store, cuts, one_each(len(cuts)), seed, in_order=True)
        steps = _Buckets(form.measure(store, cuts.starts, cuts.bodies), form.room, size, seed)
        return Reader(rows, StepBatches(rows, example, steps), float(steps.per_epoch), form.room)


@dataclass
class _Buckets:
    """Steps of as many rows as hold ``batch`` full rows' tokens; the same steps in another order each epoch."""

    widths: Widths
    """Of every row."""
    room: Widths
    size: Size
    seed: int
    _steps: list[Ints] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        count = len(self.widths.inputs)
        generator = np.random.Generator(np.random.Philox(np.random.SeedSequence([self.seed, 4])))
        order = generator.permutation(count)
        ends = np.cumsum(self._costs[order])
        step_of = (ends - 1) // (self.size.batch * self._full)
        self._steps = np.split(order, np.flatnonzero(np.diff(step_of)) + 1)

    @property
    def per_epoch(self) -> int:
        return len(self._steps)

    @property
    def _costs(self) -> Ints:
        return np.asarray(self.widths.inputs + np.asarray(self.widths.source), dtype=np.int64)

    @property
    def _full(self) -> int:
        return int(self.room.inputs) + int(self.room.source)

    def __call__(self, step: int) -> list[Group]:
        epoch, place = divmod(step, self.per_epoch)
        rows = self._steps[shuffled(self.per_epoch, self.seed, epoch, 5)[place]]
        rows = rows[np.argsort(-self._costs[rows], kind="stable")]
        groups: list[Group] = []
        while len(rows):
            widths = self._padded(rows[0])
            count = max(1, self.size.micro_batch * self._full // (widths.inputs + widths.source))
            first = epoch * len(self.widths.inputs)
            groups.append(Group((first + rows[:count]).tolist(), self._together(rows[:count])))
            rows = rows[count:]
        return groups

    def _together(self, rows: Ints) -> Widths:
        each = [self._padded(row) for row in rows]
        return Widths(max(one.inputs for one in each), max(one.source for one in each))

    def _padded(self, row: int) -> Widths:
        source = np.broadcast_to(np.asarray(self.widths.source), self.widths.inputs.shape)
        return Widths(
            _up(int(self.widths.inputs[row]), int(self.room.inputs)), _up(int(source[row]), int(self.room.source))
        )


def _up(width: int, most: int) -> int:
    return min(most, -(-width // WIDTH_STEP) * WIDTH_STEP)


def _packed(store: TokenStore, found: Sized, room: Widths, seed: int) -> Rows:
    return DocumentRows(store, found.pieces, fill(found.sizes, found.counts, room), seed)


def _equal(rows: Rows, room: Widths, example: MakeExample, size: Size) -> Reader:
    groups = EqualGroups(size.batch, size.micro_batch, room)
    return Reader(rows, StepBatches(rows, example, groups), rows.per_epoch / size.batch, room)


def _first(rows: Rows, form: Form, tokens: int | None) -> Sample:
    return Sample(rows, (Group(range(how_many(rows, form, tokens)), form.room),))


def how_many(rows: Rows, form: Form, tokens: int | None) -> int:
    """Rows that hold about so many tokens; all where it is None."""
    return rows.per_epoch if tokens is None else min(-(-tokens // int(form.room.inputs)), rows.per_epoch)
