"""Pieces of documents that are numbered by size and never listed: which one a number is, is computed.

What a document is cut into follows from its length, and so does the size of each piece's example, or of a pair of texts
from the lengths of both sides. A run is what all documents of one length have alike, their last chunk or those before;
runs of one size stand together. There are two runs for each of the lengths of a store (lengths.py), three where it has
pairs, of which only the beginning may be a pair still.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from danlu.corpus.documents import Cuts, Pieces, chunks, heads, tails
from danlu.corpus.rows import Form, Ints, Unused, Widths
from danlu.corpus.store import TokenStore

Long = Literal["chunk", "head", "tail"]


@dataclass(frozen=True)
class Sized:
    """Pieces, numbered so that those of one size stand together."""

    pieces: Pieces
    sizes: Widths
    """``[sizes]`` each, of their examples."""
    counts: Ints
    """``[sizes]`` pieces of each."""


@dataclass(frozen=True)
class Runs:
    """``[runs]`` each: pieces that documents of one length have alike."""

    bodies: Ints
    """Tokens of each piece, end-of-text not counted."""
    offsets: Ints
    """Tokens of its document before the first piece."""
    each: Ints
    """Pieces of a document."""
    closing: Ints
    """1 where the document ends with the piece."""
    first: Ints
    """Documents that are shorter."""
    documents: Ints
    """How many documents there are of the length."""

    def only(self, chosen: Ints) -> Runs:
        """Those of these numbers, in that order."""
        return Runs(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))


@dataclass(frozen=True)
class PiecesByLength:
    """The pieces of the runs, behind each other (a :class:`danlu.corpus.documents.Pieces`)."""

    store: TokenStore
    runs: Runs
    step: int
    """Tokens from the beginning of a chunk to that of the next."""
    overlap: int
    """Tokens that a chunk but the first repeats."""
    before: Ints
    """``[runs + 1]`` pieces before those of each run."""
    unused: Unused

    @property
    def tokens(self) -> int:
        runs = self.runs
        return int((runs.documents * runs.each * (runs.bodies + runs.closing)).sum())

    def __len__(self) -> int:
        return int(self.before[-1])

    def __getitem__(self, chosen: Ints) -> Cuts:
        runs, run = self.runs, np.searchsorted(self.before, chosen, side="right") - 1
        document, chunk = np.divmod(chosen - self.before[run], runs.each[run])
        number = np.asarray(self.store.by_length.order[runs.first[run] + document], dtype=np.int64)
        offset = runs.offsets[run] + chunk * self.step
        seen = np.where(offset > 0, self.overlap, 0)
        starts = np.asarray(self.store.starts[number], dtype=np.int64) + 1 + offset
        return Cuts(starts, runs.bodies[run], runs.closing[run], seen, self.unused)


def by_length(store: TokenStore, form: Form, *, long: Long, overlap: int) -> Sized:
    """The pieces of a store of which ``form`` can make something."""
    longest = form.longest
    step = longest - overlap
    runs = _chunks(store, longest, step) if long == "chunk" else _ends(store, longest, long)
    widths = _widths(store, form, runs)
    source = np.broadcast_to(np.asarray(widths.source, dtype=np.int64), runs.bodies.shape)
    inputs = np.asarray(widths.inputs, dtype=np.int64)
    usable = (inputs > 0) & Widths(inputs, source).fit(form.room)
    kept = np.flatnonzero(usable)
    kept = kept[np.lexsort((source[kept], inputs[kept]))]
    lost = _unused(runs.only(np.flatnonzero(~usable)), overlap)
    runs = runs.only(kept)
    pieces = runs.each * runs.documents
    sizes, first = np.unique(np.stack([inputs[kept], source[kept]]), axis=1, return_index=True)
    counts = np.add.reduceat(pieces, first) if len(first) else np.zeros(0, dtype=np.int64)
    before = np.concatenate(([0], np.cumsum(pieces)))
    return Sized(PiecesByLength(store, runs, step, overlap, before, lost), Widths(*sizes), counts)


def listed(store: TokenStore, form: Form, *, long: Long, overlap: int) -> Sized:
    """The same of a form that looks into the text, whose pieces are all measured and held in memory."""
    if long == "chunk":
        cuts = chunks(store, longest=form.longest, overlap=overlap)
    else:
        cuts = (heads if long == "head" else tails)(store, longest=form.longest)
    widths = form.measure(store, cuts.starts, cuts.bodies)
    each = np.stack(np.broadcast_arrays(np.asarray(widths.inputs), np.asarray(widths.source)))
    usable = (each[0] > 0) & Widths(*each).fit(form.room)
    sizes, size_of, counts = np.unique(each[:, usable], axis=1, return_inverse=True, return_counts=True)
    return Sized(cuts.only(usable)[np.argsort(size_of.ravel(), kind="stable")], Widths(*sizes), counts)


def _widths(store: TokenStore, form: Form, runs: Runs) -> Widths:
    """``[runs]`` of the examples of their pieces; of pairs the first piece speaks for all of its run."""
    if store.sep is None:
        return form.widths(runs.bodies)
    numbers = np.asarray(store.by_length.order[runs.first], dtype=np.int64)
    starts = np.asarray(store.starts[numbers], dtype=np.int64) + 1 + runs.offsets
    return form.measure(store, starts, runs.bodies)


def _chunks(store: TokenStore, longest: int, step: int) -> Runs:
    known = store.by_length
    lengths, first = known.lengths, np.cumsum(known.counts) - known.counts
    others = np.maximum(0, -(-(lengths - longest) // step))
    last = Runs(
        lengths - others * step, others * step, np.ones_like(lengths), np.ones_like(lengths), first, known.counts
    )
    cut = np.flatnonzero(others)
    parted = store.sep is not None
    full = Runs(
        np.full(len(cut), longest), np.zeros_like(cut), np.ones_like(cut) if parted else others[cut],
        np.zeros_like(cut), first[cut], known.counts[cut],
    )  # fmt: skip
    more = np.flatnonzero(others > 1) if parted else cut[:0]
    inner = Runs(
        np.full(len(more), longest), np.full(len(more), step), others[more] - 1, np.zeros_like(more), first[more],
        known.counts[more],
    )  # fmt: skip
    parts = (last, full, inner)
    return Runs(*(np.concatenate([getattr(part, name) for part in parts]) for name in last.__dataclass_fields__))


def _ends(store: TokenStore, longest: int, which: Long) -> Runs:
    known = store.by_length
    lengths, ones = known.lengths, np.ones_like(known.lengths)
    bodies, first = np.minimum(longest, lengths), np.cumsum(known.counts) - known.counts
    if which == "head":
        return Runs(bodies, np.zeros_like(lengths), ones, (bodies == lengths).astype(np.int64), first, known.counts)
    return Runs(bodies, lengths - bodies, ones, ones, first, known.counts)


def _unused(runs: Runs, overlap: int) -> Unused:
    """What these pieces hold that no other does."""
    repeating = np.where(runs.offsets > 0, runs.each, runs.each - 1)
    new = runs.documents * (runs.each * runs.bodies - repeating * overlap)
    pieces = np.where(new > 0, runs.documents * runs.each, 0)
    return Unused(int(pieces.sum()), int(new.sum()))
