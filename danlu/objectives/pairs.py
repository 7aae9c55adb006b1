"""Pairs of sentences beside masked tokens: does the second follow the first, or in which order do they stand?

Axes: B rows, T tokens, D model width, P pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from danlu.corpus.batches import IGNORE, Batch, Example, Extract
from danlu.corpus.marks import BITS, SENTENCE, Marks, Unit
from danlu.corpus.rows import Ints, Piece, Widths
from danlu.corpus.store import TokenStore
from danlu.errors import InputError
from danlu.nn.config import TransformerConfig
from danlu.nn.families.encoders import with_pair_head
from danlu.nn.transformer import Transformer
from danlu.objectives.mlm import MaskedLM
from danlu.objectives.words import hidden_states, word_loss
from danlu.tokenizers.vocabulary import Vocabulary

TRUE, FALSE = 0, 1
"""Labels of pairs, as of ``BertForPreTraining``: the second follows the first, or does not."""
LOOK_BACK = 256
"""Tokens within which the beginning of a sentence is looked for."""
TRIES = 16
"""Places that are tried for a text that begins and ends as the one that it stands for."""
FEWEST = 4
"""Tokens of a text of one sentence that has two parts which begin and end alike."""


class Side(NamedTuple):
    """One of the two texts of a pair."""

    tokens: Ints
    marks: Marks
    start: int
    """Where in the stream of the store its first token stands."""
    drawn: bool = False
    """Whether it is from elsewhere than the piece that the pair is of."""

    def part(self, first: int, end: int) -> Side:
        """From one of its tokens to before another."""
        return Side(self.tokens[first:end], self.marks[first:end], self.start + first, self.drawn)

    @property
    def extract(self) -> Extract:
        """Which tokens of the store it is."""
        return Extract(self.start, self.start + len(self.tokens), self.drawn)


class Pairs(MaskedLM):
    """What next-sentence and sentence-order prediction share: ``[cls] A [sep] B [sep]`` of token types 0 and 1.

    A piece of a document is parted at a sentence of it, any alike; each says what becomes of a piece of one sentence,
    so that none is lost and both labels are as frequent there too.
    """

    short_share: float = Field(default=0.1, ge=0, le=1)
    """Share of the examples that are cut to a random length, as BERT's ``short_seq_prob``; their rows stay padded
    there, which costs about half of this share."""
    pair_weight: float = Field(default=1.0, ge=0)
    """What the loss of the pairs is multiplied by beside that of the tokens."""

    @property
    def marks(self) -> tuple[Unit, ...]:
        return tuple(unit for unit in BITS if unit in {*self.units.marks, "sentences"})

    def widths(self, body: Ints) -> Widths:
        return Widths(np.where(body > 1, body + 3, 0))

    def config(self, config: TransformerConfig) -> TransformerConfig:
        return with_pair_head(super().config(config))

    def weight(self, name: str) -> float:
        return self.pair_weight if name == "pairs" else 1.0

    def example(self, piece: Piece, *, vocabulary: Vocabulary, noise: np.random.Generator) -> Example:
        """Two parts of the text, or what stands in their place, some of both hidden, and the pair's label."""
        label = FALSE if noise.random() < 0.5 else TRUE
        first, second = self.parts(text_of(piece, short=noise.random() < self.short_share, noise=noise), piece, noise)
        if label == FALSE:
            first, second = self.false(piece, first, second, noise)
        cls, sep = ([vocabulary.roles[role]] for role in ("cls", "sep"))
        tokens = np.concatenate((cls, first.tokens, sep, second.tokens, sep))
        marks = np.concatenate(([0], first.marks, [0], second.marks, [0])).astype(np.uint8)
        types = np.repeat(np.arange(2), [len(first.tokens) + 2, len(second.tokens) + 1])
        corrupted, words = self.hide(tokens, marks, vocabulary=vocabulary, noise=noise)
        pairs = np.full(len(tokens), IGNORE, dtype=np.int64)
        pairs[0] = label
        inputs, targets = {"tokens": corrupted, "types": types}, {"words": words, "pairs": pairs}
        return Example(inputs, targets, made_of=(first.extract, second.extract))

    def parts(self, text: Side, piece: Piece, noise: np.random.Generator) -> tuple[Side, Side]:
        """Two parts of the ``text`` of a piece that follow each other."""
        return parted(text, noise)

    def false(self, piece: Piece, first: Side, second: Side, noise: np.random.Generator) -> tuple[Side, Side]:
        """A pair that is no longer than this one, and is not as the text has it."""
        raise NotImplementedError(type(self).__name__)

    def losses(self, model: Transformer, batch: Batch) -> dict[str, Tensor]:
        hidden = hidden_states(model, batch)
        return {
            "words": word_loss(self, model, hidden, batch.targets["words"], sparse=True),
            "pairs": pair_loss(model, hidden, batch.targets["pairs"]),
        }


class NextSentence(Pairs):
    """Masked tokens and whether B follows A (BERT, Devlin et al. 2019, arXiv:1810.04805).

    In half of the pairs B is from another document of A's language, if there is one. It begins and ends with sentences
    where the true one does, and is no longer: another language, or no full stop where all short documents end, would
    tell the label. Where no such text is found in ``TRIES`` documents, that of the last one is cut.
    """

    def check(self, vocabulary: Vocabulary, store: TokenStore) -> None:
        super().check(vocabulary, store)
        if len(store.documents) < 2:
            raise InputError(
                f"pretrain.objective: nsp takes sentences from other documents; got {len(store.documents)} document"
            )

    def false(self, piece: Piece, first: Side, second: Side, noise: np.random.Generator) -> tuple[Side, Side]:
        store, own, most = piece.store, piece.document, len(second.tokens)
        assert store.marks is not None, "the objective has asked for them"
        alike: Sequence[int] = store.by_language[store.documents[own]["language"]]
        if len(alike) == 1:
            alike = range(len(store.documents))
        after = alike.index(own) + 1
        behind = second.start + most
        begins, ends = bool(second.marks[0] & SENTENCE), bool(store.marks[behind] & SENTENCE)
        for _ in range(TRIES):
            other = _another(own, alike, after, noise)
            place, limit = somewhere(store, other, most, noise)
            start = sentence_before(store, place) if begins else place
            end = sentence_end(store, start, min(start + most, limit)) if ends else start + most
            if start < end <= limit:
                break
        else:
            end = min(start + most, limit)
        tokens, marks = np.asarray(store.tokens[start:end], dtype=np.int64), np.asarray(store.marks[start:end])
        return first, Side(tokens, marks, start, drawn=True)


class SentenceOrder(Pairs):
    """Masked tokens and whether A and B stand in their order (ALBERT, Lan et al. 2020, arXiv:1909.11942).

    Both are whole sentences, for a side that begins or ends within one would tell the label. A piece that begins so is
    read from its next sentence on, and as far behind its end; what is left of a sentence there is left out. Without two
    whole sentences it is parted within one, and both of its parts begin and end there; where it is one sentence, its
    first and its last token are left out for that.
    """

    def parts(self, text: Side, piece: Piece, noise: np.random.Generator) -> tuple[Side, Side]:
        text, store = from_sentence(text, piece), piece.store
        assert store.marks is not None, "the objective has asked for them"
        return parted_alike(text, ends=bool(store.marks[text.start + len(text.tokens)] & SENTENCE), noise=noise)

    def false(self, piece: Piece, first: Side, second: Side, noise: np.random.Generator) -> tuple[Side, Side]:
        return second, first


def text_of(piece: Piece, *, short: bool, noise: np.random.Generator) -> Side:
    """The text of a piece of two tokens or more.

    Args:
        short: only its first tokens, from two up to all.
    """
    tokens, marks = piece.body, piece.marks
    assert marks is not None, "the objective has asked for them"
    length = int(noise.integers(2, len(tokens) + 1)) if short else len(tokens)
    return Side(tokens[:length], marks[:length], piece.start + 1)


def parted(text: Side, noise: np.random.Generator) -> tuple[Side, Side]:
    """In two at any sentence, or in the middle of the only one."""
    borders = 1 + np.flatnonzero(text.marks[1:] & SENTENCE)
    border = int(noise.choice(borders)) if len(borders) else len(text.tokens) // 2
    return text.part(0, border), text.part(border, len(text.tokens))


def from_sentence(text: Side, piece: Piece) -> Side:
    """As much of the document of ``piece`` as ``text`` has, from its first beginning of a sentence on.

    ``text`` itself where the document then has too few tokens for two parts that begin and end alike.
    """
    borders = np.flatnonzero(text.marks & SENTENCE)
    if not len(borders) or not borders[0]:
        return text
    store, start = piece.store, text.start + int(borders[0])
    end = min(start + len(text.tokens), int(store.starts[piece.document + 1]))
    if end - start < FEWEST:
        return text
    assert store.marks is not None, "the objective has asked for them"
    return Side(np.asarray(store.tokens[start:end], dtype=np.int64), np.asarray(store.marks[start:end]), start)


def parted_alike(text: Side, *, ends: bool, noise: np.random.Generator) -> tuple[Side, Side]:
    """In two parts that begin and end alike, so that neither shows which of them was the first.

    Args:
        ends: whether a sentence ends where the text does.
    """
    length = len(text.tokens)
    borders = np.append(np.flatnonzero(text.marks & SENTENCE), [length] * ends)
    if len(borders) > 2:
        border = int(noise.choice(borders[1:-1]))
        return text.part(int(borders[0]), border), text.part(border, int(borders[-1]))
    within = np.setdiff1d(np.arange(length + 1), borders)
    if len(within) < 3:  # the text has fewer than FEWEST tokens
        return text.part(0, length // 2), text.part(length // 2, length)
    border = int(noise.choice(within[1:-1]))
    return text.part(int(within[0]), border), text.part(border, int(within[-1]))


def _another(own: int, documents: Sequence[int], after: int, noise: np.random.Generator) -> int:
    """Any other of ``documents``, of which it is the last before ``after``; where there is none, the same, as with
    BERT's own script.

    A held-out part may be a single document.
    """
    if len(documents) == 1:
        return own
    return documents[(after + int(noise.integers(len(documents) - 1))) % len(documents)]


def somewhere(store: TokenStore, document: int, most: int, noise: np.random.Generator) -> tuple[int, int]:
    """Any place of a document with ``most`` tokens from it on, the first where there is none; and where it ends."""
    begin, end = int(store.starts[document]) + 1, int(store.starts[document + 1])
    return int(noise.integers(begin, max(begin, end - most) + 1)), end


def sentence_before(store: TokenStore, place: int) -> int:
    """Where the sentence of the token at ``place`` begins; ``place`` itself where that is far away."""
    assert store.marks is not None, "the objective has asked for them"
    before = max(0, place - LOOK_BACK)
    found = np.flatnonzero(store.marks[before : place + 1] & SENTENCE)
    return before + int(found[-1]) if len(found) else place


def sentence_end(store: TokenStore, start: int, most: int) -> int:
    """Where the last sentence ends that is over at ``most``, which is no further than its document; or ``start``."""
    assert store.marks is not None, "the objective has asked for them"
    found = np.flatnonzero(store.marks[start + 1 : most + 1] & SENTENCE)
    return start + 1 + int(found[-1]) if len(found) else start


def pair_loss(model: Transformer, hidden_BTD: Tensor, targets_BT: Tensor) -> Tensor:
    """The summed cross entropy of the pairs, whose labels stand at their first tokens."""
    flat = targets_BT.flatten()
    places = (flat != IGNORE).nonzero().flatten()
    hidden_PD = hidden_BTD.flatten(0, 1).index_select(0, places)
    scores_P2 = model.head.pair(hidden_PD[:, None])  # each is the first and only token of its row
    return F.cross_entropy(scores_P2.float(), flat[places], reduction="sum")
