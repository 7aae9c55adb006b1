"""Rows of documents: what is too long is cut or chunked, what is short is packed, padded or sorted by length."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from danlu.corpus.rows import NOTHING_UNUSED, Ints, Piece, Unused
from danlu.corpus.store import TokenStore


@dataclass(frozen=True)
class Cuts:
    """Pieces of the documents of a store, one entry each."""

    starts: Ints
    """Where in the stream a piece's first own token stands."""
    bodies: Ints
    """Its tokens, end-of-text not counted."""
    closing: Ints
    """1 where the document ends with it."""
    seen: Ints
    """Tokens at its beginning that the piece before has too."""
    unused: Unused = NOTHING_UNUSED
    """Other pieces, which are not here."""

    def __getitem__(self, chosen: Ints) -> Cuts:
        return Cuts(self.starts[chosen], self.bodies[chosen], self.closing[chosen], self.seen[chosen], self.unused)

    def only(self, usable: np.ndarray[Any, np.dtype[np.bool_]]) -> Cuts:
        """Those where ``usable`` is true; the others are counted."""
        lost = (self.bodies - self.seen)[~usable]
        return replace(self[np.flatnonzero(usable)], unused=Unused(int((lost > 0).sum()), int(lost.sum())))

    def __len__(self) -> int:
        return len(self.starts)


def chunks(store: TokenStore, *, longest: int, overlap: int = 0) -> Cuts:
    """Documents in pieces of at most ``longest`` tokens; each but the first repeats ``overlap`` of those before."""
    begins, lengths = store.starts[:-1] + 1, np.diff(store.starts) - 1
    step = longest - overlap
    counts = 1 + np.maximum(0, -(-(lengths - longest) // step))
    document = np.repeat(np.arange(len(lengths)), counts)
    number = np.arange(len(document)) - np.repeat(np.cumsum(counts) - counts, counts)
    offset = number * step
    bodies = np.minimum(longest, lengths[document] - offset)
    closing = (number == counts[document] - 1).astype(np.int64)
    return Cuts(begins[document] + offset, bodies, closing, np.where(number > 0, overlap, 0))


def heads(store: TokenStore, *, longest: int) -> Cuts:
    """The first ``longest`` tokens of each document."""
    lengths = np.diff(store.starts) - 1
    bodies = np.minimum(longest, lengths)
    return Cuts(store.starts[:-1] + 1, bodies, (bodies == lengths).astype(np.int64), np.zeros_like(bodies))


def tails(store: TokenStore, *, longest: int) -> Cuts:
    """The last ``longest`` tokens of each document."""
    lengths = np.diff(store.starts) - 1
    bodies = np.minimum(longest, lengths)
    return Cuts(store.starts[1:] - bodies, bodies, np.ones_like(bodies), np.zeros_like(bodies))


@dataclass
class DocumentRows:
    """Rows of whole pieces, in another order each epoch."""

    store: TokenStore
    cuts: Cuts
    """In the order of the rows."""
    borders: Ints
    """``[rows + 1]``: row ``r`` has the pieces from ``borders[r]`` on."""
    seed: int
    shuffled: bool = True
    _epoch: int = field(default=-1, init=False)
    _order: Ints = field(init=False, repr=False)

    @property
    def per_epoch(self) -> int:
        return len(self.borders) - 1

    @property
    def tokens(self) -> int:
        return int(self.cuts.bodies.sum() + self.cuts.closing.sum())

    @property
    def unused(self) -> Unused:
        return self.cuts.unused

    @property
    def several(self) -> bool:
        return True

    def __getitem__(self, number: int) -> list[Piece]:
        epoch, place = divmod(number, self.per_epoch)
        row = int(self._places(epoch)[place]) if self.shuffled else place
        return [self._piece(piece) for piece in range(int(self.borders[row]), int(self.borders[row + 1]))]

    def _piece(self, number: int) -> Piece:
        start = int(self.cuts.starts[number]) - 1
        end = start + 1 + int(self.cuts.bodies[number]) + int(self.cuts.closing[number])
        tokens = np.asarray(self.store.tokens[start:end], dtype=np.int64)
        return Piece(self.store, start, tokens, int(self.cuts.seen[number]))

    def _places(self, epoch: int) -> Ints:
        if epoch != self._epoch:
            # The 3 keeps it apart from the sources of the stream's order, of the noise and of the held-out noise.
            sequence = np.random.SeedSequence([self.seed, epoch, 3])
            self._order = np.random.Generator(np.random.Philox(sequence)).permutation(self.per_epoch)
            self._epoch = epoch
        return self._order
