"""A part of a token store as a store of its own: the documents of some languages or files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from danlu.corpus.mapped import AT_ONCE, Ints, Spliced, scratch
from danlu.corpus.store import TokenStore
from danlu.corpus.table import Flags, TablePart
from danlu.errors import did_you_mean
from danlu.recipe import Settings

SHOWN = 5
"""Sources that an error names."""
SEARCHED = 1000
"""Sources among which it looks for what was meant."""


class Selection(Settings):
    """Which documents of the store are read."""

    language: tuple[str, ...] = ()
    """Those in one of these languages, as ``clean`` names them; in all where none is named."""
    source: tuple[str, ...] = ()
    """Those whose ``source`` matches one of these patterns, with ``*`` and ``?``: the path of a file within its
    entry of ``clean.sources``, such as ``books/*``. Where two entries have a file of one path, the number of the later
    one stands before its own: ``1:books/*``."""

    def matches(self, document: Mapping[str, Any]) -> bool:
        """Whether what a store knows of a document says that it is one of them."""
        return self._speaks(document["language"]) and (not self.source or self._comes(document["source"]))

    def flags(self, store: TokenStore) -> Iterator[Flags]:
        """Whether each document is one of them, many documents at a time."""
        return store.table.chosen(self._speaks, self._comes if self.source else None)

    def chosen(self, store: TokenStore) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """``[documents]`` whether each document of the store is one of these, in memory."""
        return np.concatenate([np.zeros(0, dtype=bool), *self.flags(store)])

    def of(self, store: TokenStore) -> TokenStore | None:
        """The store of these documents alone, in their order; None where there are none."""
        return flagged(store, self.flags(store)) if self.language or self.source else store

    def _speaks(self, language: str) -> bool:
        return not self.language or language in self.language

    def _comes(self, source: str) -> bool:
        return any(fnmatchcase(source, each) for each in self.source)


def nothing_chosen(key: str, selection: Selection, store: TokenStore, what: str) -> str:
    """That the selection of ``key`` has no document of the store, in words, and what there is in its place."""
    languages, sources = store.table.present(), store.table.some_sources(SEARCHED + 1)
    folders = sorted({f"{source.rpartition('/')[0]}/*" for source in sources if "/" in source})
    patterns = folders if len(sources) > SEARCHED else [*folders, *sources]
    words = [(each, languages) for each in selection.language] + [(each, patterns) for each in selection.source]
    meant = next((found for word, there in words if word not in there and (found := did_you_mean(word, there))), "")
    more = ", …" if len(sources) > SHOWN else ""
    return (
        f"{key}.documents: no such document is {what}{meant} "
        f"(languages: {', '.join(languages)}; sources: {', '.join(sources[:SHOWN])}{more})"
    )


def part(store: TokenStore, chosen: Ints) -> TokenStore:
    """The documents of these rising numbers as a store; what it reads stays where it is.

    Raises:
        ValueError: there are none.
    """
    flags = np.zeros(len(store.starts) - 1, dtype=np.bool_)
    flags[chosen] = True
    found = flagged(store, [flags])
    if found is None:
        raise ValueError("a store has one document at least")
    return found


def flagged(store: TokenStore, flags: Iterable[Flags]) -> TokenStore | None:
    """The documents of which ``flags``, many at a time, say so, as a store; None where there are none.

    What it reads stays where it is, and where its documents begin is on the disk where they are many.
    """
    chosen = scratch(len(store.starts) - 1, np.bool_)
    place = count = 0
    for block in flags:
        chosen[place : place + len(block)] = block
        place, count = place + len(block), count + int(block.sum())
    if count == len(chosen):
        return store
    if not count:
        return None
    changes = sum(len(found) for found in _changes(chosen))
    borders = scratch(changes + changes % 2)
    borders[-1] = len(chosen)  # where the last stretch ends, unless a change says so
    place = 0
    for found in _changes(chosen):
        borders[place : place + len(found)] = found
        place += len(found)
    return _spliced(store, borders[::2], borders[1::2])


def _changes(chosen: Flags) -> Iterator[Ints]:
    """Numbers of the documents that are chosen where those before them are not, or the opposite."""
    for first in range(0, len(chosen), AT_ONCE):
        block = np.asarray(chosen[first : first + AT_ONCE])
        yield first + np.flatnonzero(np.diff(block, prepend=bool(first and chosen[first - 1])))


def _spliced(store: TokenStore, firsts: Ints, behind: Ints) -> TokenStore:
    """The documents between these numbers as a store."""
    begins, ends = scratch(len(firsts)), scratch(len(firsts))
    for at in range(0, len(firsts), AT_ONCE):
        begins[at : at + AT_ONCE] = store.starts[firsts[at : at + AT_ONCE]]
        ends[at : at + AT_ONCE] = store.starts[behind[at : at + AT_ONCE]]
    ends[-1] += 1  # the end-of-text token behind the last; those between are the first of the next stretch
    marks = None if store.marks is None else Spliced(store.marks, begins, ends)
    sides = None if store.first_sides is None else Spliced(store.first_sides, firsts, behind)
    documents = store.table.only(firsts, behind)
    return replace(
        store, tokens=Spliced(store.tokens, begins, ends), marks=marks, order=None, sides=sides,
        starts=_starts(store, documents), documents=documents,
    )  # fmt: skip


def _starts(store: TokenStore, documents: TablePart) -> Ints:
    """Where the documents begin in a stream of their own."""
    starts = scratch(len(documents) + 1)
    starts[0] = 0
    for at in range(0, len(documents), AT_ONCE):
        numbers = documents.numbers(np.arange(at, min(at + AT_ONCE, len(documents))))
        lengths = np.asarray(store.starts[numbers + 1]) - np.asarray(store.starts[numbers])
        starts[at + 1 : at + 1 + len(lengths)] = starts[at] + np.cumsum(lengths)
    return starts
