"""T5's span corruption: an encoder reads a text with gaps, a decoder writes what is missing."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import Field
from torch import Tensor

from danlu.corpus.batches import Batch, Example
from danlu.corpus.rows import Ints, Piece, Widths
from danlu.corpus.store import TokenStore
from danlu.nn.transformer import Transformer
from danlu.objectives.protocol import Objective, Sides
from danlu.objectives.sides import two_sides
from danlu.objectives.spans import Noise, check_sentinels
from danlu.objectives.words import only_words
from danlu.tokenizers.vocabulary import Vocabulary


class SpanCorruption(Objective):
    """Span corruption (Raffel et al. 2020, arXiv:1910.10683), in each document by itself.

    ``Thank you <0> me to your party <1> week`` is read, ``<0> for inviting <1> last`` is written; both end with
    end-of-text. A row has ``sequence`` places for the encoder, and as many for the decoder as a document takes that
    fills them: 114 for 512, and 568 tokens of text, as T5's code has it. Packed rows of shorter documents have some
    more (:func:`danlu.corpus.packing.alike`).
    """

    sides: ClassVar[Sides] = "both"
    needs: ClassVar[tuple[str, ...]] = ("sentinels",)

    rate: float = Field(default=0.15, gt=0, lt=1)
    """Share of the tokens that are cut out."""
    mean: float = Field(default=3.0, ge=1)
    """Tokens of a span, on average."""
    sentinels: int = Field(default=100, ge=1)
    """The most spans of a document, of which each has a sentinel of the tokenizer's; longer documents are cut."""

    def room(self, sequence: int) -> Widths:
        longest = self._noise.longest(sequence, most=self.sentinels)
        return Widths(max(1, int(self.widths(np.array(longest)).inputs)), sequence)

    def widths(self, body: Ints) -> Widths:
        return self._noise.widths(body, most=self.sentinels)

    def example(self, piece: Piece, *, vocabulary: Vocabulary, noise: np.random.Generator) -> Example:
        end = vocabulary.eot
        source, written = self._noise.cut(piece.body, vocabulary.sentinels, noise=noise)
        return two_sides(np.append(source, end), np.append(written, end), vocabulary=vocabulary)

    def losses(self, model: Transformer, batch: Batch) -> dict[str, Tensor]:
        return only_words(self, model, batch)

    def check(self, vocabulary: Vocabulary, store: TokenStore) -> None:
        super().check(vocabulary, store)
        check_sentinels(vocabulary, self.sentinels)

    @property
    def _noise(self) -> Noise:
        return Noise(self.rate, self.mean)
