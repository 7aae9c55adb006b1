"""Steps of so many whole documents, put into as few long rows as may be: no padding, whatever their lengths.

The documents of a part of a step stand behind each other in one row, those of equal length together, where each
attends by itself at the cost of its own length (``nn/run_attention.py``). Which documents a step has is drawn anew each
epoch.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from danlu.corpus.batches import Group, MakeExample, StepBatches
from danlu.corpus.documents import Cuts, DocumentRows, heads
from danlu.corpus.packing import one_each
from danlu.corpus.reading import Reader, Sample, Size
from danlu.corpus.rows import NOTHING_UNUSED, Form, Ints, Piece, Rows, Unused, Widths
from danlu.corpus.shuffle import shuffled
from danlu.corpus.store import TokenStore
from danlu.recipe import Choice


class Together(Choice):
    """``batch`` documents a step, none of which is cut (a :class:`danlu.corpus.reading.Reading`)."""

    def rows(self, store: TokenStore, form: Form, *, seed: int) -> Rows:
        return self._rows(store, form, batch=1, limit=int(form.room.inputs), seed=seed)

    def read(self, store: TokenStore, form: Form, example: MakeExample, *, size: Size, seed: int) -> Reader:
        limit = size.micro_batch * (int(form.room.inputs) + int(form.room.source))
        rows = self._rows(store, form, batch=size.batch, limit=limit, seed=seed, readers=size.readers)
        batches = StepBatches(rows, example, rows.groups)
        return Reader(rows, batches, rows.steps_per_epoch, form.room, rows.batch)

    def sample(self, store: TokenStore, form: Form, *, tokens: int | None, seed: int) -> Sample:
        """Documents that hold about so many tokens, or all, in rows of the form's width, the longest first."""
        cuts = heads(store, longest=int(np.diff(np.asarray(store.starts)).max()))
        if tokens is not None:
            order = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, 9]))).permutation(len(cuts))
            enough = int(np.searchsorted(np.cumsum(cuts.bodies[order]), tokens)) + 1
            cuts = cuts[np.sort(order[:enough])]
        limit = int(form.room.inputs) + int(form.room.source)
        rows = StepRows(store, cuts, form.measure(store, cuts.starts, cuts.bodies), len(cuts), limit, seed)
        return Sample(rows, tuple(rows.groups(0)))

    def _rows(self, store: TokenStore, form: Form, *, batch: int, limit: int, seed: int, readers: int = 1) -> StepRows:
        cuts = heads(store, longest=int(np.diff(np.asarray(store.starts)).max()))
        return StepRows(store, cuts, form.measure(store, cuts.starts, cuts.bodies), batch, limit, seed, readers)


@dataclass
class StepRows:
    """Random access to the parts of steps: row ``step * batch + part``."""

    store: TokenStore
    cuts: Cuts
    """A document each."""
    widths: Widths
    """Of each document's example."""
    batch: int
    """Documents a step."""
    limit: int
    """Tokens of a row, both sides together, where a single document has no more."""
    seed: int
    readers: int = 1
    """Processes that the rows of a step are divided among: each has as many, of about as many tokens, where it can."""
    _pieces: DocumentRows = field(init=False, repr=False)
    _step: tuple[int, list[Ints]] = field(default=(-1, []), init=False, repr=False)

    def __post_init__(self) -> None:
        self._pieces = DocumentRows(self.store, self.cuts, one_each(len(self.cuts)), self.seed, in_order=True)
        self.batch = min(self.batch, len(self.cuts))

    @property
    def steps_per_epoch(self) -> float:
        return len(self.cuts) / self.batch

    @property
    def per_epoch(self) -> int:
        return len(self.cuts)

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
        return self._pieces.made(self._parts(step)[part])

    def groups(self, step: int) -> list[Group]:
        """The rows of a step, each a micro-batch."""
        return [Group([step * self.batch + part], self._width(documents))
                for part, documents in enumerate(self._parts(step))]  # fmt: skip

    def _parts(self, step: int) -> list[Ints]:
        """The documents of each row, the longest first."""
        if self._step[0] == step:
            return self._step[1]
        documents = np.array([self._document(step * self.batch + place) for place in range(self.batch)])
        documents = documents[np.lexsort((documents, -self._sizes[documents]))]
        sizes = self._sizes[documents]
        cuts = cut_evenly(sizes.tolist(), self.limit)
        borders = cuts[1:] if self.readers == 1 else _even_borders(sizes, self.limit, len(cuts), self.readers)
        self._step = (step, np.split(documents, borders))
        return self._step[1]

    def _document(self, place: int) -> int:
        """The document at a place of the endless order: every epoch has each once."""
        epoch, within = divmod(place, len(self.cuts))
        return shuffled(len(self.cuts), self.seed, epoch, 8)[within]  # the 8 keeps it apart from other sources

    @property
    def _sizes(self) -> Ints:
        return np.asarray(self.widths.inputs + np.asarray(self.widths.source), dtype=np.int64)

    def _width(self, documents: Ints) -> Widths:
        source = np.broadcast_to(np.asarray(self.widths.source), np.shape(self.widths.inputs))
        return Widths(int(self.widths.inputs[documents].sum()), int(source[documents].sum()))


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
