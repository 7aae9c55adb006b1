"""Masked language modelling: predict tokens that are hidden, from all that stands around them."""

from __future__ import annotations

from typing import Annotated, ClassVar, Self

import numpy as np
from pydantic import Field, SkipValidation, model_validator
from torch import Tensor

from danlu.corpus.batches import IGNORE, Batch, Example
from danlu.corpus.marks import Marks, Unit
from danlu.corpus.rows import Ints, Piece, Widths
from danlu.nn.transformer import Transformer
from danlu.objectives.masking import Chosen, Masking, Tokens
from danlu.objectives.protocol import Objective, Sides
from danlu.objectives.words import hidden_states, word_loss
from danlu.recipe import OneOf
from danlu.tokenizers.vocabulary import Vocabulary


class MaskedLM(Objective):
    """BERT's masked language model (Devlin et al. 2019, arXiv:1810.04805), masked anew in every epoch.

    The noise of a row is another one each time that it is read, which is RoBERTa's dynamic masking (Liu et al. 2019,
    arXiv:1907.11692).
    """

    sides: ClassVar[Sides] = "encoder"
    needs: ClassVar[tuple[str, ...]] = ("cls", "sep", "mask")

    rate: float = Field(default=0.15, gt=0, le=1)
    """Share of the tokens that are to be predicted: of all of an example, one at least, as BERT counts them."""
    masked: float = Field(default=0.8, ge=0, le=1)
    """Share of those that are hidden behind the mask token."""
    random: float = Field(default=0.1, ge=0, le=1)
    """Share of those that are swapped for any token of the vocabulary; the rest stays as it is."""
    units: Annotated[SkipValidation[Masking], OneOf("masking")] = Tokens()
    """What is masked together."""

    @model_validator(mode="after")
    def _shares_fit(self) -> Self:
        if self.masked + self.random > 1 + 1e-9:
            raise ValueError(f"masked and random must be at most 1 together; got {self.masked} and {self.random}")
        return self

    @property
    def marks(self) -> tuple[Unit, ...]:
        return self.units.marks

    def widths(self, body: Ints) -> Widths:
        return Widths(np.where(body > 0, body + 2, 0))

    def example(self, piece: Piece, *, vocabulary: Vocabulary, noise: np.random.Generator) -> Example:
        """``[cls] text [sep]``, some of the text hidden; targets are what stood there."""
        roles = vocabulary.roles
        tokens = np.concatenate(([roles["cls"]], piece.body, [roles["sep"]]))
        marks = None if piece.marks is None else np.pad(piece.marks, 1)
        corrupted, targets = self.hide(tokens, marks, vocabulary=vocabulary, noise=noise)
        return Example({"tokens": corrupted}, {"words": targets})

    def hide(
        self, tokens: Ints, marks: Marks | None, *, vocabulary: Vocabulary, noise: np.random.Generator
    ) -> tuple[Ints, Ints]:
        """``[T]`` the tokens with some hidden, and the targets; special tokens stay.

        Args:
            marks: ``[T]`` what each token begins, where the store knows.
        """
        allowed = np.flatnonzero(~np.isin(tokens, vocabulary.special))
        budget = max(1, round(self.rate * len(tokens)))
        chosen = self.units.choose(allowed, None if marks is None else marks[allowed], budget, noise)
        targets = np.full(len(tokens), IGNORE, dtype=np.int64)
        targets[chosen.places] = tokens[chosen.places]
        return self._corrupt(tokens, chosen, vocabulary, noise), targets

    def losses(self, model: Transformer, batch: Batch) -> dict[str, Tensor]:
        return {"words": word_loss(self, model, hidden_states(model, batch), batch.targets["words"], sparse=True)}

    def _corrupt(self, tokens: Ints, chosen: Chosen, vocabulary: Vocabulary, noise: np.random.Generator) -> Ints:
        places, ordinary = chosen.places, vocabulary.ordinary
        lot = noise.random(len(places))[chosen.groups]  # one lot a group
        others = ordinary[noise.integers(len(ordinary), size=len(places))]
        kept = np.where(lot < self.masked + self.random, others, tokens[places])
        corrupted = tokens.copy()
        corrupted[places] = np.where(lot < self.masked, vocabulary.roles["mask"], kept)
        return corrupted
