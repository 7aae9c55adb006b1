"""How much is read of each part of the text: the choices of ``pretrain.mixture``, and of each period of a curriculum.

===========  ==============================================================================================
weights      parts of your own, each with a weight, its share of the tokens, or with how often it is read
temperature  every language, by its size to the power of 1 / temperature, so that small ones are read oftener
unimax       every language alike, but none more often than so many times
===========  ==============================================================================================

Shares are of tokens, not of rows: a part whose rows are shorter, because its documents leave more padding, has more of
them. Within a part all rows are read equally often.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
from pydantic import Field, model_validator

from danlu.corpus.parts import Selection
from danlu.corpus.store import TokenStore
from danlu.errors import InputError
from danlu.recipe import Choice, Settings

Floats = np.ndarray[Any, np.dtype[np.float64]]
NAME = re.compile("[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Extents:
    """How large parts are, when each is read once."""

    rows: Floats
    """``[parts]``."""
    tokens: Floats
    """``[parts]``, padding not counted."""

    @property
    def tokens_a_row(self) -> Floats:
        """``[parts]``; 0 where there is nothing."""
        return np.divide(self.tokens, self.rows, out=np.zeros_like(self.rows), where=self.rows > 0)

    @property
    def rows_a_token(self) -> Floats:
        """``[parts]``; 0 where there is nothing."""
        return np.divide(self.rows, self.tokens, out=np.zeros_like(self.rows), where=self.tokens > 0)


class Proportions(Protocol):
    """A choice of how much is read of each part."""

    @property
    def counted(self) -> bool:
        """Whether it has to know how many rows are read in all."""
        ...

    @property
    def open_ended(self) -> bool:
        """Whether it can fill any number of rows, because some part takes what the others leave."""
        ...

    def selections(self, store: TokenStore) -> dict[str, Selection]:
        """The parts by their names; a document is of the first that selects it, or of none."""
        ...

    def epoch(self, extents: Extents) -> float:
        """How many rows are an epoch of the mixture."""
        ...

    def rows(self, extents: Extents, total: float | None) -> Floats:
        """``[parts]`` rows to read, ``total`` of them; where that is None, which only what is not ``counted`` has to
        bear, numbers in their proportion.

        Raises:
            InputError: there cannot be so many, or so few; it does not say of which key.
        """
        ...


class DataPart(Settings):
    """One part of a mixture by weights."""

    documents: Selection = Selection()
    """Which documents: those of no part before it that are of these languages and sources."""
    weight: float | None = Field(default=None, ge=0)
    """Its share of the tokens, against the weights of others; with 0 it is not read."""
    epochs: float | None = Field(default=None, gt=0)
    """In place of a weight, how often it is read; parts with weights share what is left."""
    max_epochs: float | None = Field(default=None, gt=0)
    """Beside a weight: it is not read more often than this, and what is left goes to the other parts with weights."""

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.weight is None) == (self.epochs is None):
            raise ValueError("a part must have a weight or epochs, one of them")
        if self.epochs is not None and self.max_epochs is not None:
            raise ValueError("max_epochs has no effect where epochs say how often it is read; leave it out")
        return self


class Weights(Choice):
    """Parts that are named, by their weights or by how often they are read."""

    parts: dict[str, DataPart] = Field(min_length=1)
    """By names of your own, in order: a document is of the first part that selects it."""

    @model_validator(mode="after")
    def _some_are_read(self) -> Self:
        check_names(self.parts)
        if not any(part.weight or part.epochs for part in self.parts.values()):
            raise ValueError("the weights of its parts sum to 0, so that nothing would be read")
        return self

    @property
    def counted(self) -> bool:
        return any(part.epochs is not None or part.max_epochs is not None for part in self.parts.values())

    @property
    def open_ended(self) -> bool:
        return any(part.weight for part in self.parts.values())

    def selections(self, store: TokenStore) -> dict[str, Selection]:
        return {name: part.documents for name, part in self.parts.items()}

    def epoch(self, extents: Extents) -> float:
        """All that is read, once; where each part says how often, as often as it says."""
        if not self.open_ended:
            return float(self._told(extents).sum())
        read = [bool(part.weight or part.epochs) for part in self.parts.values()]
        return float(extents.rows[read].sum())

    def rows(self, extents: Extents, total: float | None) -> Floats:
        parts, told = self.parts.values(), self._told(extents)
        weights: Floats = np.array([part.weight or 0.0 for part in parts])
        # By a power of two, which rounds nothing: the largest numbers overflow where they are multiplied.
        weights = np.asarray(np.ldexp(weights, -np.frexp(weights.max())[1]) * extents.rows_a_token)
        caps = np.array([
            np.inf if part.max_epochs is None else part.max_epochs * rows
            for part, rows in zip(parts, extents.rows.tolist(), strict=True)
        ])  # fmt: skip
        if total is None:
            return weights
        if not self.open_ended:
            return np.asarray(told * (total / told.sum()))
        if told.sum() > total:
            raise InputError(
                f"the epochs of its parts are {told.sum():,.0f} rows, and there are {total:,.0f} to read: lower them, "
                "or raise the budget"
            )
        return np.asarray(told + allot(weights, caps, total - float(told.sum())))

    def _told(self, extents: Extents) -> Floats:
        """``[parts]`` rows of those that say how often they are read."""
        return np.array([part.epochs or 0.0 for part in self.parts.values()]) * extents.rows


class ByLanguage(Choice):
    """What mixtures that need no weights share: the languages of the text, or other parts, by size."""

    parts: dict[str, Selection] = Field(default={})
    """Parts of your own in place of the languages; a document is of the first part that selects it."""

    @model_validator(mode="after")
    def _names_fit(self) -> Self:
        check_names(self.parts)
        return self

    @property
    def open_ended(self) -> bool:
        return True

    def selections(self, store: TokenStore) -> dict[str, Selection]:
        return self.parts or {name: Selection(language=(name,)) for name in store.table.present()}

    def epoch(self, extents: Extents) -> float:
        """All parts once."""
        return float(extents.rows.sum())

    def _rows(self, shares: Floats, extents: Extents, total: float | None, max_epochs: float | None) -> Floats:
        weights = shares * extents.rows_a_token
        if total is None:
            return weights
        caps = np.full_like(weights, np.inf) if max_epochs is None else extents.rows * max_epochs
        return allot(weights, caps, total)


class Temperature(ByLanguage):
    """Shares as the tokens of each language to the power of ``1 / temperature``: small ones are read more often.

    Devlin's multilingual BERT has a power of 0.7, XLM 0.5 (Conneau and Lample 2019, arXiv:1901.07291), T5's mixtures
    name the temperature (Raffel et al. 2020, arXiv:1910.10683), mT5 and XLM-R have 0.3 (Xue et al. 2021,
    arXiv:2010.11934; Conneau et al. 2020, arXiv:1911.02116).
    """

    temperature: float = Field(default=3.3, gt=0)
    """1 reads all equally often; the higher, the more alike the shares are."""
    max_epochs: float | None = Field(default=None, gt=0)
    """None is read more often than this; what is left goes to the others."""

    @property
    def counted(self) -> bool:
        return self.max_epochs is not None

    def rows(self, extents: Extents, total: float | None) -> Floats:
        powers = (extents.tokens / extents.tokens.max()) ** (1 / self.temperature)
        return self._rows(powers, extents, total, self.max_epochs)


class UniMax(ByLanguage):
    """The same share for each language, but none is read more often than ``max_epochs`` times (Chung et al. 2023,
    arXiv:2304.09151)."""

    max_epochs: float = Field(default=4.0, gt=0)
    """How often the text of a language is read at most."""

    @property
    def counted(self) -> bool:
        return True

    def rows(self, extents: Extents, total: float | None) -> Floats:
        return self._rows(np.ones_like(extents.tokens), extents, total, self.max_epochs)


def allot(weights: Floats, caps: Floats, total: float) -> Floats:
    """``total`` by ``weights``, but no more than ``caps``; what is over goes to the others by their weights.

    Raises:
        InputError: the caps of all together are less.
    """
    if total > caps[weights > 0].sum():
        raise InputError(
            f"with max_epochs there are {caps[weights > 0].sum():,.0f} rows to read, and the budget has {total:,.0f}: "
            "raise max_epochs, or lower the budget"
        )
    found, free = np.zeros_like(weights), weights > 0
    while free.any():
        each = total * weights / weights[free].sum()
        over = free & (each > caps)
        if not over.any():
            return np.where(free, each, found)
        found[over] = caps[over]
        total -= float(caps[over].sum())
        free &= ~over
    return found


def check_names(parts: dict[str, Any]) -> None:
    """Refuse names that would not stand in a figure.

    Raises:
        ValueError: in words, for a validator.
    """
    for name in parts:
        if not NAME.fullmatch(name):
            raise ValueError(f"a part's name must be of letters, digits, _ and -; got {name!r}")
