"""Rows of documents: what is too long is cut or chunked, what is short is packed, padded or sorted by length."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from danlu.corpus.packing import Filling
from danlu.corpus.rows import NOTHING_UNUSED, Ints, Piece, Unused
from danlu.corpus.shuffle import shuffled
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

    @property
    def tokens(self) -> int:
        return int(self.bodies.sum() + self.closing.sum())

    def only(self, usable: np.ndarray[Any, np.dtype[np.bool_]]) -> Cuts:
        """Those where ``usable`` is true; the others are counted."""
        lost = (self.bodies - self.seen)[~usable]
        return replace(self[np.flatnonzero(usable)], unused=Unused(int((lost > 0).sum()), int(lost.sum())))

    def __len__(self) -> int:
        return len(self.starts)


def chunks(store: TokenStore, *, longest: int, overlap: int = 0) -> Cuts:
    """Documents in pieces of at most ``longest`` tokens; each but the first repeats ``overlap`` of those before."""
    starts = np.asarray(store.starts)
    begins, lengths = starts[:-1] + 1, np.diff(starts) - 1
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
    starts = np.asarray(store.starts)
    lengths = np.diff(starts) - 1
    bodies = np.minimum(longest, lengths)
    return Cuts(starts[:-1] + 1, bodies, (bodies == lengths).astype(np.int64), np.zeros_like(bodies))


def tails(store: TokenStore, *, longest: int) -> Cuts:
    """The last ``longest`` tokens of each document."""
    starts = np.asarray(store.starts)
    lengths = np.diff(starts) - 1
    bodies = np.minimum(longest, lengths)
    return Cuts(starts[1:] - bodies, bodies, np.ones_like(bodies), np.zeros_like(bodies))


class Pieces(Protocol):
    """Pieces by number, in memory or not."""

    @property
    def unused(self) -> Unused:
        """Other pieces, which are not here."""
        ...

    @property
    def tokens(self) -> int:
        """What they hold of text, end-of-text among it."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, chosen: Ints) -> Cuts:
        """Those of these numbers."""
        ...


@dataclass
class DocumentRows:
    """Rows of whole pieces, in another order each epoch."""

    store: TokenStore
    pieces: Pieces
    filling: Filling
    """Which of them each row has."""
    seed: int
    in_order: bool = False
    """Whether row ``r`` of the filling is row ``r`` of each epoch."""

    @property
    def per_epoch(self) -> int:
        return len(self.filling)

    @property
    def tokens(self) -> int:
        return self.pieces.tokens

    @property
    def unused(self) -> Unused:
        return self.pieces.unused

    @property
    def several(self) -> bool:
        return True

    def __getitem__(self, number: int) -> list[Piece]:
        epoch, place = divmod(number, self.per_epoch)
        # The 3 keeps it apart from the sources of the stream's order, of the noise and of the held-out noise.
        row = place if self.in_order else shuffled(self.per_epoch, self.seed, epoch, 3)[place]
        return self.made(self.filling[row])

    def made(self, numbers: Ints) -> list[Piece]:
        """These pieces with their tokens."""
        cuts = self.pieces[numbers]
        each = zip(*(part.tolist() for part in (cuts.starts, cuts.bodies, cuts.closing, cuts.seen)), strict=True)
        return [self._piece(start - 1, start + body + closing, seen) for start, body, closing, seen in each]

    def _piece(self, start: int, end: int, seen: int) -> Piece:
        return Piece(self.store, start, np.asarray(self.store.tokens[start:end], dtype=np.int64), seen)
