"""Multiple choice: of several answers to a question the right one, as ``transformers``' ``…ForMultipleChoice``.

A question with each of its choices is a document; all of them are one feature, and their scores one softmax.

Axes: B rows, T tokens, N documents of the rows, Q questions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from danlu.corpus.batches import IGNORE, Batch
from danlu.data.chosen import CHOICE, MultipleChoice
from danlu.data.form import Form
from danlu.metrics.classification import Classification
from danlu.nn.hf.start import Kind
from danlu.nn.transformer import Transformer
from danlu.tasks.feature import Feature
from danlu.tasks.pooled import document_scores, first_targets
from danlu.tasks.task import Answer, Known, Task
from danlu.tasks.text_reader import Read, TextReader

CHOICE_TEXT = "choice"
"""The name of what a prediction says: a number from 0 says little where the file has letters, or counts from 1."""
CHOICES = "choices"
"""The name of what says how many there are, at the first token of each question."""


class Choose(Task):
    """The right one of the choices of each question; a score for each, one softmax over those of a question."""

    form: ClassVar[Form[Any]] = CHOICE
    head: ClassVar[Kind] = "ForMultipleChoice"
    loss: ClassVar[str] = "answer"

    def outputs(self, known: Known) -> int:
        return 1

    def features(self, examples: Sequence[Any], known: Known, reader: TextReader) -> list[Feature]:
        """What is right stands at the first token of a question, counted from 0, and beside it how many there are."""
        read, types = iter(reader.read([pair for each in examples for pair in pairs(each)])), reader.types
        return [
            _feature(number, [next(read) for _ in each.choices], each.answer, types)
            for number, each in enumerate(examples)
        ]

    def losses(self, model: Transformer, batch: Batch, known: Known) -> dict[str, Tensor]:
        scores_N = document_scores(model, batch).float().squeeze(-1)
        counts_Q, first_Q = _questions(batch)
        answers_Q = first_targets(batch, self.loss)[first_Q]
        scored_Q = answers_Q != IGNORE
        right_Q = scores_N[first_Q + answers_Q.clamp_min(0)]
        return {self.loss: ((log_sums(scores_N, counts_Q) - right_Q) * scored_Q).sum()}

    def numbers(self, model: Transformer, batch: Batch, known: Known) -> list[Tensor]:
        """The share of each choice, a tensor a question."""
        scores_N = document_scores(model, batch).float().squeeze(-1)
        counts_Q, _ = _questions(batch)
        shares_N = (scores_N - log_sums(scores_N, counts_Q).repeat_interleave(counts_Q)).exp()
        return list(torch.split(shares_N.cpu(), counts_Q.tolist()))

    def answers(
        self, numbers: Sequence[Tensor], features: Sequence[Feature], examples: Sequence[Any], known: Known
    ) -> list[Answer]:
        answers = []
        for feature, shares in zip(features, (each.tolist() for each in numbers), strict=True):
            best = max(range(len(shares)), key=shares.__getitem__)
            scores = {str(place): share for place, share in enumerate(shares)}
            more = {CHOICE_TEXT: examples[feature.example].choices[best]}
            answers.append(Answer(str(best), shares[best], scores, more=more))
        return answers

    def metric(self, known: Known) -> Classification:
        return Classification()

    @property
    def criterion(self) -> str:
        return "accuracy"


def pairs(example: MultipleChoice) -> list[tuple[str, ...]]:
    """What is read of each choice: question and choice, or of a context (Lai et al. 2017, arXiv:1704.04683) that and
    both."""
    if not example.context:
        return [(example.question, choice) for choice in example.choices]
    return [(example.context, f"{example.question} {choice}") for choice in example.choices]


def log_sums(scores_N: Tensor, counts_Q: Tensor) -> Tensor:
    """``[Q]`` the logarithm of the sum of the exponentials of each question's scores, which stand in order."""
    question_N = torch.arange(len(counts_Q), device=scores_N.device).repeat_interleave(counts_Q)
    most_Q = scores_N.detach().new_full(counts_Q.shape, -torch.inf)
    most_Q = most_Q.scatter_reduce(0, question_N, scores_N.detach(), "amax")
    sums_Q = torch.zeros_like(most_Q).index_add(0, question_N, (scores_N - most_Q[question_N]).exp())
    return sums_Q.log() + most_Q


def _questions(batch: Batch) -> tuple[Tensor, Tensor]:
    """``[Q]`` how many documents each question has, and the first of them."""
    counts_N = first_targets(batch, CHOICES)
    first_Q = (counts_N != IGNORE).nonzero().flatten()
    return counts_N[first_Q], first_Q


def _feature(number: int, choices: Sequence[Read], answer: int | None, types: bool) -> Feature:
    tokens = np.concatenate([each.tokens for each in choices])
    targets = {name: np.full(len(tokens), IGNORE, dtype=np.int64) for name in (Choose.loss, CHOICES)}
    targets[Choose.loss][0] = IGNORE if answer is None else answer
    targets[CHOICES][0] = len(choices)
    own_types = np.concatenate([each.types for each in choices]) if types else None
    cut = any(each.cut for each in choices)
    return Feature(number, tokens, targets, own_types, tuple(len(each.tokens) for each in choices), cut=cut)
