"""A part of a token store as a store of its own: the documents of some languages or files."""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any, cast

import numpy as np

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
    """Those in one of these languages, as ``documents.jsonl`` names them; in all where none is named."""
    source: tuple[str, ...] = ()
    """Those whose ``source`` there matches one of these patterns, with ``*`` and ``?``: the path of a file within its
    entry of ``clean.sources``, such as ``books/*``. Where two entries have a file of one path, the number of the later
    one stands before its own: ``1:books/*``."""

    def matches(self, document: dict[str, Any]) -> bool:
        """Whether a line of ``documents.jsonl`` is of such a document."""
        spoken = not self.language or document["language"] in self.language
        return spoken and (not self.source or any(fnmatchcase(document["source"], each) for each in self.source))

    def chosen(self, store: TokenStore) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """``[documents]`` whether each document of the store is one of these."""
        return np.array([self.matches(document) for document in store.documents], dtype=bool)

    def of(self, store: TokenStore) -> TokenStore | None:
        """The store of these documents alone, in their order; None where there are none."""
        chosen = self.chosen(store)
        if chosen.all():
            return store
        return part(store, np.flatnonzero(chosen)) if chosen.any() else None


def nothing_chosen(key: str, selection: Selection, store: TokenStore, what: str) -> str:
    """That the selection of ``key`` has no document of the store, in words, and what there is in its place."""
    languages = sorted(store.by_language)
    sources = sorted({document["source"] for document in store.documents})
    folders = sorted({f"{source.rpartition('/')[0]}/*" for source in sources if "/" in source})
    patterns = folders if len(sources) > SEARCHED else [*folders, *sources]
    words = [(each, languages) for each in selection.language] + [(each, patterns) for each in selection.source]
    meant = next((found for word, there in words if word not in there and (found := did_you_mean(word, there))), "")
    more = ", …" if len(sources) > SHOWN else ""
    return (
        f"{key}.documents: no such document is {what}{meant} "
        f"(languages: {', '.join(languages)}; sources: {', '.join(sources[:SHOWN])}{more})"
    )


class Spliced:
    """Stretches of a long array behind each other, read as one; only what is sliced is copied.

    Documents of one language or file mostly stand together in a store, so that there are few stretches.
    """

    def __init__(self, whole: np.ndarray[Any, Any], begins: Ints, ends: Ints) -> None:
        self.whole, self.begins = whole, begins
        self.borders = np.concatenate(([0], np.cumsum(ends - begins)))
        self.dtype = whole.dtype

    def __len__(self) -> int:
        return int(self.borders[-1])

    def __getitem__(self, key: int | slice | Ints) -> Any:
        if isinstance(key, np.ndarray):
            places = np.where(key < 0, key + len(self), key)
            stretch = np.searchsorted(self.borders, places, side="right") - 1
            return self.whole[self.begins[stretch] + places - self.borders[stretch]]
        if not isinstance(key, slice):
            return self[np.array(range(len(self))[key])]
        start, end, step = key.indices(len(self))
        first, last = (int(np.searchsorted(self.borders, place, side="right")) - 1 for place in (start, end - 1))
        parts = [self._stretch(number, start, end) for number in range(first, last + 1)] if end > start else []
        return np.concatenate([self.whole[:0], *parts])[::step]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        return np.asarray(self[:], dtype=dtype)

    def __eq__(self, other: object) -> Any:
        """Number by number, as of any array."""
        return np.asarray(self) == other

    __hash__ = None  # type: ignore[assignment]

    def _stretch(self, number: int, start: int, end: int) -> np.ndarray[Any, Any]:
        offset = self.begins[number] - self.borders[number]
        inner = max(start, self.borders[number]), min(end, self.borders[number + 1])
        return self.whole[int(inner[0] + offset) : int(inner[1] + offset)]


def part(store: TokenStore, chosen: Ints) -> TokenStore:
    """The documents of these rising numbers as a store; what it reads stays where it is.

    Raises:
        ValueError: there are none.
    """
    if not len(chosen):
        raise ValueError("a store has one document at least")
    breaks = np.flatnonzero(np.diff(chosen) > 1) + 1
    firsts, lasts = chosen[np.concatenate(([0], breaks))], chosen[np.concatenate((breaks - 1, [-1]))]
    begins, ends = store.starts[firsts], store.starts[lasts + 1].copy()
    ends[-1] += 1  # the end-of-text token behind the last; those between are the first of the next stretch
    lengths = np.diff(store.starts)[chosen]
    marks = None if store.marks is None else cast(Any, Spliced(store.marks, begins, ends))
    return replace(
        store, tokens=cast(Any, Spliced(store.tokens, begins, ends)), marks=marks,
        starts=np.concatenate(([0], np.cumsum(lengths))), documents=[store.documents[number] for number in chosen],
    )  # fmt: skip
