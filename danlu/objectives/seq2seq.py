"""Sequence to sequence: from pairs of texts, such as translations, learn to write the second of the first."""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np
from pydantic import model_validator
from torch import Tensor

from danlu.corpus.batches import IGNORE, Array, Batch, Example
from danlu.corpus.reading import Reading, Stream
from danlu.corpus.rows import Form, Ints, Piece, Widths, longest_body
from danlu.corpus.store import TokenStore
from danlu.errors import RecipeError
from danlu.nn.config import TransformerConfig
from danlu.nn.transformer import Transformer
from danlu.objectives.protocol import Objective, Sides, need_sides
from danlu.objectives.sides import two_sides
from danlu.objectives.words import only_words
from danlu.tokenizers.vocabulary import Vocabulary

AROUND = 2
"""Tokens around a source at most: those that the tokenizer puts around a text, or end-of-text behind it."""


class Seq2Seq(Objective):
    """Pairs of texts (Sutskever et al. 2014, arXiv:1409.3215); only the second is scored, its end with it.

    They come from ``clean.sources`` with a ``target_field``, and stand in the store with the tokenizer's ``sep_token``
    between them. Beside an encoder each side has ``sequence`` places, and a pair of which one side is longer is left
    out. A decoder alone has ``sequence`` places for both: a longer pair loses the end of its target, and one whose
    source alone is longer is left out.
    """

    sides: ClassVar[Sides] = "both"

    encoder: bool = True
    """Whether an encoder reads the source; without, a decoder reads source, separator and target in one row."""
    prefix: bool = False
    """Whether a decoder without an encoder reads the source in both directions, as a prefix LM; ``transformers`` can
    read a prompt in one direction only."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.encoder and self.prefix:
            raise ValueError("prefix has no effect with an encoder, which reads in both directions; set encoder: false")
        return self

    def read_by(self, rows: Reading | None) -> Reading:
        """How documents become rows.

        Raises:
            RecipeError: rows are cut from a stream, which would tear pairs apart.
        """
        if isinstance(rows, Stream):
            raise RecipeError(
                "rows: stream would tear pairs of texts apart; choose packed, padded, bucketed or quarters "
                "(choices: packed, padded, bucketed, quarters)"
            )
        return super().read_by(rows)

    def room(self, sequence: int) -> Widths:
        return Widths(sequence, sequence if self.encoder else 0)

    def longest(self, form: Form) -> int:
        """Both sides full and the separator between them, where each has a row of its own."""
        if not self.encoder:
            return longest_body(form)
        return int(form.room.source) - AROUND + 1 + int(form.room.inputs) - 1

    def widths(self, body: Ints) -> Widths:
        """The most, whatever the sides are: 1 of the tokens is the separator and each side has one at least."""
        body = np.asarray(body, dtype=np.int64)
        there = body > 2
        if not self.encoder:
            return Widths(np.where(there, body + 1, 0))
        return Widths(np.where(there, body - 1, 0), np.where(there, body - 2 + AROUND, 0))

    @property
    def by_length(self) -> bool:
        """The lengths of both sides say all, and by these a store has its pairs in order."""
        return type(self).measure is Seq2Seq.measure

    def measure(self, store: TokenStore, starts: Ints, bodies: Ints) -> Widths:
        """Of pieces that begin with a source and hold a target, or its beginning."""
        numbers = np.searchsorted(store.starts, starts) - 1
        source = np.asarray(store.first_sides[numbers], dtype=np.int64)
        target = bodies - source - 1
        there = (source > 0) & (target > 0) & (np.asarray(store.starts[numbers]) == starts - 1)
        if not self.encoder:
            return Widths(np.where(there, bodies + 1, 0))
        return Widths(np.where(there, target + 1, 0), np.where(there, source + AROUND, 0))

    def example(self, piece: Piece, *, vocabulary: Vocabulary, noise: np.random.Generator) -> Example:
        border = int(np.flatnonzero(piece.tokens == piece.store.sep)[0])
        if not self.encoder:
            return self._in_one_row(piece, border)
        after = vocabulary.after or (vocabulary.eot,)
        source = np.concatenate([vocabulary.before, piece.tokens[1:border], after]).astype(np.int64)
        return two_sides(source, piece.tokens[border + 1 :], vocabulary=vocabulary)

    def losses(self, model: Transformer, batch: Batch) -> dict[str, Tensor]:
        return only_words(self, model, batch, sparse=not self.encoder)

    def config(self, config: TransformerConfig) -> TransformerConfig:
        need_sides(config, "both" if self.encoder else "decoder")
        return config

    def check(self, vocabulary: Vocabulary, store: TokenStore) -> None:
        super().check(vocabulary, store)
        if store.sep is None:
            raise RecipeError(
                "pretrain.objective needs pairs of texts, and the store has none: "
                "name the field of the targets as clean.sources.N.target_field"
            )
        if len(vocabulary.before) + len(vocabulary.after) > AROUND:
            raise RecipeError(
                f"pretrain.objective takes at most {AROUND} tokens around a text; the tokenizer puts "
                f"{len(vocabulary.before) + len(vocabulary.after)}"
            )

    def _in_one_row(self, piece: Piece, border: int) -> Example:
        targets = piece.tokens[1:].copy()
        targets[:border] = IGNORE
        inputs: dict[str, Array] = {"tokens": piece.tokens[:-1]}
        if self.prefix:
            inputs["prefix"] = np.arange(len(targets)) <= border
        return Example(inputs, {"words": targets})
