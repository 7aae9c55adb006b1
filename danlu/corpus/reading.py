"""How documents of all lengths become rows: the choices of ``pretrain.rows``.

========  ===========================================================================================
stream    full rows of one endless stream, documents cut where a row ends; for causal models
packed    whole documents side by side, as many as fit; what is longer than a row is cut first
padded    a document a row, padded to the full length: simple and wasteful
bucketed  documents of like length together, as many as hold the tokens of a step; padded to the longest (buckets.py)
quarters  packed, short documents in rows of a quarter of the width (quarters.py)
========  ===========================================================================================

Documents never see each other in any of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from pydantic import Field

from danlu.corpus.batches import EqualGroups, Group, MakeExample, StepBatches
from danlu.corpus.buckets import Buckets
from danlu.corpus.documents import DocumentRows
from danlu.corpus.packing import alike, fill, one_each
from danlu.corpus.pieces import Sized, by_length, listed
from danlu.corpus.rows import Form, Rows, Widths
from danlu.corpus.store import TokenStore
from danlu.corpus.stream import StreamRows
from danlu.errors import InputError, RecipeError
from danlu.recipe import Choice

NONE_LONG_ENOUGH = "pretrain.objective: no document is long enough for it"


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
        """Pieces of which the objective can make something, numbered by size; not listed where lengths say the sizes.

        Raises:
            RecipeError: chunks would overlap whole.
            InputError: there are none.
        """
        self._check_overlap(form)
        found = (by_length if form.by_length else listed)(store, form, long=self.long, overlap=self.overlap)
        if not len(found.pieces):
            raise InputError(NONE_LONG_ENOUGH)
        return found


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
        return _padded(store, self.pieces(store, form), seed)

    def read(self, store: TokenStore, form: Form, example: MakeExample, *, size: Size, seed: int) -> Reader:
        return _equal(self.rows(store, form, seed=seed), form.room, example, size)


class Bucketed(Documents):
    """As many documents a step as hold its tokens, those of like length together, padded to the longest of them."""

    def rows(self, store: TokenStore, form: Form, *, seed: int) -> Rows:
        return _padded(store, self.pieces(store, form), seed)

    def read(self, store: TokenStore, form: Form, example: MakeExample, *, size: Size, seed: int) -> Reader:
        found = self.pieces(store, form)
        rows = DocumentRows(store, found.pieces, one_each(len(found.pieces)), seed, in_order=True)
        steps = Buckets(found.sizes, found.counts, form.room, size.batch, size.micro_batch, seed)
        return Reader(rows, StepBatches(rows, example, steps), float(steps.per_epoch), form.room)


def _packed(store: TokenStore, found: Sized, room: Widths, seed: int) -> Rows:
    return DocumentRows(store, found.pieces, fill(found.sizes, found.counts, room), seed)


def _padded(store: TokenStore, found: Sized, seed: int) -> Rows:
    return DocumentRows(store, found.pieces, one_each(len(found.pieces)), seed)


def _equal(rows: Rows, room: Widths, example: MakeExample, size: Size) -> Reader:
    groups = EqualGroups(size.batch, size.micro_batch, room)
    return Reader(rows, StepBatches(rows, example, groups), rows.per_epoch / size.batch, room)


def _first(rows: Rows, form: Form, tokens: int | None) -> Sample:
    return Sample(rows, (Group(range(how_many(rows, form, tokens)), form.room),))


def how_many(rows: Rows, form: Form, tokens: int | None) -> int:
    """Rows that hold about so many tokens; all where it is None."""
    return rows.per_epoch if tokens is None else min(-(-tokens // int(form.room.inputs)), rows.per_epoch)
