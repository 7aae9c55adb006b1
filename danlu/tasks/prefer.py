"""Preference learning: of two answers, the preferred one becomes likelier than the other.

Axes: N documents of the rows, P pairs of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

import torch
from pydantic import SkipValidation
from torch import Tensor

from danlu.corpus.batches import Batch
from danlu.data.dataset import Dataset
from danlu.data.form import Form
from danlu.data.preferred import PREFER
from danlu.metrics.preference import Pairs
from danlu.nn.config import TransformerConfig
from danlu.nn.transformer import Transformer
from danlu.recipe import OneOf
from danlu.tasks.compared import (
    Compared,
    batch_references,
    log_probabilities,
    references,
    scored_together,
)
from danlu.tasks.feature import Feature
from danlu.tasks.preference import DPO, Likelihoods, Preference
from danlu.tasks.task import Answer, Known
from danlu.tasks.text_reader import TextReader
from danlu.tasks.writing import need_decoder


class Prefer(Compared):
    """Pairs of answers to the same conversation, of which people prefer one.

    What is trained is the model that answers; its rewards in figures are those that the loss takes for such.
    """

    form: ClassVar[Form[Any]] = PREFER
    loss: ClassVar[str] = "preference"

    by: Annotated[SkipValidation[Preference], OneOf("preference")] = DPO()
    """The loss of a pair."""

    def know(self, dataset: Dataset[Any], base: TransformerConfig) -> Known:
        need_decoder(base, alone=True)
        return Known()

    def features(self, examples: Sequence[Any], known: Known, reader: TextReader) -> list[Feature]:
        """One of each pair; those of which an answer cannot be read whole are told."""
        kept = self.pairs(examples, [(each.chosen, each.rejected) for each in examples], reader)
        return [scored_together(number, answers, {self.loss: 0}) for number, answers in kept]

    @property
    def refers(self) -> bool:
        return self.by.refers

    def losses(self, model: Transformer, batch: Batch, known: Known) -> dict[str, Tensor]:
        found_P22 = log_probabilities(model, batch).reshape(-1, 2, 2)
        reference_P2 = batch_references(batch).reshape(-1, 2) if self.refers else None
        return {self.loss: self.by.losses(_likelihoods(found_P22, reference_P2)).sum()}

    def answers(
        self, numbers: Sequence[Tensor], features: Sequence[Feature], examples: Sequence[Any], known: Known
    ) -> list[Answer]:
        """The rewards of both answers; nothing of a pair that was left out."""
        said = _likelihoods(torch.stack(list(numbers)), references(features) if self.refers else None)
        rewards, losses = self.by.rewards(said).tolist(), self.by.losses(said).tolist()
        answers = [Answer(None)] * len(examples)
        for feature, (chosen, rejected), loss in zip(features, rewards, losses, strict=True):
            answers[feature.example] = Answer({"chosen": chosen, "rejected": rejected, "loss": loss})
        return answers

    def metric(self, known: Known) -> Pairs:
        return Pairs()


def _likelihoods(found_P22: Tensor, reference_P2: Tensor | None) -> Likelihoods:
    model_P2, tokens_P2 = found_P22.unbind(-1)
    return Likelihoods(model_P2, torch.zeros_like(model_P2) if reference_P2 is None else reference_P2, tokens_P2)
