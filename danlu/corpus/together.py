"""Steps of so many whole documents, put into as few long rows as may be: no padding, whatever their lengths.

The documents of a part of a step stand behind each other in one row, those of equal length together, where each
attends by itself at the cost of its own length (``nn/run_attention.py``, ``nn/native``). Which documents a step has is
drawn anew each epoch.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from danlu.corpus.batches import Group, MakeExample, StepBatches
from danlu.corpus.documents import Cuts, DocumentRows
from danlu.corpus.packing import one_each
from danlu.corpus.reading import Reader, Sample, Size
from danlu.corpus.rows import NOTHING_UNUSED, Form, Ints, Piece, Rows, Unused, Widths
from danlu.corpus.shuffle import shuffled
from danlu.corpus.store import TokenStore
from danlu.recipe import Choice

DRAWN = 256
"""Documents of a sample that are drawn at once."""


class Together(Choice):
    """``batch`` documents a step, none of which is cut (a :class:`danlu.corpus.reading.Reading`)."""

    def rows(self, store: TokenStore, form: Form, *, seed: int) -> Rows:
        return StepRows(store, form, batch=1, limit=int(form.room.inputs), seed=seed)

    def read(self, store: TokenStore, form: Form, example: MakeExample, *, size: Size, seed: int) -> Reader:
        limit = size.micro_batch * (int(form.room.inputs) + int(form.room.source))
        rows = StepRows(store, form, batch=size.batch, limit=limit, seed=seed, readers=size.readers)
        batches = StepBatches(rows, example, rows.groups)
        return Reader(rows, batches, rows.steps_per_epoch, form.room, rows.batch)

    def sample(self, store: TokenStore, form: Form, *, tokens: int | None, seed: int) -> Sample:
        """Documents that hold about so many tokens, or all, in rows of the form's width, the longest first."""
        chosen = None if tokens is None else _enough(store, tokens, seed)
        limit = int(form.room.inputs) + int(form.room.source)
        rows = StepRows(store, form, batch=len(store.starts) - 1, limit=limit, seed=seed, chosen=chosen)
        return Sample(rows, tuple(rows.groups(0)))


def _enough(store: TokenStore, tokens: int, seed: int) -> Ints:
    """Documents that are drawn until they hold so many tokens, or all; their numbers rise."""
    pieces = WholeDocuments(store)
    order = shuffled(len(pieces), seed, 9)
    drawn: list[int] = []
    held = place = 0
    while held < tokens and place < len(pieces):
        some = np.array([order[place] for place in range(place, min(place + DRAWN, len(pieces)))])
        held_after = held + np.cumsum(pieces[some].bodies)
        drawn += some[: int(np.searchsorted(held_after, tokens)) + 1].tolist()
        held, place = int(held_after[-1]), place + len(some)
    return np.array(sorted(drawn), dtype=np.int64)


@dataclass(frozen=True)
class WholeDocuments:
    """Documents as they are, none of them listed (a :class:`danlu.corpus.documents.Pieces`)."""

    store: TokenStore
    chosen: Ints | None = None
    """The numbers of those that are read, where it is not all."""
    unused: Unused = NOTHING_UNUSED

    def __len__(self) -> int:
        return len(self.store.starts) - 1 if self.chosen is None else len(self.chosen)

    @property
    def tokens(self) -> int:
        return self.store.targets if self.chosen is None else self[np.arange(len(self))].tokens

    def __getitem__(self, chosen: Ints) -> Cuts:
        numbers = chosen if self.chosen is None else self.chosen[chosen]
        starts = np.asarray(self.store.starts[numbers], dtype=np.int64) + 1
        bodies = np.asarray(self.store.starts[numbers + 1], dtype=np.int64) - starts
        return Cuts(starts, bodies, np.ones_like(bodies), np.zeros_like(bodies))


@dataclass
class StepRows:
    """Random access to the parts of steps: row ``step * batch + part``."""

    store: TokenStore
    form: Form
    batch: int
    """Documents a step."""
    limit: int
    """Tokens of a row, both sides together, where a single document has no more."""
    seed: int
    readers: int = 1
    """Processes that the rows of a step are divided among: each has as many, of about as many tokens, where it can."""
    chosen: Ints | None = None
    """The numbers of the documents that are read, where it is not all."""
    _pieces: DocumentRows = field(init=False, repr=False)
    _step: tuple[int, list[Part]] = field(default=(-1, []), init=False, repr=False)

    def __post_init__(self) -> None:
        pieces = WholeDocuments(self.store, self.chosen)
        self._pieces = DocumentRows(self.store, pieces, one_each(len(pieces)), self.seed, in_order=True)
        self.batch = min(self.batch, len(pieces))

    @property
    def steps_per_epoch(self) -> float:
        return self.per_epoch / self.batch

    @property
    def per_epoch(self) -> int:
        return self._pieces.per_epoch

    @property
    def tokens(self) -> int:
        return self._pieces.tokens

    @property
    def unused(self) -> Unused:
        return NOTHING_UNUSED

    @property
    def several(self) -> bool:
        return True

    def __getitem__(self, number: int) -> list[Piece]:
        step, part = divmod(number, self.batch)
        return self._pieces.made(self._parts(step)[part].documents)

    def groups(self, step: int) -> list[Group]:
        """The rows of a step, each a micro-batch."""
        return [Group([step * self.batch + number], part.widths) for number, part in enumerate(self._parts(step))]

    def _parts(self, step: int) -> list[Part]:
        """The rows of a step."""
        if self._step[0] == step:
            return self._step[1]
        documents = np.array([self._document(step * self.batch + place) for place in range(self.batch)])
        cuts = self._pieces.pieces[documents]
        widths = self.form.measure(self.store, cuts.starts, cuts.bodies)
        inputs = np.asarray(widths.inputs, dtype=np.int64)
        source = np.broadcast_to(np.asarray(widths.source, dtype=np.int64), inputs.shape)
        sizes = inputs + source
        order = np.lexsort((documents, -sizes))
        borders = self._borders(sizes[order])
        self._step = (step, [
            Part(documents[some], Widths(int(inputs[some].sum()), int(source[some].sum())))
            for some in np.split(order, borders)
        ])  # fmt: skip
        return self._step[1]

    def _borders(self, sizes: Ints) -> list[int]:
        """Where rows but the first begin, of documents that come in this order."""
        cuts = cut_evenly(sizes.tolist(), self.limit)
        return cuts[1:] if self.readers == 1 else _even_borders(sizes, self.limit, len(cuts), self.readers)

    def _document(self, place: int) -> int:
        """The document at a place of the endless order: every epoch has each once."""
        epoch, within = divmod(place, self.per_epoch)
        return shuffled(self.per_epoch, self.seed, epoch, 8)[within]  # the 8 keeps it apart from other sources


class Part(NamedTuple):
    """A row of a step."""

    documents: Ints
    """The longest first."""
    widths: Widths
    """What they need together."""


def cut_evenly(sizes: Sequence[int], limit: int) -> list[int]:
    """Where rows begin, of documents that come in this order: as few rows as may be, the longest as short as may be.

    Few, for each has all weights read anew; short, for the longest decides how much memory a step takes.

    Args:
        limit: tokens of a row, where a single document has no more.
    """
    fewest, longest = len(_cut(sizes, limit)), max(sizes)
    short = range(max(longest, -(-sum(sizes) // fewest)), max(longest, limit))
    return _cut(sizes, short.start + bisect_left(short, True, key=lambda tokens: len(_cut(sizes, tokens)) <= fewest))


def _cut(sizes: Sequence[int], limit: int) -> list[int]:
    """Where rows begin that are filled one after the other."""
    cuts, tokens = [0], 0
    for place, size in enumerate(sizes):
        if place > cuts[-1] and tokens + size > limit:
            cuts.append(place)
            tokens = 0
        tokens += size
    return cuts


def _even_borders(sizes: Ints, limit: int, fewest: int, readers: int) -> list[int]:
    """Where rows but the first begin: about as many tokens each, at least ``fewest``, and as many for each reader.

    Where there are fewer documents than readers, each has a row.
    """
    count, whole, most = len(sizes), np.cumsum(sizes), max(limit, int(sizes.max()))
    for rows in range(-(-fewest // readers) * readers, count, readers):
        numbers = np.arange(1, rows)
        reached = np.searchsorted(whole, whole[-1] * numbers / rows) + 1  # documents that reach a share of the tokens
        borders = np.minimum(np.maximum.accumulate(reached - numbers) + numbers, count - rows + numbers)
        if max(part.sum() for part in np.split(sizes, borders)) <= most:
            return [int(border) for border in borders]
    return list(range(1, count))
