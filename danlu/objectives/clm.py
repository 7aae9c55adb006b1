"""Causal language modelling: predict each token from those before it in its own document."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from torch import Tensor

from danlu.corpus.batches import IGNORE, Batch, Example
from danlu.corpus.reading import Reading, Stream
from danlu.corpus.rows import Ints, Piece, Widths
from danlu.nn.transformer import Transformer
from danlu.objectives.protocol import Objective, Sides
from danlu.objectives.words import balance, hidden_states, word_loss
from danlu.tokenizers.vocabulary import Vocabulary


class CausalLM(Objective):
    """Next-token prediction (Radford et al. 2019); packed documents never see each other."""

    sides: ClassVar[Sides] = "decoder"
    reading: ClassVar[Reading] = Stream()

    def widths(self, body: Ints) -> Widths:
        return Widths(body + 1)

    def example(self, piece: Piece, *, vocabulary: Vocabulary, noise: np.random.Generator) -> Example:
        """An end-of-text token begins a document: it is seen by that document only, and predicted by the one before."""
        targets = piece.tokens[1:].copy()
        targets[: piece.seen] = IGNORE
        return Example({"tokens": piece.tokens[:-1]}, {"words": targets})

    def losses(self, model: Transformer, batch: Batch) -> dict[str, Tensor]:
        hidden = hidden_states(model, batch)
        total = word_loss(self, model, hidden, batch.targets["words"])
        return {"words": total + balance(model, batch)}  # a sum, as all losses are
