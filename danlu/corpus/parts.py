"""A part of a token store as a store of its own: the documents of some languages or files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from danlu.corpus.mapped import AT_ONCE, Spliced, scratch
from danlu.corpus.packing import Flags
from danlu.corpus.rows import Ints
from danlu.corpus.store import TokenStore
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
        return self._speaks(document["language"]) and self._comes(document["source"])

    def flags(self, store: TokenStore) -> Iterator[Flags]:
        """Whether each document is one of them, many documents at a time."""
        return store.table.chosen(self._speaks, self._comes)

    def chosen(self, store: TokenStore) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """``[documents]`` whether each document of the store is one of these."""
        return np.concatenate([np.zeros(0, dtype=bool), *self.flags(store)])

    def of(self, store: TokenStore) -> TokenStore | None:
        """The store of these documents alone, in their order; None where there are none."""
        begins, ends = _stretches(self.flags(store))
        chosen = int((ends - begins).sum())
        if chosen == len(store.documents):
            return store
        return _spliced(store, begins, ends) if chosen else None

    def _speaks(self, language: str) -> bool:
        return not self.language or language in self.language

    def _comes(self, source: str) -> bool:
        return not self.source or any(fnmatchcase(source, each) for each in self.source)


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
    if not len(chosen):
        raise ValueError("a store has one document at least")
    breaks = np.flatnonzero(np.diff(chosen) > 1) + 1
    firsts, lasts = chosen[np.concatenate(([0], breaks))], chosen[np.concatenate((breaks - 1, [-1]))]
    return _spliced(store, firsts, lasts + 1)


def _stretches(flags: Iterator[Flags]) -> tuple[Ints, Ints]:
    """Where documents that are chosen and follow each other begin and end."""
    found, before, last = [np.zeros(0, dtype=np.int64)], 0, False
    for block in flags:
        changes = np.flatnonzero(np.diff(block, prepend=last))
        found.append(before + changes)
        before, last = before + len(block), bool(block[-1])
    borders = np.concatenate([*found, [before] if last else np.zeros(0, dtype=np.int64)])
    return borders[::2], borders[1::2]


def _spliced(store: TokenStore, firsts: Ints, behind: Ints) -> TokenStore:
    """The documents between these numbers as a store."""
    begins, ends = np.asarray(store.starts[firsts]), np.asarray(store.starts[behind]).copy()
    ends[-1] += 1  # the end-of-text token behind the last; those between are the first of the next stretch
    marks = None if store.marks is None else Spliced(store.marks, begins, ends)
    return replace(
        store, tokens=Spliced(store.tokens, begins, ends), marks=marks, order=None,
        starts=_starts(store, firsts, behind), documents=store.table.only(firsts, behind),
    )  # fmt: skip


def _starts(store: TokenStore, firsts: Ints, behind: Ints) -> Ints:
    """Where the documents begin in a stream of their own."""
    own = Spliced(store.starts, firsts, behind)
    starts = scratch(len(own) + 1)
    starts[0] = 0
    for at in range(0, len(own), AT_ONCE):
        lengths = Spliced(store.starts, firsts + 1, behind + 1)[at : at + AT_ONCE] - own[at : at + AT_ONCE]
        starts[at + 1 : at + 1 + len(lengths)] = starts[at] + np.cumsum(lengths)
    return starts
