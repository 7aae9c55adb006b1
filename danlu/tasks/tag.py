"""Tagging: a label for each word of a sentence: named entities, parts of speech; of Chinese, characters.

A word's label is that of its first token. Sentences of any length are read, in windows that share tokens.

Axes: B rows, T tokens, N scored tokens, W words of a sentence, L labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from danlu.corpus.batches import IGNORE, Batch
from danlu.data.characters import in_characters
from danlu.data.dataset import Dataset
from danlu.data.form import Form
from danlu.data.tagged import TAG
from danlu.data.tags import PLACES, Scheme, read_tag
from danlu.errors import RecipeError, shown
from danlu.metrics.entities import Entities, conlleval_entities
from danlu.metrics.tally import Metric
from danlu.metrics.token_labels import TokenLabels
from danlu.nn.config import TransformerConfig
from danlu.nn.hf.start import Kind
from danlu.nn.transformer import Transformer
from danlu.objectives.words import hidden_states, scored
from danlu.tasks.documents import apart
from danlu.tasks.feature import Feature
from danlu.tasks.tag_paths import Numbers, TagPaths
from danlu.tasks.task import Answer, Known, Task
from danlu.tasks.text_reader import TextReader
from danlu.tasks.word_windows import features_of_words, of_words
from danlu.ticks import ticking

OUTSIDE = "O"


class Tag(Task):
    """A tag for each word: named entities, parts of speech."""

    form: ClassVar[Form[Any]] = TAG
    head: ClassVar[Kind] = "ForTokenClassification"
    loss: ClassVar[str] = "tag"
    windows: ClassVar[bool] = True

    stride: int | None = Field(default=None, ge=0)
    """Tokens that two windows of a long sentence share; by default a quarter of a window."""
    viterbi: bool | None = None
    """Give the most probable tags among those that their scheme allows, so that no I is without its B; by default where
    the tags are of entities. Else each word has its own most probable tag."""

    characters: bool = False
    """Cut words of Chinese into characters, whose tags go on where the word's does: B-X is B-X I-X. What is learned,
    said and measured is of characters; other words, and marks, stay whole."""

    def takes(self, dataset: Dataset[Any], scheme: Scheme) -> Dataset[Any]:
        if not self.characters:
            return dataset
        splits = {name: tuple(in_characters(each, scheme) for each in split) for name, split in dataset.splits.items()}
        before, behind = (
            sum(len(each.tokens) for split in own.values() for each in split) for own in (dataset.splits, splits)
        )
        said = f"characters: {before:,} words are {behind:,} characters of Chinese, other words and marks"
        return replace(dataset, splits=splits, said=(*dataset.said, said))

    def know(self, dataset: Dataset[Any], base: TransformerConfig) -> Known:
        tags = {tag for each in dataset.splits["train"] for tag in each.tags or ()}
        odd = min(tags - set(dataset.labels), default=None)
        if odd is not None:  # a recipe has named the labels of words
            raise RecipeError(f"finetune.data.labels: {odd!r} is missing, which characters of a word have")
        known = Known(dataset.labels, dataset.scheme)
        self._check(known)
        return known

    def features(self, examples: Sequence[Any], known: Known, reader: TextReader) -> list[Feature]:
        place_of = {label: place for place, label in enumerate(known.labels)}
        golds = [None if each.tags is None else [place_of.get(tag, IGNORE) for tag in each.tags] for each in examples]
        shared = reader.shared(self.stride)
        return features_of_words(
            [_spaced(each.pieces) for each in examples], golds, reader, shared=shared, loss=self.loss
        )

    def losses(self, model: Transformer, batch: Batch, known: Known) -> dict[str, Tensor]:
        hidden_ND, targets_N = scored(hidden_states(model, batch), batch.targets[self.loss])
        scores_NL = model.head.scores(hidden_ND).float()
        return {self.loss: F.cross_entropy(scores_NL, targets_N, reduction="sum", ignore_index=IGNORE)}

    def numbers(self, model: Transformer, batch: Batch, known: Known) -> list[Tensor]:
        scores_BTL = model.head.scores(hidden_states(model, batch)).float()
        return apart(scores_BTL.log_softmax(-1).cpu(), batch.inputs["segments"].cpu())

    def answers(
        self, numbers: Sequence[Tensor], features: Sequence[Feature], examples: Sequence[Any], known: Known
    ) -> list[Answer]:
        paths = self._paths(known)
        found = of_words(numbers, features, [len(each.pieces) for each in examples])
        answers = []
        for example, scores_WL in ticking(zip(examples, found, strict=True)):
            scores_WL[np.isnan(scores_WL).any(1)] = _unseen(known)
            chosen = scores_WL.argmax(1).tolist() if paths is None else paths.best(scores_WL)
            shares = np.exp(scores_WL[np.arange(len(chosen)), chosen])
            answers.append(self._answer(example, [known.labels[place] for place in chosen], shares, known))
        return answers

    def metric(self, known: Known) -> Metric[Any, Any]:
        if known.scheme == "none":
            return TokenLabels(labels=known.labels)
        # Entities of IOB1 begin where conlleval sees one, which reads it and BIO alike.
        return Entities(scheme="BIO" if known.scheme == "IOB1" else known.scheme)

    @property
    def criterion(self) -> str:
        return "micro.f1"

    def _answer(self, example: Any, tags: Sequence[str], shares: Numbers, known: Known) -> Answer:
        """An answer from the tag of each word, and its probability."""
        more: dict[str, Any] = {"words": list(example.tokens)}
        if known.scheme != "none":
            more["entities"] = entities(example.pieces, example.tokens, tags, shares, known)
        return Answer(tuple(tags), float(shares.prod()), more=more)

    def _paths(self, known: Known) -> TagPaths | None:
        wanted = known.scheme != "none" if self.viterbi is None else self.viterbi
        return TagPaths.of(known.labels, known.scheme) if wanted else None

    def _check(self, known: Known) -> None:
        """Raise RecipeError where tags that the recipe names are not of the scheme, or too few for any sentence."""
        if known.scheme != "none":
            odd = next((label for label in known.labels if read_tag(label, known.scheme) is None), None)
            if odd is not None:
                places = ", ".join(f"{place}-TYPE" for place in PLACES[known.scheme])
                raise RecipeError(
                    f"finetune.data.labels: {shown(odd)!r} is none of {known.scheme}, which has O, {places}"
                )
        paths = self._paths(known)
        if paths is not None and not paths.complete:
            alone = ", ".join(known.labels)
            raise RecipeError(f"finetune.data.labels: {known.scheme} allows no sentence of {alone} alone; "
                              f"add {OUTSIDE!r}, or say viterbi: false")  # fmt: skip


def entities(
    pieces: Sequence[str], words: Sequence[str], tags: Sequence[str], shares: Numbers, known: Known
) -> list[dict[str, Any]]:
    """The entities that ``tags`` are, with their place in the text, in characters."""
    text, ends = "".join(pieces), np.cumsum([len(piece) for piece in pieces]).tolist()
    read = [read_tag(tag, known.scheme) or (OUTSIDE, "") for tag in tags]
    found = []
    for kind, first, behind in conlleval_entities(read):
        start, end = ends[first] - len(words[first]), ends[behind - 1]
        found.append({"type": kind, "text": text[start:end], "start": start, "end": end,
                      "confidence": round(float(shares[first:behind].prod()), 6)})  # fmt: skip
    return found


def _spaced(pieces: Sequence[str]) -> list[str]:
    """The words, each with one space before it where there is any."""
    return [
        f" {piece.lstrip()}" if number and piece[0].isspace() and not piece.isspace() else piece.lstrip() or piece
        for number, piece in enumerate(pieces)
    ]


def _unseen(known: Known) -> Numbers:
    """What is said of a word that the tokenizer drops: it is outside, or nothing where there is no such tag."""
    if OUTSIDE not in known.labels:
        return np.zeros(len(known.labels))
    return np.array([0.0 if label == OUTSIDE else -np.inf for label in known.labels])
