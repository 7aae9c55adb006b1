"""Fill-in-the-middle: a causal model learns to write what stands between two texts."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import Field
from torch import Tensor

from danlu.corpus.batches import IGNORE, Batch, Example
from danlu.corpus.rows import Ints, Piece, Widths
from danlu.nn.transformer import Transformer
from danlu.objectives.protocol import Objective, Sides
from danlu.objectives.words import only_words
from danlu.tokenizers.cutter import Cutter
from danlu.tokenizers.vocabulary import FIM, Vocabulary

ADDED = len(FIM)
"""Special tokens that a document has more where its middle is moved."""
SPARE = 6
"""Others that it may have more, of words that are cut in two."""


class FillInTheMiddle(Objective):
    """Causal LM of documents of which some have their middle at the end (Bavarian et al. 2022, arXiv:2207.14255).

    Such a document is ``<prefix>A<suffix>C<middle>B`` (PSM) or ``<prefix><suffix>C<middle>AB`` (SPM, the variant with
    which the paper trains both at once), and every token of it is predicted, the special ones too; it ends with
    end-of-text, which says that the middle has met the suffix, and it does so where a document is only a part of one.
    It is cut between any two characters alike, and each part has the tokens of its own text, as in the paper, so that a
    model learns to go on in the middle of a word. It is cut at the token before instead where the parts have more than
    ``SPARE`` tokens more than the whole, which few have; and between any two tokens alike with tokenizers
    that encode a word otherwise at the beginning of a text (Unigram, WordPiece). Documents are moved before they are
    packed, none is cut by it.
    """

    sides: ClassVar[Sides] = "decoder"
    needs: ClassVar[tuple[str, ...]] = FIM

    rate: float = Field(default=0.5, ge=0, le=1)
    """Share of the documents whose middle is moved; the paper finds that up to 0.9 costs nothing elsewhere."""
    spm: float = Field(default=0.5, ge=0, le=1)
    """Share of those that are in the order suffix, prefix, middle."""

    def widths(self, body: Ints) -> Widths:
        """The most: a document that is not moved leaves those that are added empty."""
        return Widths(np.where(np.asarray(body) > 0, body + 1 + ADDED + SPARE, 0))

    def example(self, piece: Piece, *, vocabulary: Vocabulary, noise: np.random.Generator) -> Example:
        """What is moved stands by itself: all of it is scored, also where it repeats tokens of the piece before."""
        if noise.random() >= self.rate:
            targets = piece.tokens[1:].copy()
            targets[: piece.seen] = IGNORE
            return Example({"tokens": piece.tokens[:-1]}, {"words": targets})
        moved = self._moved(piece.body, vocabulary, noise)
        whole = np.concatenate([[vocabulary.eot], moved, [vocabulary.eot]])
        return Example({"tokens": whole[:-1]}, {"words": whole[1:]})

    def losses(self, model: Transformer, batch: Batch) -> dict[str, Tensor]:
        return only_words(self, model, batch)

    def _moved(self, body: Ints, vocabulary: Vocabulary, noise: np.random.Generator) -> Ints:
        prefix, middle, suffix = _parts(body, vocabulary.cutter, noise)
        before, between, behind = ([vocabulary.roles[role]] for role in FIM)
        if noise.random() < self.spm:
            return np.concatenate([before, behind, suffix, between, prefix, middle])
        return np.concatenate([before, prefix, behind, suffix, between, middle])


def _parts(body: Ints, cutter: Cutter | None, noise: np.random.Generator) -> list[Ints]:
    """Prefix, middle and suffix."""
    if cutter is not None:
        places = np.sort(noise.integers(0, cutter.characters(body) + 1, size=2)).tolist()
        found = cutter.parts(body, places)
        if found is not None and sum(map(len, found)) <= len(body) + SPARE:
            return found
        return np.split(body, cutter.borders(body, places))
    return np.split(body, np.sort(noise.integers(0, len(body) + 1, size=2)))
