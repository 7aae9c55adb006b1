"""Which tokens of a text are masked: the choices of ``units`` of the masked objectives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from danlu.corpus.rows import Ints
from danlu.recipe import Choice


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

    def choose(self, allowed: Ints, budget: int, noise: np.random.Generator) -> Chosen:
        """At most ``budget`` of the places ``allowed``, which rise."""
        ...


class Tokens(Choice):
    """Each token by itself, as BERT's first models (Devlin et al. 2019, arXiv:1810.04805) and RoBERTa's."""

    def choose(self, allowed: Ints, budget: int, noise: np.random.Generator) -> Chosen:
        return Chosen.singly(noise.permutation(allowed)[:budget])
