"""Gopher's rules against repetition: Rae et al. 2021 (arXiv:2112.11446), table A1, in any script.

N is the number of units of a text, P that of places where a repeated n-gram begins.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from danlu.clean.figures import Figures, figures_of
from danlu.clean.rules import Rule
from danlu.recipe import Choice
from danlu.text.document import Document

Ints = NDArray[np.int64]
_ODD = np.uint64(0x9E3779B97F4A7C15)


class GopherRepetition(Choice):
    """Drop texts that say the same again and again; the defaults are the paper's.

    An n-gram is made of what stands between spaces, and in scripts without them of characters: so many as make as much
    text as n words of English do (:mod:`danlu.clean.scripts`), so that the same shares hold. What occurs once is no
    repetition, however large a share of a short text it is.
    """

    max_duplicate_lines: float = Field(default=0.3, ge=0)
    """Share of lines that stood before, at most; blank ones are none."""
    max_duplicate_line_characters: float = Field(default=0.2, ge=0)
    """Share of characters in lines that stood before, at most."""
    max_duplicate_paragraphs: float = Field(default=0.3, ge=0)
    """Share of paragraphs, which blank lines part, that stood before, at most."""
    max_duplicate_paragraph_characters: float = Field(default=0.2, ge=0)
    """Share of characters in paragraphs that stood before, at most."""
    max_top_ngrams: dict[int, float] = Field(default={2: 0.2, 3: 0.18, 4: 0.16})
    """By words of an n-gram: share of characters in the most frequent one, at most."""
    max_duplicate_ngrams: dict[int, float] = Field(default={5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10})
    """By words of an n-gram: share of characters in n-grams that stood before, each character once, at most."""

    @field_validator("max_top_ngrams", "max_duplicate_ngrams")
    @classmethod
    def _sizes(cls, value: dict[int, float]) -> dict[int, float]:
        for words, share in value.items():
            if not 2 <= words <= 100 or share < 0:
                raise ValueError(f"must map 2 to 100 words to a share of 0 or more; got {words}: {share:g}")
        return value

    def make(self) -> Rule:
        def drop(document: Document) -> str | None:
            wrong = self._pieces(document.text) or self._ngrams(figures_of(document.text))
            return f"gopher_repetition: {wrong}" if wrong else None

        return drop

    def _pieces(self, text: str) -> str | None:
        """What repeats of paragraphs and lines."""
        paragraphs = [piece for part in text.split("\n\n") if (piece := part.strip("\n"))]
        again, characters = duplicates(paragraphs)
        if again > self.max_duplicate_paragraphs * len(paragraphs):
            return "duplicate paragraphs"
        if characters > self.max_duplicate_paragraph_characters * len(text):
            return "characters in duplicate paragraphs"
        lines = figures_of(text).lines
        again, characters = duplicates(lines)
        if again > self.max_duplicate_lines * len(lines):
            return "duplicate lines"
        if characters > self.max_duplicate_line_characters * len(text):
            return "characters in duplicate lines"
        return None

    def _ngrams(self, figures: Figures) -> str | None:
        """What repeats of n-grams, the shorter ones first."""
        size = figures.script.ngram
        tops = {math.floor(words * size + 0.5): (words, most) for words, most in self.max_top_ngrams.items()}
        covers = {math.floor(words * size + 0.5): (words, most) for words, most in self.max_duplicate_ngrams.items()}
        longest, last_top = max([*tops, *covers], default=0), max(tops, default=0)
        least = min(self.max_duplicate_ngrams.values(), default=0)
        if _is_varied(figures, tops.items(), min(covers, default=0), least):
            return None
        lengths = figures.unit_lengths
        ends = np.concatenate([[0], np.cumsum(lengths)])  # of each unit, in characters, the spaces left out
        for order, places_P, ranks_P in _repeated(figures.unit_ids, longest):
            if order in tops:
                words, most = tops[order]
                times, place = _most_frequent(places_P, ranks_P)
                width = int(ends[place + order] - ends[place]) + (order - 1 if figures.script.spaces else 0)
                if times * width > most * len(figures.text):
                    return f"top {words}-gram"
            if order in covers:
                words, most = covers[order]
                if _covered(places_P, ranks_P, order, ends, most * len(figures.text)):
                    return f"duplicate {words}-grams"
            if order >= last_top and _within(places_P, order, lengths) <= least * len(figures.text):
                return None
        return None


def duplicates(pieces: Sequence[str]) -> tuple[int, int]:
    """How many of ``pieces`` stood before, and their characters."""
    different = set(pieces)
    if len(different) == len(pieces):
        return 0, 0
    return len(pieces) - len(different), sum(map(len, pieces)) - sum(map(len, different))


def _is_varied(figures: Figures, tops: Iterable[tuple[int, tuple[int, float]]], cover: int, least: float) -> bool:
    """Whether no rule on n-grams can drop the text: most texts, and a few sums and sorts are enough to see it.

    An n-gram occurs no more often than the shortest one that begins it, and all n-grams that stood before lie in ones
    of the shortest order that did. Different n-grams that are taken for the same only make the answer False.

    Args:
        tops: by units of an n-gram, the share that the most frequent one may have (second of each pair).
        cover: units of the shortest n-gram of which all that repeat count; 0 where none do.
        least: the least share that these may have.
    """
    sums_N, lengths_N = figures.unit_sums, figures.unit_lengths
    ends = np.concatenate([[0], np.cumsum(lengths_N)])
    shares = {order: most * len(figures.text) for order, (_, most) in tops if order <= len(sums_N)}
    if shares and _may_be_top(_windows(sums_N, min(shares)), ends, shares, spaces=figures.script.spaces):
        return False
    if not 0 < cover <= len(sums_N):
        return True
    grams = _windows(sums_N, cover)
    places_P, _ = _found(grams, _more_than(1, np.sort(grams)))
    return _within(places_P, cover, lengths_N) <= least * len(figures.text)


def _may_be_top(grams: NDArray[np.uint64], ends: Ints, shares: Mapping[int, float], *, spaces: bool) -> bool:
    """Whether an n-gram that is there twice may have more characters, all its places together, than ``shares`` says.

    Args:
        grams: the shortest n-gram at each place, which begins all longer ones there.
        ends: of each unit, in characters.
        shares: by units of an n-gram.
        spaces: whether one stands between two units.
    """
    widths = {order: ends[order:] - ends[:-order] + (order - 1 if spaces else 0) for order in shares}
    fewest = min(most / widths[order].max() for order, most in shares.items())  # as often the widest may occur
    ordered = np.sort(grams)
    often = _more_than(max(1, int(fewest * (1 - 1e-9))), ordered)
    places_P, which_P = _found(grams, often)
    if not len(places_P):
        return False
    times_P = np.bincount(which_P)[which_P]
    for order, most in shares.items():
        begun = int(np.searchsorted(places_P, len(widths[order])))  # the others are too near to the end
        if (times_P[:begun] * widths[order][places_P[:begun]] > most).any():
            return True
    return False


def _more_than(times: int, ordered: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """What is there more often than ``times``, each once; ascending, as ``ordered`` is."""
    again: NDArray[np.uint64] = ordered[times:][ordered[times:] == ordered[: len(ordered) - times]]
    if not len(again):
        return again
    once: NDArray[np.uint64] = again[np.append(again[1:] != again[:-1], True)]
    return once


def _found(grams: NDArray[np.uint64], wanted: NDArray[np.uint64]) -> tuple[Ints, Ints]:
    """The places of n-grams that are ``wanted``, which are in order, and which of them each is."""
    if not len(wanted):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    which = np.minimum(np.searchsorted(wanted, grams), len(wanted) - 1)
    places_P = np.flatnonzero(wanted[which] == grams)
    return places_P, which[places_P]


def _windows(sums_N: NDArray[np.uint64], order: int) -> NDArray[np.uint64]:
    """A number for each n-gram, the same for the same: a polynomial of its units' numbers, modulo 2 ** 64."""
    count = len(sums_N) - order + 1
    windows = sums_N[:count].copy()
    for place in range(1, order):
        windows *= _ODD
        windows += sums_N[place : place + count]
    return windows


def _repeated(ids_N: Ints, longest: int) -> Iterator[tuple[int, Ints, Ints]]:
    """For each order from 2 on the places ``[P]`` where an n-gram begins that occurs at least twice, ascending, and
    which it is ``[P]``; ends where none does.

    An n-gram can only repeat where both n-grams of one order less in it do, so that each order looks at few places.
    """
    ranks_N = ids_N.copy()
    width = len(ids_N) + 1
    repeats_N = np.bincount(ids_N, minlength=1)[ids_N] > 1
    places_P = np.flatnonzero(repeats_N)
    for order in range(2, longest + 1):
        places_P = places_P[places_P + order <= len(ids_N)]
        places_P = places_P[repeats_N[places_P + 1]]
        _, which_P, times = np.unique(
            ranks_N[places_P] * width + ids_N[places_P + order - 1], return_inverse=True, return_counts=True
        )
        again_P = times[which_P] > 1
        places_P, which_P = places_P[again_P], which_P[again_P]
        if not len(places_P):
            return
        ranks_N[places_P] = which_P
        repeats_N[:] = False
        repeats_N[places_P] = True
        yield order, places_P, which_P


def _most_frequent(places_P: Ints, ranks_P: Ints) -> tuple[int, int]:
    """How often the most frequent n-gram occurs, and where first; of several the one that stands first."""
    times_P = np.bincount(ranks_P)[ranks_P]
    first = int(np.argmax(times_P))
    return int(times_P[first]), int(places_P[first])


def _within(places_P: Ints, order: int, lengths_N: Ints) -> int:
    """How many characters stand in repeated n-grams; those of longer ones stand in there too."""
    turns = np.zeros(len(lengths_N) + 1, dtype=np.int64)
    turns[places_P] += 1  # no place is there twice
    turns[places_P + order] -= 1
    return int(lengths_N[np.cumsum(turns[:-1]) > 0].sum())


def _covered(places_P: Ints, ranks_P: Ints, order: int, ends: Ints, most: float) -> bool:
    """Whether more than ``most`` characters stand in n-grams that stood before, from left to right, none twice."""
    widths_P = ends[places_P + order] - ends[places_P]
    if widths_P.sum() <= most:  # even if all counted
        return False
    seen: set[int] = set()
    free, characters = 0, 0
    for place, rank, width in zip(places_P.tolist(), ranks_P.tolist(), widths_P.tolist(), strict=True):
        if place < free:
            continue
        if rank in seen:
            free = place + order
            characters += width
        else:
            seen.add(rank)
    return characters > most
