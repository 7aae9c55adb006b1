"""Which tokens of a text are masked: the choices of ``units`` of the masked objectives.

=======  ======================================================================================
tokens   each by itself
words    whole words, however many tokens they have
spans    runs of words, of geometric lengths; what becomes of one is decided for all its tokens
ngrams   runs of one to three words, short ones more often
phrases  phrases and names of a lexicon, and the words between them
=======  ======================================================================================

All of them fill the same budget, and none goes beyond it, so that every row has its share masked. Only where every word
has more tokens than the budget, as in a title of two words, one is taken whole all the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from danlu.corpus.marks import PHRASE, WORD, Marks, Unit
from danlu.corpus.rows import Ints
from danlu.recipe import Choice

TRIES = 20
"""Places that are tried for a run of words before what is left is filled with single words."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """Tokens that are to be predicted."""

    places: Ints
    """``[N]`` where they stand."""
    groups: Ints
    """``[N]`` those of one group, numbered from 0, are all masked, all swapped or all kept."""

    @classmethod
    def singly(cls, places: Ints) -> Chosen:
        """Each token is a group of its own."""
        return cls(places, np.arange(len(places)))


class Masking(Protocol):
    """A choice of what is masked together."""

    @property
    def marks(self) -> tuple[Unit, ...]:
        """Which of ``pack.marks`` it reads."""
        ...

    def choose(self, allowed: Ints, marks: Marks | None, budget: int, noise: np.random.Generator) -> Chosen:
        """At most ``budget`` of the places ``allowed``, which rise; or a unit that has more, where all have.

        Args:
            marks: of each place ``allowed``; None where the store has none.
        """
        ...


class Tokens(Choice):
    """Each token by itself, as BERT's first models (Devlin et al. 2019, arXiv:1810.04805) and RoBERTa's."""

    @property
    def marks(self) -> tuple[Unit, ...]:
        return ()

    def choose(self, allowed: Ints, marks: Marks | None, budget: int, noise: np.random.Generator) -> Chosen:
        return Chosen.singly(noise.permutation(allowed)[:budget])


class Words(Choice):
    """Whole words in random order; one that would exceed the budget is passed over.

    So BERT's later models were trained, each token of a word masked, swapped or kept by itself (google-research/bert,
    ``create_pretraining_data.py``); in Chinese, whose words the segmenter of ``pack`` finds: Cui et al. 2019,
    arXiv:1906.08101. Where every word exceeds the budget, BERT's code masks nothing; here it is one word that leaves
    half of the text at least. Of a text that is little more than one word, such as a long key, a part is taken.
    """

    @property
    def marks(self) -> tuple[Unit, ...]:
        return ("words",)

    def choose(self, allowed: Ints, marks: Marks | None, budget: int, noise: np.random.Generator) -> Chosen:
        units = Units.of(allowed, marks, WORD)
        return units.chosen(_fill(noise.permutation(len(units)), units, budget), budget, noise)


class Spans(Choice):
    """Runs of whole words, each all masked, all swapped or all kept (SpanBERT, Joshi et al. 2020, arXiv:1907.10529).

    Without the loss at a span's borders. Unlike there, spans begin at any word alike, not at any token, do not overlap,
    and the last one ends with a word too.
    """

    p: float = Field(default=0.2, gt=0, lt=1)
    """Of the geometric distribution of lengths in words: that of ending behind each word."""
    longest: int = Field(default=10, ge=1)
    """Words that the longest span has; 3.8 is the mean of the lengths then."""

    @property
    def marks(self) -> tuple[Unit, ...]:
        return ("words",)

    def choose(self, allowed: Ints, marks: Marks | None, budget: int, noise: np.random.Generator) -> Chosen:
        units = Units.of(allowed, marks, WORD)
        weights = np.power(1 - self.p, np.arange(self.longest, dtype=np.float64))
        return units.chosen(_scatter(units, weights, budget, noise), budget, noise, together=True)


class NGrams(Choice):
    """Runs of ``n`` whole words, as often as ``1 / n`` (ALBERT, Lan et al. 2020, arXiv:1909.11942).

    Each token is masked, swapped or kept by itself; a run that would exceed the budget is shortened (google-research/
    albert, ``create_pretraining_data.py``).
    """

    longest: int = Field(default=3, ge=1)
    """Words that the longest run has."""

    @property
    def marks(self) -> tuple[Unit, ...]:
        return ("words",)

    def choose(self, allowed: Ints, marks: Marks | None, budget: int, noise: np.random.Generator) -> Chosen:
        units = Units.of(allowed, marks, WORD)
        return units.chosen(_scatter(units, 1 / np.arange(1, self.longest + 1), budget, noise), budget, noise)


class Phrases(Choice):
    """Whole phrases and names of ``pack.lexicon``, and the words between them (ERNIE, Sun et al. 2019,
    arXiv:1904.09223).

    Each token of one is masked, swapped or kept by itself, as in ERNIE's ``batching.py``.
    """

    share: float = Field(default=0.0, ge=0, le=1)
    """Of what is masked, the share that goes to phrases of several words before any other unit gets its turn; with 0
    all units have the same chance, as there."""

    @property
    def marks(self) -> tuple[Unit, ...]:
        return ("words", "phrases") if self.share else ("phrases",)

    def choose(self, allowed: Ints, marks: Marks | None, budget: int, noise: np.random.Generator) -> Chosen:
        units = Units.of(allowed, marks, PHRASE)
        order = noise.permutation(len(units))
        first: list[tuple[int, int]] = []
        if self.share and len(units):
            assert marks is not None
            several = np.add.reduceat((marks & WORD) != 0, units.starts, dtype=np.int64) > 1
            first = _fill(order[several[order]], units, round(self.share * budget))
            order = order[~np.isin(order, [unit for unit, _ in first])]
        spent = sum(units.size(*run) for run in first)
        return units.chosen([*first, *_fill(order, units, budget - spent)], budget, noise)


@dataclass(frozen=True)
class Units:
    """Places that may be masked, and where among them words or phrases begin."""

    places: Ints
    starts: Ints
    """``[units]`` indices of ``places``."""

    @classmethod
    def of(cls, places: Ints, marks: Marks | None, bit: int) -> Units:
        """From the marks of ``places``; what is not allowed, such as a special token, ends a unit too."""
        assert marks is not None, "the objective has asked for them"
        begins = (marks & bit) != 0
        begins[:1] = True
        begins[1:] |= np.diff(places) > 1
        return cls(places, np.flatnonzero(begins))

    def __len__(self) -> int:
        return len(self.starts)

    @cached_property
    def borders(self) -> list[int]:
        """``[units + 1]`` where each begins, and where the last one ends."""
        return [*self.starts.tolist(), len(self.places)]

    def size(self, first: int, count: int) -> int:
        """Tokens of ``count`` units from the ``first`` on."""
        return self.borders[first + count] - self.borders[first]

    def held(self, first: int, count: int, budget: int) -> bool:
        """Whether these units are within the budget, and have none of what is not allowed between them."""
        size = self.size(first, count)
        begin = self.borders[first]
        return size <= budget and bool(self.places[begin + size - 1] - self.places[begin] == size - 1)

    def chosen(
        self, runs: Sequence[tuple[int, int]], budget: int, noise: np.random.Generator, *, together: bool = False
    ) -> Chosen:
        """The tokens of ``runs`` (first unit, units); where there are none, one unit beyond the budget, or a part."""
        if not len(self):
            return Chosen.singly(self.places)
        runs = runs or self._beyond(noise)
        if not runs:
            first = self.borders[int(noise.integers(len(self)))]
            return Chosen.singly(self.places[first : first + budget])
        begins = np.array([self.borders[first] for first, _ in runs])
        sizes = np.array([self.size(*run) for run in runs])
        groups = np.repeat(np.arange(len(runs)), sizes)
        places = self.places[np.arange(len(groups)) + (begins - np.cumsum(sizes) + sizes)[groups]]
        return Chosen(places, groups) if together else Chosen.singly(places)

    def _beyond(self, noise: np.random.Generator) -> list[tuple[int, int]]:
        """Any unit of no more than half of the places, if there is one."""
        fitting = np.flatnonzero(2 * np.diff(self.borders) <= len(self.places))
        return [(int(noise.choice(fitting)), 1)] if len(fitting) else []


def _fill(order: Iterable[int], units: Units, budget: int) -> list[tuple[int, int]]:
    """Single units in this order, until the budget is spent; one that would exceed it is passed over."""
    taken: list[tuple[int, int]] = []
    borders = units.borders
    for unit in np.asarray(order).tolist():
        size = borders[unit + 1] - borders[unit]
        if size <= budget:
            taken.append((unit, 1))
            budget -= size
            if not budget:
                break
    return taken


def _scatter(
    units: Units, weights: NDArray[np.float64], budget: int, noise: np.random.Generator
) -> list[tuple[int, int]]:
    """Runs of units that do not overlap; lengths 1, 2, … have these weights, until the budget is spent.

    A place for a run is any that is free for its length. A run ends with the text, and before a special token, such as
    the one between two sentences, and the last ones are shortened to what is left of the budget; where text is so full
    that no place is found, single units fill what is left.
    """
    chances = np.cumsum(weights[: len(units)])
    taken = bytearray(len(units))
    runs: list[tuple[int, int]] = []
    if not len(units):
        return runs
    lots = noise.random(budget) * chances[-1]  # a run has one token at least: so many are enough
    for length in (np.searchsorted(chances, lots, side="right") + 1).tolist():
        run = _place(units, length, taken, budget, noise)
        if run is None:
            break
        runs.append(run)
        taken[run[0] : sum(run)] = b"\1" * run[1]
        budget -= units.size(*run)
        if not budget:
            return runs
    free = np.flatnonzero(np.frombuffer(taken, dtype=np.uint8) == 0)
    return [*runs, *_fill(noise.permutation(free), units, budget)]


def _place(
    units: Units, length: int, taken: bytearray, budget: int, noise: np.random.Generator
) -> tuple[int, int] | None:
    """A free run of ``length`` units, or of as many of them as the budget, the next special token and the end leave."""
    for _ in range(TRIES):
        # Near the end too, where it is cut: else the last ones would rarely be hidden.
        first = int(noise.random() * len(units))
        if not any(taken[first : first + length]):
            most = min(length, len(units) - first)
            held = next((count for count in range(most, 0, -1) if units.held(first, count, budget)), 0)
            if held:
                return first, held
    return None
