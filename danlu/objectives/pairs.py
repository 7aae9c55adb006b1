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
from danlu.nn.head import at_least_float32
from danlu.nn.transformer import Transformer
from danlu.objectives.mlm import MaskedLM
from danlu.objectives.words import hidden_states, pair_scores, word_loss
from danlu.tokenizers.vocabulary import Vocabulary

TRUE, FALSE = 0, 1
"""Labels of pairs, as of ``BertForPreTraining``: the second follows the first, or does not."""
WINDOW = 1024
"""Tokens of a document within which a text is looked for that can stand for another."""
TRIES = 32
"""Documents that are looked into for one."""
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


Pair = tuple[Side, Side]


class Pairs(MaskedLM):
    """What next-sentence and sentence-order prediction share: ``[cls] A [sep] B [sep]`` of token types 0 and 1.

    A piece of a document is parted at a sentence of it, any alike; each says what becomes of a piece of one sentence,
    so that none is lost and both labels are as frequent there too. Lengths, and whether sentences begin and end at the
    edges of a side, say nothing of the label. Where a piece is so short that they would, it has none: only its masked
    tokens are learned.
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
        text = text_of(piece, short=noise.random() < self.short_share, noise=noise)
        both = self.both(text, piece, noise)  # whatever the label, which so decides nothing but which of them is shown
        first, second = halves(text) if both is None else both[label]
        cls, sep = ([vocabulary.roles[role]] for role in ("cls", "sep"))
        tokens = np.concatenate((cls, first.tokens, sep, second.tokens, sep))
        marks = np.concatenate(([0], first.marks, [0], second.marks, [0])).astype(np.uint8)
        types = np.repeat(np.arange(2), [len(first.tokens) + 2, len(second.tokens) + 1])
        corrupted, words = self.hide(tokens, marks, vocabulary=vocabulary, noise=noise)
        pairs = np.full(len(tokens), IGNORE, dtype=np.int64)
        pairs[0] = IGNORE if both is None else label
        inputs, targets = {"tokens": corrupted, "types": types}, {"words": words, "pairs": pairs}
        return Example(inputs, targets, made_of=(first.extract, second.extract))

    def both(self, text: Side, piece: Piece, noise: np.random.Generator) -> tuple[Pair, Pair] | None:
        """A true and a false pair, by their labels; None where nothing but the text must tell which is which, and does.

        Args:
            text: of ``piece``, or its beginning; neither pair is longer.
        """
        raise NotImplementedError(type(self).__name__)

    def losses(self, model: Transformer, batch: Batch) -> dict[str, Tensor]:
        hidden = hidden_states(model, batch)
        return {
            "words": word_loss(self, model, hidden, batch.targets["words"], sparse=True),
            "pairs": pair_loss(model, hidden, batch.targets["pairs"]),
        }


class NextSentence(Pairs):
    """Masked tokens and whether B follows A (BERT, Devlin et al. 2019, arXiv:1810.04805).

    In half of the pairs B is from another document of A's language, if there is one: another language would tell the
    label. It has as many tokens as the true one, begins and ends with sentences where that does, and begins no
    document. Where no such text is found in ``TRIES`` documents, the longest is taken for which that holds once the
    true one is cut to its length; BERT's script cuts both to one length too, but where a document ends.
    """

    def check(self, vocabulary: Vocabulary, store: TokenStore) -> None:
        super().check(vocabulary, store)
        if len(store.documents) < 2:
            raise InputError(
                f"pretrain.objective: nsp takes sentences from other documents; got {len(store.documents)} document"
            )

    def both(self, text: Side, piece: Piece, noise: np.random.Generator) -> tuple[Pair, Pair] | None:
        store, own = piece.store, piece.document
        alike: Sequence[int] = store.by_language[store.documents[own]["language"]]
        if len(alike) == 1:
            alike = range(len(store.documents))
        after = alike.index(own) + 1
        first, second = parted(text, noise)
        best = Extract(0, 0)
        for _ in range(TRIES):
            found = elsewhere(store, _another(own, alike, after, noise), first=first, second=second, noise=noise)
            best = max(best, found, key=_length)
            if _length(best) == len(second.tokens):
                break
        if not _length(best):
            return None
        return (first, second.part(0, _length(best))), (first, read(store, best.start, best.end, drawn=True))


class SentenceOrder(Pairs):
    """Masked tokens and whether A and B stand in their order (ALBERT, Lan et al. 2020, arXiv:1909.11942).

    Both are whole sentences, for a side that begins or ends within one would tell the label. A piece that begins so is
    read from its next sentence on, and as far behind its end; what is left of a sentence there is left out. Without two
    whole sentences it is parted within one, and both of its parts begin and end there; where it is one sentence, its
    first and its last token are left out for that, and one of two or three tokens has no label.
    """

    def both(self, text: Side, piece: Piece, noise: np.random.Generator) -> tuple[Pair, Pair] | None:
        text, store = from_sentence(text, piece), piece.store
        assert store.marks is not None, "the objective has asked for them"
        ends = bool(store.marks[text.start + len(text.tokens)] & SENTENCE)
        parts = parted_alike(text, ends=ends, noise=noise)
        return None if parts is None else (parts, parts[::-1])


def text_of(piece: Piece, *, short: bool, noise: np.random.Generator) -> Side:
    """The text of a piece of two tokens or more.

    Args:
        short: only its first tokens, from two up to all.
    """
    tokens, marks = piece.body, piece.marks
    assert marks is not None, "the objective has asked for them"
    length = int(noise.integers(2, len(tokens) + 1)) if short else len(tokens)
    return Side(tokens[:length], marks[:length], piece.start + 1)


def parted(text: Side, noise: np.random.Generator) -> Pair:
    """In two at any sentence, or in the middle of the only one."""
    borders = 1 + np.flatnonzero(text.marks[1:] & SENTENCE)
    return _parted_at(text, int(noise.choice(borders))) if len(borders) else halves(text)


def halves(text: Side) -> Pair:
    """In two in the middle."""
    return _parted_at(text, len(text.tokens) // 2)


def _parted_at(text: Side, border: int) -> Pair:
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
    return text if end - start < FEWEST else read(store, start, end)


def read(store: TokenStore, start: int, end: int, *, drawn: bool = False) -> Side:
    """Tokens of ``store``, from one to before another."""
    assert store.marks is not None, "the objective has asked for them"
    tokens, marks = np.asarray(store.tokens[start:end], dtype=np.int64), np.asarray(store.marks[start:end])
    return Side(tokens, marks, start, drawn)


def parted_alike(text: Side, *, ends: bool, noise: np.random.Generator) -> Pair | None:
    """In two parts that begin and end alike, so that neither shows which of them was the first; None where none do.

    Parts of one sentence are as often the longer one as the other is.

    Args:
        ends: whether a sentence ends where the text does.
    """
    length = len(text.tokens)
    borders = np.append(np.flatnonzero(text.marks & SENTENCE), [length] * ends)
    if len(borders) > 2:
        border = int(noise.choice(borders[1:-1]))
        return text.part(int(borders[0]), border), text.part(border, int(borders[-1]))
    within = np.setdiff1d(np.arange(length + 1), borders)
    if len(within) < 3:
        return None
    inner, first, end = within[1:-1], int(within[0]), int(within[-1])
    inner = inner[np.isin(first + end - inner, inner)]
    if not len(inner):
        return None
    border = int(noise.choice(inner))
    return text.part(first, border), text.part(border, end)


def _another(own: int, documents: Sequence[int], after: int, noise: np.random.Generator) -> int:
    """Any other of ``documents``, of which it is the last before ``after``; where there is none, the same, as with
    BERT's own script.

    A held-out part may be a single document.
    """
    if len(documents) == 1:
        return own
    return documents[(after + int(noise.integers(len(documents) - 1))) % len(documents)]


def elsewhere(store: TokenStore, document: int, *, first: Side, second: Side, noise: np.random.Generator) -> Extract:
    """Any text of ``document`` that can stand for ``second``, behind ``first``, which it has no token of.

    It begins and ends with sentences where ``second`` does and begins no document, as what follows on anything never
    does. It is shorter where there is none of its length, and then ends as ``second`` does where that is cut to this
    length; empty where there is none at all.
    """
    assert store.marks is not None, "the objective has asked for them"
    most, behind = len(second.tokens), second.start + len(second.tokens)
    own_borders = (np.asarray(store.marks[second.start : behind + 1]) & SENTENCE) > 0
    begin, limit = int(store.starts[document]) + 2, int(store.starts[document + 1])
    place = int(noise.integers(begin, max(begin, limit - most) + 1))
    borders = (np.asarray(store.marks[place : min(place + WINDOW + most, limit) + 1]) & SENTENCE) > 0
    starts = np.flatnonzero(borders[:-1] == own_borders[0])
    starts = starts[(place + starts >= behind) | (place + starts + most <= first.start)]
    whole = starts[starts + most < len(borders)]
    whole = whole[borders[whole + most] == own_borders[most]]
    if len(whole):
        start = int(noise.choice(whole))
        return Extract(place + start, place + start + most)
    if not len(starts):
        return Extract(place, place)
    start = int(noise.choice(starts))
    there = borders[start : start + most + 1]
    alike = np.flatnonzero(there == own_borders[: len(there)])  # the first one always is
    return Extract(place + start, place + start + int(alike[-1]))


def _length(extract: Extract) -> int:
    return extract.end - extract.start


def pair_loss(model: Transformer, hidden_BTD: Tensor, targets_BT: Tensor) -> Tensor:
    """The summed cross entropy of the pairs, whose labels stand at their first tokens."""
    scores_P2 = pair_scores(model, hidden_BTD, targets_BT)
    return F.cross_entropy(scores_P2.to(at_least_float32(scores_P2)), targets_BT[targets_BT != IGNORE], reduction="sum")
